//! A replicator as people run it, among registries that want every kind of secret; and what it
//! leaves behind.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use protocol::{Namespace, Trigger};
use serde_json::json;
use tempfile::TempDir;
use testkit::{Certificates, Fault, Image, Kind, KubeApi, ScriptedRegistry, When};

use crate::finder::{Canary, Evidence};
use crate::processes::Watch;
use crate::wire;

const HOUR: Duration = Duration::from_secs(3600);

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command itself.
pub(crate) const REPLICATOR: &str = env!("CARGO_BIN_EXE_image-replicator");

/// Asks for a credential as docker does, and does not end before somebody has seen its process.
const HELPER: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
cat > /dev/null
i=0
while [ ! -e seen ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done
cat reply
"#;

/// A helper that fails, and shows a secret while it does.
const BROKEN_HELPER: &str = r#"#!/bin/sh
cat "$(dirname "$0")/reply"
exit 1
"#;

/// Registries that want a secret each, and the folder of the replicator.
pub(crate) struct Scene {
    pub(crate) canaries: Vec<Canary>,
    pub(crate) folder: TempDir,
    front: SocketAddr,
    status: SocketAddr,
    certificates: Certificates,
    source: ScriptedRegistry,
    /// Where layers are, and a receiver of notifications.
    store: ScriptedRegistry,
    identity: ScriptedRegistry,
    helped: ScriptedRegistry,
    locked: ScriptedRegistry,
    broken: ScriptedRegistry,
    owned: ScriptedRegistry,
    api: KubeApi,
    replies: Mutex<Vec<u8>>,
}

/// A secret that stands out, with letters that every encoding changes.
fn marked(name: &'static str) -> Canary {
    Canary::new(name, format!("cAnArY/{}+{:016x}=", name.replace(' ', "-"), fastrand::u64(..)))
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn in_url(secret: &str) -> String {
    url::form_urlencoded::byte_serialize(secret.as_bytes()).collect()
}

impl Scene {
    /// Its ledger is a file, unless it has a URL.
    pub(crate) async fn set(ledger: Option<String>, ledger_password: &Canary) -> Self {
        let [
            pull,
            push,
            token,
            download,
            upload,
            identity,
            helped,
            broken,
            wrong,
            caller,
            guess,
            signing,
            place,
        ] = [
            "pull password",
            "push password",
            "token",
            "download signature",
            "upload signature",
            "identity token",
            "helper secret",
            "broken helper",
            "wrong password",
            "caller password",
            "guessed password",
            "receiver's secret",
            "receiver's place",
        ]
        .map(marked);

        let image = Image::new(&[b"layer"]);
        let store = ScriptedRegistry::start().await;
        store.push(&image, "app", "v1");
        let source = source(&image, &store, &token, &download).await;
        let target = target(&source.host(), &push, &upload).await;
        let identity_registry = ScriptedRegistry::builder().identity(&identity.secret, HOUR);
        let identity_registry = identity_registry.start().await;
        identity_registry.push(&Image::new(&[b"other"]), "app", "v1");
        let helped_registry = ScriptedRegistry::builder().basic("robot", &helped.secret);
        let helped_registry = helped_registry.start().await;
        helped_registry.push(&Image::new(&[b"third"]), "app", "v1");
        let locked = ScriptedRegistry::builder().bearer("u", "another", HOUR).start().await;
        let broken_registry = ScriptedRegistry::builder().basic("u", "another").start().await;

        let [cluster, of_namespace, misplaced] =
            ["token of the cluster", "pull secret", "misplaced pull secret"].map(marked);
        let owned = ScriptedRegistry::builder().basic("tenant", &of_namespace.secret).start().await;
        owned.push(&Image::new(&[b"fourth"]), "app", "v1");
        let api = api_server(&owned.host(), &of_namespace, &misplaced).await;

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let certificates = Certificates::new();
        let hash = bcrypt::hash(&caller.secret, 4).unwrap();
        write("tls.crt", &certificates.cert_pem);
        write("tls.key", &certificates.key_pem);
        write("htpasswd", &format!("policy:{hash}\n"));
        let entry =
            |user: &str, canary: &Canary| json!({"username": user, "password": canary.secret});
        let docker_config = json!({
            "auths": {
                source.host(): entry("puller", &pull),
                target.host(): entry("pusher", &push),
                locked.host(): entry("u", &wrong),
                identity_registry.host(): {"identitytoken": identity.secret},
            },
            "credHelpers": {helped_registry.host(): "canary", broken_registry.host(): "broken"},
        });
        write("config.json", &docker_config.to_string());
        write("kubeconfig", &api.kubeconfig(&cluster.secret));
        write("receiver.secret", &format!("whsec_{}", STANDARD.encode(&signing.secret)));
        install(folder.path(), "canary", HELPER, "robot", &helped);
        install(folder.path(), "broken", BROKEN_HELPER, "u", &broken);

        let (front, status) = (free_address(), free_address());
        let all = [
            &source,
            &store,
            &target,
            &identity_registry,
            &helped_registry,
            &locked,
            &broken_registry,
            &owned,
        ];
        let named = |registry: &&ScriptedRegistry| (registry.host(), json!({"plain_http": true}));
        let named: serde_json::Map<_, _> = all.iter().map(named).collect();
        let at = folder.path().display();
        let ledger = ledger.unwrap_or_else(|| format!("sqlite:{at}/ledger.db"));
        let config = json!({
            "front": {"listen": front, "certificate": format!("{at}/tls.crt"),
                "key": format!("{at}/tls.key"), "callers": format!("{at}/htpasswd")},
            "status": {"listen": status},
            "ledger": ledger,
            "target": {"root": format!("{}/mirror", target.host()), "credentials": "all"},
            "registries": named,
            "credentials": {"all": format!("{at}/config.json")},
            "tenancy": {"secret_namespaces": ["shop", "unreadable"]},
            "rules": [
                {"name": "own", "sources": format!("{}/**", owned.host()), "namespace_secrets": true},
                {"name": "all", "sources": "**", "credentials": "all"},
            ],
            // It answers that there is nothing, so that each event is sent again and again.
            "notifications": [{"name": "nobody", "plain_http": true,
                "url": format!("{}/{}?key={}", store.url(), in_url(&place.secret), in_url(&place.secret)),
                "secret": format!("{at}/receiver.secret")}],
        });
        write("config.yaml", &config.to_string());

        let key = certificates.key_pem.lines().nth(1).unwrap();
        let canaries = vec![
            Canary::new("TLS key", key),
            Canary::new("caller hash", hash),
            ledger_password.clone(),
            pull,
            push,
            token,
            download,
            upload,
            identity,
            helped,
            broken,
            wrong,
            caller,
            guess,
            cluster,
            of_namespace,
            misplaced,
            signing,
            place,
        ];
        Self {
            canaries,
            folder,
            front,
            status,
            certificates,
            source,
            store,
            identity: identity_registry,
            helped: helped_registry,
            locked,
            broken: broken_registry,
            owned,
            api,
            replies: Mutex::default(),
        }
    }

    fn secret(&self, name: &str) -> &str {
        &self.canaries.iter().find(|canary| canary.name == name).unwrap().secret
    }

    /// Runs the replicator through copies that go well and copies that do not, and collects all
    /// that it leaves behind. `leak`, an IPv6 address, goes to where no secret may: it is an
    /// image's host, and in the environment.
    pub(crate) async fn play(&self, leak: &Canary) -> Evidence {
        let log = self.folder.path().join("log");
        let mut child = self.start(&log, leak);
        let watch = Watch::begin(child.id(), self.folder.path().join("helpers-canary/seen"));
        self.until(async || {
            wire::ask_status(self.status, "/readyz")
                .await
                .is_some_and(|ready| ready.contains(" 200 "))
        })
        .await;

        for good in [&self.source, &self.identity, &self.helped, &self.owned] {
            self.ask_until(&format!("{}/app:v1", good.host()), " 200 ").await;
        }
        for (bad, code) in [(&self.locked, "\"denied\""), (&self.broken, "\"failed\"")] {
            self.ask_until(&format!("{}/app:v1", bad.host()), code).await;
        }
        self.ask_until(&format!("[{}]/app:v1", leak.secret), "\"failed\"").await;
        let bearer = format!("Bearer {}", self.secret("token"));
        let brings = |secret: &Option<String>| secret.as_ref() == Some(&bearer);
        assert!(self.source.requests().iter().any(|request| brings(&request.authorization)));
        let bearer = format!("Bearer {}", self.secret("token of the cluster"));
        assert_eq!(self.api.authorizations().into_iter().collect::<Vec<_>>(), [bearer]);
        let is_told = async || {
            let ready = wire::ask_status(self.status, "/readyz").await.unwrap();
            ready.contains("namespace unreadable are not watched")
        };
        self.until(is_told).await;
        let is_notified = self.within(async || self.store.count(&Method::POST, Kind::Other) > 1);
        assert!(is_notified.await, "nobody was told");
        let refused = self.ask("/v2/", self.secret("guessed password")).await;
        assert!(refused.contains(" 401 "), "{refused}");

        let mut evidence = Evidence::default();
        let mut status = Vec::new();
        for path in ["/healthz", "/readyz", "/metrics", "/nothing"] {
            status.extend(wire::ask_status(self.status, path).await.unwrap().into_bytes());
        }
        evidence.add("status page and metrics", status);
        evidence.add("replies of the front", self.replies.lock().unwrap().clone());
        // While it runs there is a write-ahead log beside the ledger, at its end only the ledger.
        let mut ledger = self.ledger();
        end(&mut child);
        ledger.extend(self.ledger());
        if !ledger.is_empty() {
            evidence.add("ledger", ledger);
        }
        evidence.add("log", fs::read(&log).unwrap());
        watch.end(&mut evidence);
        evidence
    }

    fn start(&self, log: &Path, leak: &Canary) -> Child {
        let helpers =
            ["canary", "broken"].map(|name| self.folder.path().join(format!("helpers-{name}")));
        let path = helpers.iter().map(|folder| folder.display().to_string());
        let path: Vec<_> = path.chain(["/usr/bin:/bin".to_owned()]).collect();
        Command::new(REPLICATOR)
            .args(["--log", "trace", "serve", "--config"])
            .arg(self.folder.path().join("config.yaml"))
            .env_clear()
            .env("PATH", path.join(":"))
            .env("LEAK", &leak.secret)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(File::create(log).unwrap())
            .stderr(File::options().append(true).open(log).unwrap())
            .spawn()
            .unwrap()
    }

    /// One answer of the front, which is kept.
    async fn ask(&self, path: &str, password: &str) -> String {
        let ca = &self.certificates.ca_pem;
        let answer = wire::ask_front(self.front, ca, path, "policy", password).await;
        self.replies.lock().unwrap().extend_from_slice(answer.as_bytes());
        answer
    }

    /// Asks for a replica until the answer has these words in it.
    async fn ask_until(&self, source: &str, words: &str) {
        let namespace: Namespace = "shop".parse().unwrap();
        let source = source.parse().unwrap();
        let path =
            Trigger { verb: "replica".parse().unwrap(), namespace, source }.encode().unwrap();
        let path = path.to_string();
        let (repository, tag) = path.rsplit_once(':').unwrap();
        let path = format!("/v2/{repository}/manifests/{tag}");
        let last = Mutex::new(String::new());
        let found = self.within(async || {
            let answer = self.ask(&path, self.secret("caller password")).await;
            let found = answer.contains(words);
            *last.lock().unwrap() = answer;
            found
        });
        assert!(found.await, "{path} has no {words}: {}", last.lock().unwrap());
    }

    async fn until(&self, is_so: impl AsyncFnMut() -> bool) {
        assert!(self.within(is_so).await, "the replicator does not start");
    }

    /// Whether it becomes so before patience ends.
    async fn within(&self, mut is_so: impl AsyncFnMut() -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if is_so().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// The bytes of all files of the ledger.
    fn ledger(&self) -> Vec<u8> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap());
        let of_ledger = files
            .filter(|file| file.file_name().to_string_lossy().starts_with("ledger.db"))
            .map(|file| fs::read(file.path()).unwrap_or_default());
        of_ledger.flatten().collect()
    }
}

/// Wants a token before it says what it has, and has its layers behind signed URLs.
async fn source(
    image: &Image,
    store: &ScriptedRegistry,
    token: &Canary,
    signature: &Canary,
) -> ScriptedRegistry {
    let source = ScriptedRegistry::start().await;
    source.push(image, "app", "v1");
    let challenge = format!(r#"Bearer realm="{}/token",service="test""#, source.url());
    let challenge = vec![("www-authenticate".to_owned(), challenge)];
    source.script(
        When::first(Method::HEAD, Kind::Manifest),
        Fault::Answer(401, challenge, String::new()),
    );
    let granted = json!({"token": token.secret, "expires_in": 3600}).to_string();
    source.script(When::each(Method::GET, Kind::Token), Fault::Answer(200, Vec::new(), granted));
    for (digest, _) in &image.blobs {
        let signature = in_url(&signature.secret);
        let location = format!("{}/v2/app/blobs/{digest}?X-Amz-Signature={signature}", store.url());
        source.script(When::each(Method::GET, Kind::Blob).of(digest), Fault::redirect(&location));
    }
    source
}

/// Has a pull secret of `shop` for a registry, beside broken ones; and those of `unreadable`, which
/// it does not tell in the form that clients expect.
async fn api_server(registry: &str, secret: &Canary, misplaced: &Canary) -> KubeApi {
    let api = KubeApi::start().await;
    let entry = json!({"username": "tenant", "password": secret.secret});
    api.put_pull_secret("shop", "good", &json!({"auths": {registry: entry}}).to_string());
    api.put_pull_secret("shop", "no-json", &misplaced.secret);
    let host = format!("u:{}@r.example", misplaced.secret);
    api.put_pull_secret("shop", "no-host", &json!({"auths": {host: {"auth": "dTpw"}}}).to_string());
    api.put_pull_secret("unreadable", "good", &json!({"auths": {registry: entry}}).to_string());
    let data = json!({".dockerconfigjson": [misplaced.secret]});
    let object = json!({"type": "kubernetes.io/dockerconfigjson", "data": data});
    api.put("secrets", "unreadable", "no-text", object);
    api
}

/// Wants a password, and signs where its uploads go.
async fn target(source: &str, push: &Canary, signature: &Canary) -> ScriptedRegistry {
    let target = ScriptedRegistry::builder().basic("pusher", &push.secret).start().await;
    let repository = format!("mirror/{}/app", source.replace(':', "_"));
    for upload in 1..=2 {
        let query = format!("_state=0&sig={}", in_url(&signature.secret));
        let location = format!("/v2/{repository}/blobs/uploads/{upload}?{query}");
        let nth = When::first(Method::POST, Kind::Upload).after(upload - 1);
        target.script(nth, Fault::With("location", location));
    }
    target
}

/// Puts a helper into a folder of its own, with what it says.
fn install(folder: &Path, name: &str, script: &str, user: &str, canary: &Canary) {
    let folder = folder.join(format!("helpers-{name}"));
    fs::create_dir(&folder).unwrap();
    let reply = json!({"ServerURL": "x", "Username": user, "Secret": canary.secret}).to_string();
    fs::write(folder.join("reply"), reply).unwrap();
    let program = folder.join(format!("docker-credential-{name}"));
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Ends the replicator as Kubernetes does.
fn end(child: &mut Child) {
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert!(child.wait().unwrap().success());
}
