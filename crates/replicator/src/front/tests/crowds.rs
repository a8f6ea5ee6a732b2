//! Too many at once, and clients that take their time: a clear answer or a quick end, never a
//! hang.

use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::{AnyConnection, Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::ledger::testing::{asker, source, target};
use crate::ledger::work::{Ask, Priority, Wish};

/// Longer than any test takes.
const HANGS: Duration = Duration::from_secs(120);

impl Front {
    /// Asks again and again until the answer is like that.
    async fn trigger_until(
        &self,
        verb: &str,
        source: &str,
        is_so: impl Fn(&Result<Receipt, Refusal>) -> bool,
    ) -> Result<Receipt, Refusal> {
        let asked = async {
            loop {
                let answer = self.trigger(verb, source).await;
                if is_so(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANGS, asked).await.unwrap()
    }

    fn has_shed(&self, reason: &str) -> bool {
        let text = self.metrics.counted();
        text.contains(&format!("image_replicator_shed_total{{reason=\"{reason}\"}}"))
    }

    /// A client that does with its connection what it likes.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_so_in_the_hosts_own_words() {
    let front = Front::start_with(1_000, |listener| listener.max_connections = 0).await;
    let refusal = front.trigger("start", "nginx:1").await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_s), (RefusalCode::TooMany, Some(1)));
    assert_eq!(refusal.source, "docker.io/library/nginx:1");
    assert_eq!(front.ledger.find(&source("1")).await.unwrap(), None);
    assert!(front.has_shed("connections"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_makes_room() {
    let front = Front::start_with(1_000, |listener| listener.max_connections = 1).await;
    for tag in 0..5 {
        let image = format!("nginx:{tag}");
        front.trigger_until("start", &image, Result::is_ok).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_many_are_told_already_the_next_is_closed_at_once() {
    let front = Front::start_with(1_000, |listener| {
        listener.max_connections = 0;
        listener.max_refused = 0;
    });
    let front = front.await;
    let mut closed = TcpStream::connect(front.address).await.unwrap();
    let read = tokio::time::timeout(HANGS, closed.read(&mut [0])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    let error = front.host.ask("v1/start/shop/tag/docker.io/library/nginx:1", "secret").await;
    let error = error.unwrap_err();
    assert!(error.contains("error sending request"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_the_ledger_is_refused_at_once_and_memory_answers_on() {
    let front = Arc::new(Front::start().await);
    front.trigger("start", "nginx:known").await.unwrap();
    front.copy_next().await;

    let mut other = AnyConnection::connect(&front.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let crowd = (0..600).map(|number| {
        let (front, is_over) = (Arc::clone(&front), Arc::clone(&is_over));
        let tag = number.to_string();
        let wish = Wish { target: target(&tag), priority: Priority::Now, max_age: None };
        let ask = Ask { source: source(&tag), wish, asker: asker("shop") };
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let _ = front.ledger.want(ask.clone()).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    });
    let crowd: Vec<_> = crowd.collect();
    let code = |answer: &Result<Receipt, Refusal>| answer.as_ref().err().map(|r| r.code);
    // Those inside are refused when their time is over, and one may slip in between.
    let is_crowded = |answer: &_| {
        assert!(matches!(code(answer), Some(RefusalCode::TooMany | RefusalCode::Unavailable)));
        code(answer) == Some(RefusalCode::TooMany)
    };
    let refusal = front.trigger_until("start", "nginx:new", is_crowded).await.unwrap_err();
    assert_eq!(refusal.retry_after_s, Some(1));
    assert!(refusal.message.contains("wait for the ledger already"), "{}", refusal.message);
    assert!(front.has_shed("ledger"));
    let known = front.trigger("replica", "nginx:known").await.unwrap();
    assert_eq!(known.state, ReplicaState::Present);

    is_over.store(true, Ordering::Relaxed);
    other.execute("ROLLBACK").await.unwrap();
    for one in crowd {
        one.await.unwrap();
    }
    let started = front.trigger_until("start", "nginx:new", Result::is_ok).await.unwrap();
    assert_eq!(started.state, ReplicaState::Copying);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_not_waited_for() {
    let front = Front::start().await;
    let mut client = front.connect().await;
    let head = "GET /v2/ HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\nand";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let ended = tokio::time::timeout(HANGS, client.read_to_end(&mut reply)).await;
    assert!(reply.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&reply));
    ended.expect("the connection is closed after the answer").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answer_is_cut() {
    let front = Front::start().await;
    let mut client = front.connect().await;
    let many = "GET /v2/ HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let cut = async { while client.write_all(many.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(HANGS, cut).await.expect("the connection is cut");
}
