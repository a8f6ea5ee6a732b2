//! Credential helpers: real processes, which are counted, against a registry that counts.
//! Cases 6, 21, 24.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use protocol::{Registry, Repository};
use registry::{
    Client, ClientConfig, Credential, Credentials, Descriptor, DockerConfig, Error, ErrorKind,
    HelperProblem, HelperRules, ManifestRef, Operation, RegistryConfig, Retry, RetryPolicy,
};
use tempfile::TempDir;
use testkit::{Image, Kind, ScriptedRegistry};

const HOUR: Duration = Duration::from_secs(3600);

/// Says what the file `says` has, and notes each run with its arguments and its input.
const SAYS: &str = r#"echo "$*" >> args; cat >> asked; echo >> asked; cat says"#;

/// A folder with the helper `docker-credential-fake`, which runs a shell script.
struct Helper {
    folder: TempDir,
    rules: HelperRules,
}

impl Helper {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-fake");
        let text = format!("#!/bin/sh\ncd '{}'\n{script}\n", folder.path().display());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let rules = HelperRules {
            path: Some(folder.path().into()),
            timeout: Duration::from_secs(20),
            keep: HOUR,
        };
        Self { folder, rules }
    }

    fn that_says(user: &str, secret: &str) -> Self {
        let helper = Self::new(SAYS);
        helper.say(user, secret);
        helper
    }

    fn say(&self, user: &str, secret: &str) {
        let text = format!(r#"{{"ServerURL":"x","Username":"{user}","Secret":"{secret}"}}"#);
        fs::write(self.folder.path().join("says"), text).unwrap();
    }

    /// A line for each run.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn runs(&self) -> usize {
        self.lines("args").len()
    }

    fn config(&self, text: &str) -> DockerConfig {
        DockerConfig::parse(text).unwrap().with_helper_rules(self.rules.clone())
    }

    /// What it says about a registry, asked by way of `credsStore`.
    async fn find(&self, registry: &str) -> Result<Option<Credential>, HelperProblem> {
        let config = self.config(r#"{"credsStore":"fake"}"#);
        let (registry, repository) = (registry.parse().unwrap(), "app".parse().unwrap());
        let found = config.find(&registry, &repository).await;
        found.map_err(|error| {
            assert_eq!(error.program, "docker-credential-fake");
            assert_eq!(error.registry, registry);
            error.problem
        })
    }
}

fn client(registry: &ScriptedRegistry, credentials: DockerConfig) -> Client {
    registry.push(&Image::new(&[b"layer"]), "app", "v1");
    let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
    Client::new(ClientConfig {
        registries: [(registry.host().parse().unwrap(), plain)].into(),
        credentials: Arc::new(credentials),
        retry: RetryPolicy { attempts: 3, ..RetryPolicy::default() },
        permits: 64,
        ..ClientConfig::default()
    })
    .unwrap()
}

async fn look(client: &Client, at: &ScriptedRegistry) -> Result<Option<Descriptor>, Error> {
    let registry: Registry = at.host().parse().unwrap();
    let repository: Repository = "app".parse().unwrap();
    let tag = ManifestRef::Tag("v1".parse().unwrap());
    client.head_manifest(&registry, &repository, &tag).await
}

