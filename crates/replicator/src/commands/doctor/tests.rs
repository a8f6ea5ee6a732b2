//! The doctor, called to replicators that are well, and to some with a fault each.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use http::Method;
use tempfile::TempDir;
use testkit::{
    Certificates, DockerRegistry, Fault, Holding, Kind, Postgres, ScriptedRegistry, When,
};

use super::super::output::Format;
use super::*;
use crate::ledger::testing::{Fixture, ask, copied};
use crate::ledger::{Ledger, Settings};

/// A replicator that is well; TARGET, SOURCE and DIR stand for where things are.
const WELL: &str = r#"
front: {listen: "127.0.0.1:0", certificate: DIR/tls.crt, key: DIR/tls.key, callers: DIR/htpasswd}
status: {listen: "127.0.0.1:0"}
ledger: sqlite:DIR/ledger.db
target:
  root: TARGET/mirror
  credentials: push
  create_repository: {command: [DIR/create, "{repository}"]}
registries:
  "TARGET": {ca: DIR/ca.crt}
  "SOURCE": {plain_http: true}
credentials: {push: DIR/push.json}
rules:
  - {name: team, sources: ["SOURCE/team/**"], namespaces: [team]}
  - {name: source, sources: ["SOURCE/**"]}
notifications: [{name: scanner, url: "https://127.0.0.1:1/"}]
"#;

/// What a replicator needs around it.
struct Ward {
    folder: TempDir,
    source: ScriptedRegistry,
    target: String,
}

impl Ward {
    /// With a target at `host`, which these certificates are of.
    async fn around(target: String, certificates: &Certificates) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = ScriptedRegistry::start().await;
        let ward = Self { folder, source, target };
        ward.put("tls.crt", &certificates.cert_pem);
        ward.put("tls.key", &certificates.key_pem);
        ward.put("ca.crt", &certificates.ca_pem);
        ward.write("htpasswd", &format!("policy:{}\n", bcrypt::hash("x", 4).unwrap()));
        // `u` with the password `p`.
        ward.write("push.json", r#"{"auths":{"TARGET":{"auth":"dTpw"}}}"#);
        ward.write("create", "#!/bin/sh\n");
        fs::set_permissions(ward.path("create"), fs::Permissions::from_mode(0o755)).unwrap();
        ward
    }

