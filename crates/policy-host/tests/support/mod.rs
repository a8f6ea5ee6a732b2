//! Guests written in WAT, and a registry that answers what a test tells it to.

#![allow(dead_code, missing_docs, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

pub mod garbage;
pub mod replicator;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use policy_host::listener::Listener;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A guest that answers `answer` to everything.
pub fn fixed_guest(answer: &Value) -> Vec<u8> {
    guest(include_str!("../guests/fixed.wat"), "ANSWER", &answer.to_string())
}

/// A guest that asks for the manifest of `image`.
pub fn asking_guest(image: &str) -> Vec<u8> {
    guest(include_str!("../guests/ask.wat"), "IMAGE", &Value::from(image).to_string())
}

/// A guest that never comes back.
pub fn endless_guest() -> Vec<u8> {
    wat::parse_str(include_str!("../guests/endless.wat")).unwrap()
}

fn guest(template: &str, name: &str, text: &str) -> Vec<u8> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    let source = template
        .replace(&format!("{{{{{name}}}}}"), &escaped)
        .replace(&format!("{{{{{name}_LEN}}}}"), &text.len().to_string());
    wat::parse_str(source).unwrap()
}

pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

pub fn admission_request(object: &Value) -> Value {
    json!({
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "userInfo": {"username": "me"},
        "object": object,
    })
}

/// What `user`:`password` looks like on the wire.
pub const AUTHORIZATION: &str = "Basic dXNlcjpwYXNzd29yZA==";

struct Script {
    requests: Mutex<Vec<String>>,
    answer: Answer,
    challenge: bool,
}

/// What there is instead of manifests.
enum Answer {
    Fixed(StatusCode, String),
    /// Receipts for triggers, each after a while.
    Receipts(Duration),
}

/// A registry on loopback that answers every manifest alike and remembers what it was asked.
pub struct Registry {
    pub host: String,
    pub folder: TempDir,
    script: Arc<Script>,
}

impl Registry {
    /// Speaks TLS, its certificate signed by the CA in `ca.pem` of its folder.
    pub async fn tls(status: StatusCode, body: &str, challenge: bool) -> Self {
        Self::start_tls(Answer::Fixed(status, body.to_owned()), challenge).await
    }

    /// A replicator that has everything and takes its time; over TLS as well.
    pub async fn slow_replicator(answer_takes: Duration) -> Self {
        Self::start_tls(Answer::Receipts(answer_takes), false).await
    }

    async fn start_tls(answer: Answer, challenge: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        write(folder.path(), "ca.pem", ca_certificate.pem());
        let certificate = write(folder.path(), "server.pem", certificate.pem());
        let key = write(folder.path(), "server.key", key.serialize_pem());
        Self::start(folder, Some((&certificate, &key)), answer, challenge).await
    }

    pub async fn plain(status: StatusCode, body: &str) -> Self {
        let answer = Answer::Fixed(status, body.to_owned());
        Self::start(tempfile::tempdir().unwrap(), None, answer, false).await
    }

    async fn start(
        folder: TempDir,
        pem: Option<(&Path, &Path)>,
        answer: Answer,
        challenge: bool,
    ) -> Self {
        let script = Arc::new(Script { requests: Mutex::default(), answer, challenge });
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), pem).await.unwrap();
        let port = listener.url().rsplit(':').next().unwrap().to_owned();
        let router = Router::new().fallback(reply).with_state(Arc::clone(&script));
        tokio::spawn(listener.serve(router));
        Self { host: format!("localhost:{port}"), folder, script }
    }

    /// Writes a sources file that trusts this registry's CA.
    pub fn trusting_sources(&self) -> PathBuf {
        let authority = json!({"type": "Path", "path": self.folder.path().join("ca.pem")});
        let sources = json!({"source_authorities": {&self.host: [authority]}});
        write(self.folder.path(), "sources.yaml", sources.to_string())
    }

    /// Writes a sources file that lists this registry as insecure.
    pub fn insecure_sources(&self) -> PathBuf {
        let sources = json!({"insecure_sources": [&self.host]});
        write(self.folder.path(), "sources.yaml", sources.to_string())
    }

    /// Writes a docker `config.json`; answers its folder.
    pub fn docker_config(&self) -> PathBuf {
        let encoded = AUTHORIZATION.trim_start_matches("Basic ");
        let config = json!({"auths": {&self.host: {"auth": encoded}}});
        write(self.folder.path(), "config.json", config.to_string());
        self.folder.path().to_owned()
    }

    /// Method, path and credentials of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.script.requests.lock().unwrap().clone()
    }
}

async fn reply(
    State(script): State<Arc<Script>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let authorization =
        headers.get(header::AUTHORIZATION).map_or("-", |value| value.to_str().unwrap());
    let line = format!("{} {} {authorization}", request.method(), request.uri().path());
    script.requests.lock().unwrap().push(line);
    if let Some(manifest) = request.uri().path().strip_prefix("/v2/").filter(|at| !at.is_empty()) {
        return match &script.answer {
            Answer::Fixed(status, body) => (*status, body.clone()).into_response(),
            Answer::Receipts(takes) => {
                let (repository, tag) = manifest.split_once("/manifests/").unwrap();
                tokio::time::sleep(*takes).await;
                replicator::receipt(repository, tag).to_json().into_response()
            }
        };
    }
    if script.challenge {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"r\"")])
            .into_response();
    }
    StatusCode::OK.into_response()
}
