//! Each file that the configuration names is replaced while the real binary works: nothing fails
//! for it, and the old one stops working.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use tempfile::TempDir;
use testkit::{Certificates, DockerRegistry, Image, ScriptedRegistry};

/// Much longer than it takes until a changed file is in force.
const PATIENCE: Duration = Duration::from_secs(120);

/// The real binary, on files of a folder. It ends when dropped.
struct Replicator {
    process: Child,
    front: u16,
    status: u16,
    log: PathBuf,
}

impl Drop for Replicator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Replicator {
    /// Starts one. `more` is the configuration's part about target and registries.
    async fn start(folder: &Path, secret: &Path, more: &str) -> Self {
        let [front, status] = [(); 2].map(|()| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap().port()
        });
        let config = format!(
            "front:\n  listen: 127.0.0.1:{front}\n  certificate: {secret}/tls.crt\n  key: {secret}/tls.key\n  \
             callers: {secret}/htpasswd\nstatus:\n  listen: 127.0.0.1:{status}\n\
             ledger: sqlite:{folder}/ledger.db\n{more}",
            folder = folder.display(),
            secret = secret.display(),
        );
        fs::write(folder.join("config.yaml"), config).unwrap();
        let log = folder.join("log");
        let process = Command::new(env!("CARGO_BIN_EXE_image-replicator"))
            .args(["serve", "--config"])
            .arg(folder.join("config.yaml"))
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let replicator = Self { process, front, status, log };
        until("the replicator is ready", async || replicator.status("/readyz").contains("200 OK"))
            .await;
        replicator
    }

    /// Asks as the host does: a new client for each call.
    async fn ask(&self, path: &str, trusted: &[&str], caller: (&str, &str)) -> Result<(), String> {
        let certificates = trusted.iter().map(|pem| Certificate {
            encoding: CertificateEncoding::Pem,
            data: pem.as_bytes().to_vec(),
        });
        let config = ClientConfig {
            extra_root_certificates: certificates.collect(),
            ..ClientConfig::default()
        };
        let reference: Reference = format!("localhost:{}/{path}", self.front).parse().unwrap();
        let auth = RegistryAuth::Basic(caller.0.to_owned(), caller.1.to_owned());
        let answer = Client::new(config).pull_manifest(&reference, &auth).await;
        // With what the system says of TLS, which stands deep in it.
        answer.map(|_| ()).map_err(|error| format!("{error:?}"))
    }

    /// The answer of the other listener; nothing where it does not answer.
    fn status(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.status)) else {
            return String::new();
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn has_metric(&self, line: &str) -> bool {
        self.status("/metrics").lines().any(|found| found == line)
    }

    /// Waits until files were put into use so often.
    async fn until_used(&self, keys: &str, times: u32) {
        let keys = keys.replace('"', "\\\"");
        let line = format!(
            "image_replicator_file_reloads_total{{file=\"{keys}\",result=\"used\"}} {times}"
        );
        until(&line, async || self.has_metric(&line)).await;
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Changes a folder as the kubelet changes a mounted Secret: all files at once, by a symlink.
fn swap(folder: &Path, files: &[(&str, &str)]) {
    let version = TempDir::with_prefix_in("..version-", folder).unwrap().keep();
    for (name, text) in files {
        fs::write(version.join(name), text).unwrap();
        if !folder.join(name).exists() {
            symlink(format!("..data/{name}"), folder.join(name)).unwrap();
        }
    }
    symlink(version.file_name().unwrap(), folder.join("..new")).unwrap();
    fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
}

fn secret(certificates: &Certificates, callers: &[(&str, &str)]) -> [(&'static str, String); 3] {
    let line = |(name, password): &(&str, &str)| {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    };
    [
        ("tls.crt", certificates.cert_pem.clone()),
        ("tls.key", certificates.key_pem.clone()),
        ("htpasswd", callers.iter().map(line).collect()),
    ]
}

fn swap_secret(folder: &Path, secret: &[(&'static str, String); 3]) {
    swap(folder, &secret.each_ref().map(|(name, text)| (*name, text.as_str())));
}

/// Questions without a pause, until it is told to end.
struct Load {
    asked: AtomicU32,
    is_over: AtomicBool,
}

impl Load {
    /// Waits until some more were answered.
    async fn go_on(&self) {
        let before = self.asked.load(Ordering::Relaxed);
        until("more is answered", async || self.asked.load(Ordering::Relaxed) >= before + 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_and_passwords_are_replaced_under_load() {
    const TRIGGER: &str = "v1/start/shop/tag/docker.io/library/nginx:1";
    const STEADY: (&str, &str) = ("steady", "steady");
    const CERTIFICATE: &str = "front.certificate,front.key";
    let folder = TempDir::new().unwrap();
    let mount = folder.path().join("secret");
    fs::create_dir(&mount).unwrap();
    let (old, new) = (Certificates::new(), Certificates::new());
    let steady = secret(&new, &[STEADY]);
    let mut first = secret(&old, &[("policy", "old")]);
    first[2].1.push_str(&steady[2].1);
    swap_secret(&mount, &first);
    // Nothing listens at the target: all that is done is answering.
    let nowhere = "target:\n  root: localhost:1\nregistries:\n  docker.io:\n    plain_http: true\n\
                   rules:\n- name: all\n  sources: '**'\n";
    let replicator = Arc::new(Replicator::start(folder.path(), &mount, nowhere).await);
    replicator.ask(TRIGGER, &[&old.ca_pem], ("policy", "old")).await.unwrap();

    let load = Arc::new(Load { asked: AtomicU32::new(0), is_over: AtomicBool::new(false) });
    let asking = tokio::spawn({
        let (replicator, load) = (Arc::clone(&replicator), Arc::clone(&load));
        let trusted = [old.ca_pem.clone(), new.ca_pem.clone()];
        async move {
            while !load.is_over.load(Ordering::Relaxed) {
                let trusted = trusted.each_ref().map(String::as_str);
                replicator.ask(TRIGGER, &trusted, STEADY).await.unwrap();
                load.asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    load.go_on().await;

    // All at once, as one Secret. The hash of the steady caller stays as it was.
    let mut second = secret(&new, &[("policy", "new")]);
    second[2].1.push_str(&steady[2].1);
    swap_secret(&mount, &second);
    replicator.until_used(CERTIFICATE, 1).await;
    replicator.until_used("front.callers", 1).await;
    load.go_on().await;
    replicator.ask(TRIGGER, &[&new.ca_pem], ("policy", "new")).await.unwrap();
    let error = replicator.ask(TRIGGER, &[&old.ca_pem], ("policy", "new")).await.unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    let error = replicator.ask(TRIGGER, &[&new.ca_pem], ("policy", "old")).await.unwrap_err();
    assert!(error.contains("Unauthorized"), "{error}");

    // Broken ones: a certificate of another key, and hashes of another kind.
    let mut broken = second.clone();
    broken[0].1 = old.cert_pem.clone();
    broken[2].1 = "policy:{SHA}c2VjcmV0".to_owned();
    swap_secret(&mount, &broken);
    until("both are told of", async || {
        replicator.status("/readyz").matches("in force").count() == 2
    })
    .await;
    let ready = replicator.status("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 OK") && ready.contains("ready\n"), "{ready}");
    for part in [
        "front.certificate: ",
        "it is of another key than the one in `front.key`; since 20",
        "front.callers: ",
        "line 1 has no bcrypt hash",
    ] {
        assert!(ready.contains(part), "{part} in {ready}");
    }
    load.go_on().await;
    replicator.ask(TRIGGER, &[&new.ca_pem], ("policy", "new")).await.unwrap();
    let refused = format!(
        "image_replicator_file_reloads_total{{file=\"{CERTIFICATE}\",result=\"refused\"}} 1"
    );
    assert!(replicator.has_metric(&refused), "{}", replicator.status("/metrics"));

    // Good ones end it.
    swap_secret(&mount, &second);
    until("all is well", async || replicator.status("/readyz").ends_with("\r\n\r\nready\n")).await;
    load.go_on().await;
    load.is_over.store(true, Ordering::Relaxed);
    asking.await.expect("each question was answered");

    let log = replicator.log();
    assert_eq!(log.matches("cannot be used; the old one is in force").count(), 2, "{log}");
    for secret in ["$2", "{SHA}", "PRIVATE", "BEGIN"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    let metrics = replicator.status("/metrics");
    let end = metrics.lines().find_map(|line| {
        line.strip_prefix("image_replicator_certificate_not_after_timestamp_seconds ")
    });
    // rcgen's default: the year 4096.
    assert!(end.unwrap().parse::<u64>().unwrap() > 60_000_000_000, "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_and_a_docker_config_are_replaced_under_load() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let front = Certificates::new();
    for (name, text) in secret(&front, &[("policy", "secret")]) {
        fs::write(path(name), text).unwrap();
    }
    let (old, new, at_target) = (Certificates::new(), Certificates::new(), Certificates::new());
    let user = |name: &str, password| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
    let (old_user, new_user) = (user("u", "p"), user("v", "q"));
    let Some(target) = DockerRegistry::start(&at_target) else {
        panic!("docker-registry is not installed: scripts/install-tools.sh")
    };
    let source = ScriptedRegistry::builder().tls(&old).start().await;
    let left_behind = ScriptedRegistry::builder().tls(&old).start().await;
    let image = Image::new(&[b"layer"]);
    let docker_config = |user: &str, password: &str| {
        let host = target.host();
        let entry = format!(r#"{{"username":"{user}","password":"{password}"}}"#);
        fs::write(path("docker.json"), format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    };
    fs::write(path("source.pem"), &old.ca_pem).unwrap();
    fs::write(path("target.pem"), &at_target.ca_pem).unwrap();
    docker_config("u", "p");
    let registries = format!(
        "target:\n  root: {}/mirror\n  credentials: all\ncredentials:\n  all: {}\n\
         rules:\n- name: all\n  sources: '**'\n  credentials: all\nregistries:\n  \"{}\":\n    ca: {}\n  \"{}\":\n    \
         ca: {}\n  \"{}\":\n    ca: {}\n",
        target.host(),
        path("docker.json"),
        source.host(),
        path("source.pem"),
        left_behind.host(),
        path("source.pem"),
        target.host(),
        path("target.pem"),
    );
    let replicator = Arc::new(Replicator::start(folder.path(), folder.path(), &registries).await);

    let number = AtomicU32::new(0);
    // A new image, from the first question until its replica is there.
    let copy_from = async |registry: &ScriptedRegistry| {
        let tag = format!("v{}", number.fetch_add(1, Ordering::Relaxed));
        registry.push(&image, "app", &tag);
        let host = registry.host().replace(':', "_");
        let trigger = format!("v1/replica/shop/tag/{host}/app:{tag}");
        let ask = async || replicator.ask(&trigger, &[&front.ca_pem], ("policy", "secret")).await;
        until("it is copied", async || match ask().await {
            Ok(()) => true,
            Err(error) if error.contains("pending") => false,
            Err(error) => panic!("{error}\n{}", replicator.log()),
        })
        .await;
    };
    copy_from(&left_behind).await;

    let (is_over, copies) = (AtomicBool::new(false), AtomicU32::new(0));
    let copying = async {
        while !is_over.load(Ordering::Relaxed) {
            copy_from(&source).await;
            copies.fetch_add(1, Ordering::Relaxed);
        }
    };
    let go_on = async || {
        let before = copies.load(Ordering::Relaxed);
        until("more is copied", async || copies.load(Ordering::Relaxed) >= before + 5).await;
    };
    let replacing = async {
        go_on().await;
        // The CA: both, then the registry changes, then the new one alone.
        let keys = format!("registries.\"{}\".ca", source.host());
        fs::write(path("source.pem"), format!("{}{}", old.ca_pem, new.ca_pem)).unwrap();
        replicator.until_used(&keys, 1).await;
        go_on().await;
        source.change_certificates(&new);
        fs::write(path("source.pem"), &new.ca_pem).unwrap();
        replicator.until_used(&keys, 2).await;
        go_on().await;

        // The password: the registry knows both users, then the new one alone.
        target.change_users(&format!("{old_user}{new_user}"));
        docker_config("v", "q");
        replicator.until_used("credentials.all", 1).await;
        go_on().await;
        target.change_users(&new_user);
        go_on().await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(copying, replacing);
    let log = replicator.log();
    assert!(!log.contains("copy failed"), "{log}");

    // What the old authority signed is trusted no more, though it was.
    let host = left_behind.host().replace(':', "_");
    left_behind.push(&image, "app", "late");
    let trigger = format!("v1/replica/shop/tag/{host}/app:late");
    let failed = async || {
        let error = replicator.ask(&trigger, &[&front.ca_pem], ("policy", "secret")).await;
        error.unwrap_err().contains("certificate")
    };
    until("the old certificate is refused", failed).await;
    // And the new user alone is known: whoever had kept the old one would have failed above.
    target.change_users(&old_user);
    source.push(&image, "app", "last");
    let trigger = format!("v1/replica/shop/tag/{}/app:last", source.host().replace(':', "_"));
    let refused = async || {
        let error = replicator.ask(&trigger, &[&front.ca_pem], ("policy", "secret")).await;
        error.unwrap_err().contains("401")
    };
    until("the new user is unknown", refused).await;
}