fn for_host(registry: &ScriptedRegistry) -> String {
    format!(r#"{{"credHelpers":{{"{}":"fake"}}}}"#, registry.host())
}

#[tokio::test]
async fn fifty_who_wait_run_a_helper_once() {
    let registry = ScriptedRegistry::builder().basic("u", "p").start().await;
    let helper = Helper::that_says("u", "p");
    let client = client(&registry, helper.config(&for_host(&registry)));
    let all = join_all((0..50).map(|_| look(&client, &registry))).await;
    assert!(all.iter().all(|found| matches!(found, Ok(Some(_)))));
    look(&client, &registry).await.unwrap();
    assert_eq!(helper.lines("args"), ["get"]);
    assert_eq!(helper.lines("asked"), [registry.host()]);
}

#[tokio::test]
async fn what_a_helper_says_gets_tokens_of_both_kinds() {
    let basic = ScriptedRegistry::builder().bearer("u", "p", HOUR).start().await;
    let identity = ScriptedRegistry::builder().identity("refresh", HOUR).start().await;
    for (registry, helper, method) in [
        (basic, Helper::that_says("u", "p"), Method::GET),
        (identity, Helper::that_says("<token>", "refresh"), Method::POST),
    ] {
        let client = client(&registry, helper.config(&for_host(&registry)));
        look(&client, &registry).await.unwrap();
        look(&client, &registry).await.unwrap();
        assert_eq!((registry.count(&method, Kind::Token), helper.runs()), (1, 1));
    }
}

/// A secret that was changed is seen with the first refusal, not when the kept answer ends.
#[tokio::test]
async fn a_refused_answer_is_asked_for_again() {
    for bearer in [false, true] {
        let registry = ScriptedRegistry::builder();
        let registry =
            if bearer { registry.bearer("u", "old", HOUR) } else { registry.basic("u", "old") };
        let registry = registry.start().await;
        let helper = Helper::that_says("u", "old");
        let client = client(&registry, helper.config(&for_host(&registry)));
        look(&client, &registry).await.unwrap();
        registry.change_password("u", "new");
        registry.revoke_tokens();
        helper.say("u", "new");
        let all = join_all((0..20).map(|_| look(&client, &registry))).await;
        assert!(all.iter().all(|found| matches!(found, Ok(Some(_)))));
        assert_eq!(helper.runs(), 2, "bearer: {bearer}");
    }
}

/// A secret that stays wrong does not run the helper with each request.
#[tokio::test]
async fn a_helper_that_says_the_same_again_is_believed() {
    let registry = ScriptedRegistry::builder().basic("u", "p").start().await;
    let helper = Helper::that_says("u", "wrong");
    let client = client(&registry, helper.config(&for_host(&registry)));
    for _ in 0..5 {
        let error = look(&client, &registry).await.unwrap_err();
        assert_eq!((error.kind(), error.is_anonymous()), (ErrorKind::Unauthorized, false));
    }
    assert_eq!(helper.runs(), 2);
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_alone() {
    let registry = ScriptedRegistry::builder().basic("u", "p").start().await;
    let mut helper = Helper::that_says("u", "p");
    helper.rules.keep = Duration::ZERO;
    let client = client(&registry, helper.config(&for_host(&registry)));
    look(&client, &registry).await.unwrap();
    let before = helper.runs();
    look(&client, &registry).await.unwrap();
    assert_eq!((before, helper.runs()), (1, 2));
}

/// As docker does it: the registry's own helper, or the usual one, or `auths`.
#[tokio::test]
async fn a_helper_goes_before_the_entries() {
    let helper = Helper::that_says("helper", "p");
    let config = helper.config(
        r#"{"auths":{"a.example":{"auth":"dTpw"},"b.example":{"auth":"dTpw"}},
            "credHelpers":{"a.example":"fake"}}"#,
    );
    let user = async |config: &DockerConfig, registry: &str| {
        let found = config.find(&registry.parse().unwrap(), &"app".parse().unwrap()).await;
        found.unwrap().map(|credential| match credential {
            Credential::Basic { user, .. } => user,
            Credential::Identity(_) => "identity".to_owned(),
        })
    };
    assert_eq!(user(&config, "a.example").await.as_deref(), Some("helper"));
    assert_eq!(user(&config, "b.example").await.as_deref(), Some("u"));
    assert_eq!(user(&config, "c.example").await, None);
    assert_eq!(helper.lines("asked"), ["a.example"]);

    let knows_none = Helper::new("echo 'credentials not found in native keychain'; exit 1");
    let config =
        knows_none.config(r#"{"auths":{"a.example":{"auth":"dTpw"}},"credsStore":"fake"}"#);
    assert_eq!(user(&config, "a.example").await, None);
}

/// Case 6.
#[tokio::test]
async fn docker_hub_goes_by_its_old_name() {
    let helper = Helper::that_says("u", "p");
    helper.find("docker.io").await.unwrap();
    helper.find("r.example:5000").await.unwrap();
    assert_eq!(helper.lines("asked"), ["https://index.docker.io/v1/", "r.example:5000"]);
}

#[tokio::test]
async fn a_missing_helper_is_told_at_its_first_use() {
    let registry = ScriptedRegistry::builder().basic("u", "p").start().await;
    let helper = Helper::new("");
    let config = for_host(&registry).replace("fake", "ecr-login");
    let client = client(&registry, helper.config(&config));
    let error = look(&client, &registry).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NoCredentials, Retry::Never));
    assert_eq!(error.operation(), Operation::FindCredentials);
    assert_eq!(
        error.message(),
        format!(
            "the credential helper docker-credential-ecr-login, asked about {}, is not on PATH: \
             install it, or take it out of the docker config",
            registry.host()
        )
    );
}