    /// With a scripted target, where a fault is wanted of it.
    async fn scripted() -> (Self, ScriptedRegistry) {
        let certificates = Certificates::new();
        let target = ScriptedRegistry::builder().tls(&certificates).basic("u", "p").start().await;
        (Self::around(target.host(), &certificates).await, target)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same with this text in it.
    fn with(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    fn write(&self, name: &str, text: &str) {
        self.put(name, &self.placed(text));
    }

    /// As it is: base64 may happen to have the name of a place in it.
    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `text` with the names of where things are.
    fn placed(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        let text = text.replace("TARGET", &self.target).replace("SOURCE", &self.source.host());
        text.replace("DIR", &folder)
    }

    /// What the doctor says of a replicator with this configuration.
    async fn examined(&self, config: &str) -> Report {
        self.write("config.yaml", config);
        let (config, output) = (self.path("config.yaml"), Output::new(Format::Table));
        Doctor { config, output }.report().await.unwrap()
    }

    /// What it says of one kind of thing alone.
    async fn told_of(&self, check: &str, config: &str) -> String {
        let report = self.examined(config).await;
        let findings = report.findings.iter().filter(|finding| finding.check == check);
        self.printed(findings)
    }

    /// What is not well, as it is printed but for colours, and how the process ends.
    async fn complaints(&self, config: &str) -> String {
        let report = self.examined(config).await;
        let findings = report.findings.iter().filter(|finding| finding.verdict != Verdict::Ok);
        format!("{}\n      ends with {}", self.printed(findings), report.exit as u8)
    }

    fn printed<'a>(&self, findings: impl Iterator<Item = &'a Finding>) -> String {
        let lines: Vec<_> = findings.map(ToString::to_string).collect();
        let text = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        let folder = self.folder.path().display().to_string();
        let text = text.replace(&self.target, "TARGET").replace(&self.source.host(), "SOURCE");
        text.replace(&folder, "DIR")
    }

    /// The same with one thing changed.
    async fn complaints_about(&self, of: &str, other: &str) -> String {
        assert!(WELL.contains(of), "{of}");
        self.complaints(&WELL.replace(of, other)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicator_that_is_well_is_left_as_it_was() {
    let certificates = Certificates::new();
    let Some(target) = DockerRegistry::start(&certificates) else {
        panic!("docker-registry is not installed: scripts/install-tools.sh")
    };
    let ward = Ward::around(target.host(), &certificates).await;
    let report = ward.examined(WELL).await;
    let text = anstream::adapter::strip_str(&report.to_string()).to_string();
    assert!(text.lines().all(|line| line.starts_with("ok    ")), "{text}");
    assert_eq!((report.verdict, report.exit), (Verdict::Ok, Exit::Done));
    for check in [
        "configuration",
        "certificate",
        "callers",
        "rules",
        "programs",
        "disk",
        "ledger",
        "name",
        "login",
        "clock",
        "pull",
        "push",
    ] {
        assert!(report.findings.iter().any(|finding| finding.check == check), "{check}: {text}");
    }
    assert!(!ward.path("ledger.db").exists(), "no ledger was made");
    assert_eq!(target.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_at_a_target() {
    let (ward, target) = Ward::scripted().await;
    assert_eq!(ward.examined(WELL).await.exit, Exit::Done);
    assert_eq!(target.count(&Method::POST, Kind::Upload), 1);
    assert_eq!(target.open_uploads(), 0);
    let has_nothing = |holding: &Holding| holding.blobs.is_empty() && holding.tags.is_empty();
    assert!(target.contents().values().all(has_nothing));
}

/// A replicator runs on the same ledger, has a copy under way, and ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replicator_that_runs_keeps_what_it_has() {
    let (ward, _target) = Ward::scripted().await;
    let url = ward.placed("sqlite:DIR/ledger.db").parse().unwrap();
    let ledger = Ledger::open(Settings::new(url), Clock::system()).await.unwrap();
    ledger.want(ask("1")).await.unwrap();
    let claimed = ledger.claim(usize::MAX).await.unwrap().unwrap();
    let report = ward.examined(WELL).await;
    assert_eq!(report.exit, Exit::Done, "{report}");
    let settled = ledger.settle(claimed.ticket().unwrap(), copied(), 7, None).await.unwrap();
    assert!(settled.is_some(), "the lease held");
}

/// What the machine, the files and the rules can have.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_this_machine_are_found_with_what_mends_them() {
    let ward = Ward::scripted().await.0;
    let mut told = Vec::new();
    let mut tell = |fault: &str, complaints: String| told.push(format!("# {fault}\n{complaints}"));
    let about = async |of, other| ward.complaints_about(of, other).await;

    ward.put("other.key", &Certificates::new().key_pem);
    tell("another key", about("DIR/tls.key", "DIR/other.key").await);
    tell("no such file", about("DIR/htpasswd", "DIR/none").await);
    let ended = Certificates::ending(2020);
    ward.put("ended.crt", &ended.cert_pem);
    ward.put("ended.key", &ended.key_pem);
    let pair = "certificate: DIR/ended.crt, key: DIR/ended.key";
    tell("ended certificate", about("certificate: DIR/tls.crt, key: DIR/tls.key", pair).await);
    let first = "rules:\n  - {name: all, sources: '**'}";
    tell("shadowed rules", about("rules:", first).await);
    let create = about("[DIR/create", "[DIR/push.json").await;
    tell("a file that is no program", create);
    ward.write("helped.json", r#"{"credHelpers":{"SOURCE":"is-not-there"}}"#);
    let helped = "credentials: {helped: DIR/helped.json,";
    tell("no helper", about("credentials: {", helped).await);
    tell("no folder", about("DIR/ledger.db", "DIR/none/ledger.db").await);
    ward.write("nonsense.db", &"nonsense ".repeat(1_000));
    tell("no ledger", about("DIR/ledger.db", "DIR/nonsense.db").await);
    let store = Fixture::sqlite().await;
    drop(store.open().await);
    store.run("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1").await;
    tell("newer ledger", about("sqlite:DIR/ledger.db", &store.url).await);
    insta::assert_snapshot!(told.join("\n"));
}

/// What registries, names and the network can have.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_others_are_found_with_what_mends_them() {
    let mut told = Vec::new();
    let mut tell = |fault: &str, complaints: String| told.push(format!("# {fault}\n{complaints}"));

    let wrong = r#"{"auths":{"TARGET":{"auth":"dTp4"}}}"#;
    let ward = Ward::scripted().await.0.with("push.json", wrong);
    tell("wrong password", ward.complaints(WELL).await);
    let ward = Ward::scripted().await.0.with("push.json", r#"{"auths":{}}"#);
    tell("no password", ward.complaints(WELL).await);
    let ward = Ward::scripted().await.0;
    tell("unknown authority", ward.complaints_about("{ca: DIR/ca.crt}", "{}").await);

    let (ward, target) = Ward::scripted().await;
    let denied = Fault::status(403, r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#);
    target.script(When::each(Method::POST, Kind::Upload), denied);
    tell("no right to push", ward.complaints(WELL).await);
    target.behave();
    let denied = Fault::status(403, r#"{"errors":[{"code":"DENIED","message":"write only"}]}"#);
    target.script(When::each(Method::GET, Kind::Tags), denied);
    tell("no right to pull", ward.complaints(WELL).await);
    target.behave();
    target.script(When::each(Method::DELETE, Kind::Upload), Fault::status(405, ""));
    tell("uploads cannot be given up", ward.complaints(WELL).await);
    target.behave();
    let pruned = format!("{WELL}inventory: {{watch_pods: true}}\nretention: {{every: 24h}}\n");
    let unsupported = Fault::status(405, r#"{"errors":[{"code":"UNSUPPORTED","message":"off"}]}"#);
    target.script(When::each(Method::DELETE, Kind::Manifest), unsupported);
    tell("nothing can be deleted", ward.told_of("delete", &pruned).await);
    target.behave();
    let denied = Fault::status(403, r#"{"errors":[{"code":"DENIED","message":"push only"}]}"#);
    target.script(When::each(Method::DELETE, Kind::Manifest), denied);
    tell("no right to delete", ward.told_of("delete", &pruned).await);
    target.behave();
    tell("a right to delete", ward.told_of("delete", &pruned).await);
    let long_ago = "Sat, 01 Jan 2000 00:00:00 GMT".to_owned();
    target.script(When::each(Method::GET, Kind::Ping), Fault::With("date", long_ago));
    tell("a clock that is wrong", without_figures(&ward.complaints(WELL).await));
    target.behave();
    target.script(When::each(Method::GET, Kind::Ping), Fault::status(503, "in a moment"));
    tell("a registry that is busy", ward.complaints(WELL).await);
    target.behave();

    let inside = r#"sources: ["127.0.0.9:1/**", "SOURCE/**"]"#;
    tell("a source inside", ward.complaints_about(r#"sources: ["SOURCE/**"]"#, inside).await);
    let unknown = "registries:\n  nowhere.invalid: {}";
    tell("an unknown name", after_dns(&ward.complaints_about("registries:", unknown).await));
    let receiver = ward.complaints_about("https://127.0.0.1:1/", "https://nowhere.invalid/").await;
    tell("an unknown receiver", after_dns(&receiver));

    let certificates = Certificates::new();
    let target = ScriptedRegistry::builder().tls(&certificates).basic("u", "p");
    let target = target.with_repositories_created_first().start().await;
    let ward = Ward::around(target.host(), &certificates).await;
    let create = "  create_repository: {command: [DIR/create, \"{repository}\"]}\n";
    tell("no repository", ward.complaints_about(create, "").await);
    tell("no repository yet", ward.complaints(WELL).await);
    insta::assert_snapshot!(told.join("\n"));
}

/// PostgreSQL's clock is one that stands still in 1970, and one of its replicas takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_database_are_found_with_what_mends_them() {
    let Some(cluster) = Postgres::start() else {
        panic!("PostgreSQL is not installed: scripts/install-tools.sh")
    };
    let ward = Ward::scripted().await.0;
    let store = Fixture::postgres(&cluster, "doctor").await;
    drop(store.open().await);
    let complaints = ward.complaints_about("sqlite:DIR/ledger.db", &store.url).await;
    assert!(
        complaints.starts_with("fail  clock          PostgreSQL: its clock is "),
        "{complaints}"
    );
    assert!(complaints.contains("-> set both by the same time servers (NTP)"), "{complaints}");
    store.run("ALTER DATABASE doctor SET default_transaction_read_only = on").await;
    let complaints = ward.complaints_about("sqlite:DIR/ledger.db", &store.url).await;
    let line = "fail  ledger         ledger: the database takes no writes\n                     \
                -> let `ledger` lead to the primary, with a user that may write\n";
    assert!(complaints.starts_with(line), "{complaints}");
    drop(cluster);
    let complaints = ward.complaints_about("sqlite:DIR/ledger.db", &store.url).await;
    assert!(complaints.starts_with("fail  ledger         ledger: "), "{complaints}");
    assert!(complaints.ends_with("ends with 1"), "it may be there again: {complaints}");
}

#[test]
fn a_document_says_the_same() {
    let finding = Finding::warn("disk", "/var/lib", "200 MiB are free", "make room");
    let report = Report::of(vec![Finding::ok("rules", "rules", "fine"), finding]);
    insta::assert_json_snapshot!(report);
}

/// Figures that grow with each day.
fn without_figures(text: &str) -> String {
    let hide = |line: &str| match line.split_once("its clock is ") {
        Some((begin, _)) => format!("{begin}its clock is …"),
        None => line.to_owned(),
    };
    text.lines().map(hide).collect::<Vec<_>>().join("\n")
}

/// Resolvers have words of their own.
fn after_dns(text: &str) -> String {
    let cut = |line: &str| {
        line.split_once("not known: ")
            .map_or(line.to_owned(), |(begin, _)| format!("{begin}not known: …"))
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}
