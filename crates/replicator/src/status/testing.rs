//! What tests of the status listener share: one on the wire, and documents.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use registry::{Client, ClientConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Status;
use super::documents::{Failed, Failure, Image, Overview, Totals};
use super::feed::Feed;
use super::token::{Keeper, Token};
use crate::front::testing::{api, tls};
use crate::ledger::Ledger;
use crate::ledger::record::State;
use crate::metrics::Metrics;
use crate::retention::{Schedule, UnusedFor};
use crate::rules::Rules;
use crate::watch::{Held, Watcher};

/// A token of tests.
pub(super) const TOKEN: &str = "test-token-0123456789";

/// A status listener on the wire, and what belongs to it. It ends with the runtime, or when told.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) status: Status,
    pub(super) token: watch::Sender<Arc<Token>>,
    pub(super) stop: CancellationToken,
    pub(super) serving: JoinHandle<std::io::Result<()>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One that knows nothing but `ledger`.
pub(super) fn status(
    ledger: &Ledger,
    rules: Rules,
    keeper: Keeper,
    stop: &CancellationToken,
) -> Status {
    Status {
        front: api(ledger, "registry.corp", rules),
        feed: Feed::new(stop.clone()),
        keeper,
        pruner: crate::retention::testing::pruner(ledger),
        retention: Schedule { unused_for: UnusedFor::default(), every: None },
        ledger: ledger.clone(),
        metrics: Metrics::default(),
        client: Client::new(ClientConfig::default()).unwrap(),
        certificate: tls(&testkit::Certificates::new()).certificate,
        troubles: Watcher::default().troubles(),
        draining: CancellationToken::new(),
    }
}

impl Listener {
    /// One that everything may be asked of, and that wants [`TOKEN`].
    pub(super) async fn start(ledger: &Ledger, rules: Rules) -> Self {
        let (token, held) = Held::channel(Token::parse(TOKEN).unwrap());
        let stop = CancellationToken::new();
        let status = status(ledger, rules, Keeper::new(Some(held)), &stop);
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let serving = tokio::spawn(status.clone().serve(tcp, stop.clone()));
        Self { address, status, token, stop, serving }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"), "").await
    }

    /// Posts JSON, with these headers, each with its line's end.
    pub(super) async fn post(&self, path: &str, headers: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}"
        );
        self.ask(&head, &body).await
    }

    /// The same with a token.
    pub(super) async fn post_with(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.post(path, &format!("Authorization: Bearer {token}\r\n"), body).await
    }

    async fn ask(&self, head: &str, body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        let reply = String::from_utf8(reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        Reply { status, head: head.to_owned(), body }
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &rest[..size];
        body = rest[size..].strip_prefix("\r\n").unwrap();
    }
    whole
}

/// An image of which everything is known.
pub(super) fn image() -> Image {
    Image {
        source: "nginx:1.27".parse().unwrap(),
        target: Some("registry.corp/docker.io/library/nginx:1.27".parse().unwrap()),
        state: Some(State::Present),
        digest: Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
        size_bytes: Some(70_000_000),
        platforms: Some(vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]),
        referrers: Some([("signature".to_owned(), 2), ("sbom".to_owned(), 1)].into()),
        signed: Some(true),
        namespaces: vec!["cart".to_owned(), "shop".to_owned()],
        first_asked_ms: Some(1_000_000),
        last_asked_ms: Some(2_000_000),
        checked_at_ms: Some(1_500_000),
        in_use: Some(3),
        unreplicated: Some(false),
    }
}

/// A copy of `image` that failed, told in `message`.
pub(super) fn failed(message: &str) -> Overview {
    let failure = Failure {
        code: protocol::RefusalCode::Failed,
        side: protocol::Side::Source,
        message: message.to_owned(),
        is_lasting: false,
    };
    let failed = Failed {
        source: "nginx:1.27".parse().unwrap(),
        target: "registry.corp/docker.io/library/nginx:1.27".parse().unwrap(),
        state: State::Failed,
        namespaces: vec!["shop".to_owned()],
        failure: Some(failure),
        attempts: 3,
        next_try_ms: Some(90_000),
        checked_at_ms: None,
    };
    let totals = Totals { failed: 1, ..Totals::default() };
    Overview { totals, failed: vec![failed], ..Overview::default() }
}