/// Case 24. Its words are shown, on one line and capped, and never a secret among them.
#[tokio::test]
async fn a_failed_helper_is_told_in_its_own_words() {
    let words = |problem| match problem {
        Err(HelperProblem::Failed(words)) => words,
        other => panic!("{other:?}"),
    };
    let says = Helper::new("cat > /dev/null; printf 'no such\\nprofile\\033[31m'; exit 3");
    let said = words(says.find("r.example").await);
    assert_eq!(said, "exit status: 3, it says: no such profile[31m");
    let complains = Helper::new("yes 'denied' | head -c 5000 >&2; exit 1");
    let said = words(complains.find("r.example").await);
    assert!(said.contains("denied denied") && said.chars().count() < 400, "{said}");
    let tells = Helper::new(r#"echo '{"Username":"u","Secret":"canary"}'; exit 1"#);
    let said = words(tells.find("r.example").await);
    assert!(!said.contains("canary") && said.contains("not shown"), "{said}");
}

/// A failed helper may do better later, but nobody waits for it within a request.
#[tokio::test]
async fn a_failed_helper_is_not_run_again_at_once() {
    let registry = ScriptedRegistry::builder().basic("u", "p").start().await;
    let helper = Helper::new("echo x >> args; exit 1");
    let client = client(&registry, helper.config(&for_host(&registry)));
    let all = join_all((0..20).map(|_| look(&client, &registry))).await;
    for error in all.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::NoCredentials);
        assert!(matches!(error.retry(), Retry::Later { after } if !after.is_zero()));
    }
    assert_eq!(helper.runs(), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_refused_without_being_shown() {
    let malformed = Helper::new(r#"echo '{"Username":"u","Secret":{"canary":1}}'"#);
    let problem = malformed.find("r.example").await.unwrap_err();
    assert!(matches!(problem, HelperProblem::Malformed { line: 1, .. }));
    assert!(!format!("{problem} {problem:?}").contains("canary"));
    let endless = Helper::new("exec cat /dev/zero");
    assert_eq!(endless.find("r.example").await.unwrap_err(), HelperProblem::TooLong);
    let no_program = Helper::new("");
    let program = no_program.folder.path().join("docker-credential-fake");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let problem = no_program.find("r.example").await.unwrap_err();
    assert!(matches!(problem, HelperProblem::Start(_)), "{problem}");
}

/// Whether the process that noted its id is still running (a zombie is not).
fn is_running(folder: &Path) -> bool {
    let id = fs::read_to_string(folder.join("pid")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

async fn ends(folder: &Path) {
    let begun = std::time::Instant::now();
    while is_running(folder) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the helper still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_helper_is_killed_when_it_takes_too_long_and_when_nobody_waits() {
    let mut slow = Helper::new("echo $$ > new; mv new pid; exec sleep 600");
    slow.rules.timeout = Duration::from_millis(300);
    let problem = slow.find("r.example").await.unwrap_err();
    assert_eq!(problem, HelperProblem::TimedOut(slow.rules.timeout));
    ends(slow.folder.path()).await;

    fs::remove_file(slow.folder.path().join("pid")).unwrap();
    slow.rules.timeout = HOUR;
    let started = async {
        while !slow.folder.path().join("pid").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        found = slow.find("r.example") => panic!("{found:?}"),
        () = started => {}
    }
    ends(slow.folder.path()).await;
}

/// Case 24.
#[tokio::test]
async fn debug_shows_nothing_that_a_helper_said() {
    let helper = Helper::that_says("u", "canary");
    let config = helper.config(r#"{"credsStore":"fake"}"#);
    let found = config.find(&"r.example".parse().unwrap(), &"app".parse().unwrap()).await;
    assert!(found.as_ref().is_ok_and(Option::is_some));
    assert!(!format!("{config:?} {found:?}").contains("canary"));
}
