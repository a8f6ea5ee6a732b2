//! A receiver on loopback, as tests want it: it answers by a script, and remembers what it got.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use bytes::Bytes;
use futures::stream;
use registry::Poster;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::address::Address;
use super::event::Kind;
use super::receiver::{Receiver, Secrets};
use crate::watch::Held;

/// Longer than a test takes.
const HANGS: Duration = Duration::from_secs(60);

/// How one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status, and a header if its name is not empty.
    Status(u16, &'static str, String),
    /// With 200, and a body without end.
    Endless,
    /// Not at all.
    Silence,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, "", String::new())
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The receiver. What its script does not say is answered by 204. It ends with the runtime.
#[derive(Clone)]
pub(crate) struct ScriptedReceiver {
    port: u16,
    state: Scene,
}

#[derive(Clone, Default)]
struct Scene {
    script: Arc<Mutex<VecDeque<Reply>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl ScriptedReceiver {
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        Self::serve(tcp, port, script)
    }

    /// One that shows this certificate.
    pub(crate) async fn with_tls(certificates: &testkit::Certificates) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let acceptor = certificates.server_config().into();
        Self::serve(Tls { tcp, acceptor }, port, [])
    }

    fn serve<L>(listener: L, port: u16, script: impl IntoIterator<Item = Reply>) -> Self
    where
        L: Listener<Addr: std::fmt::Debug>,
    {
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        let state = Scene { script, heard: Arc::default() };
        let router = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, state }
    }

    /// `http://127.0.0.1:PORT/in`, or the same with TLS.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/in", self.port)
    }

    /// A receiver of the configuration that leads here, without TLS.
    pub(crate) fn receiver(&self, name: &str, secrets: Option<Held<Secrets>>) -> Receiver {
        Receiver {
            name: name.parse().unwrap(),
            address: Address::parse(&self.url("http"), true).unwrap(),
            events: Kind::ALL.into(),
            secrets,
            poster: Held::channel(Poster::new(None).unwrap()).1,
        }
    }

    /// What came so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap().clone()
    }

    /// Waits until so many requests have come, and returns them.
    pub(crate) async fn hears(&self, count: usize) -> Vec<Heard> {
        let heard = async {
            while self.heard().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(HANGS, heard).await.unwrap();
        self.heard()
    }
}

async fn answer(
    State(scene): State<Scene>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let reply = scene.script.lock().unwrap().pop_front().unwrap_or_else(|| Reply::status(204));
    scene.heard.lock().unwrap().push(Heard { method, headers, body });
    match reply {
        Reply::Status(status, name, value) => {
            let mut reply = http::StatusCode::from_u16(status).unwrap().into_response();
            if !name.is_empty() {
                reply.headers_mut().insert(name, value.parse().unwrap());
            }
            reply
        }
        Reply::Endless => {
            let chunks =
                stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"no ")));
            Body::from_stream(chunks).into_response()
        }
        Reply::Silence => std::future::pending().await,
    }
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, address) = self.tcp.accept().await.unwrap();
            // Who does not like our certificate goes away.
            if let Ok(tls) = self.acceptor.accept(tcp).await {
                return (tls, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
