//! TCP, TLS and HTTP/1.1 for the front: bounded in connections, and in the time that a client
//! takes for each step and an answer takes in all.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{Api, Reply};
use super::callers::Peer;
use super::shed;
use super::tls::{Tls, name_of};

/// Connections at once. A policy server has a queue of 100; ten of them fit.
const MAX_CONNECTIONS: usize = 1_024;

/// Connections beyond them that hear why they are not served. More than that are closed unheard:
/// a TLS handshake is what a flood costs most.
const MAX_REFUSED: usize = 256;

/// How long a connection that is not served may take to hear so: a handshake and two requests.
const REFUSED_TIME: Duration = Duration::from_secs(2);

/// The time from a request's head to its answer, credentials included. Past it the host would cut
/// the policy off without a reason; its time is 2 s.
const ANSWER_TIME: Duration = Duration::from_millis(1_500);

/// A client that has not finished its handshake by then is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that has not sent its request's head by then is cut; idle connections, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that takes nothing of its answer for so long is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for a request's head: a trigger has under 1 KiB, credentials likewise.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long to wait after the system refuses a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    pub(super) tls: Tls,
    pub(super) max_connections: usize,
    pub(super) max_refused: usize,
}

impl Listener {
    /// Binds to `address`.
    pub(crate) async fn bind(address: SocketAddr, tls: Tls) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let (max_connections, max_refused) = (MAX_CONNECTIONS, MAX_REFUSED);
        Ok(Self { tcp, tls, max_connections, max_refused })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop`, then ends each connection after the request that it has.
    pub(crate) async fn serve(self, api: Api, stop: CancellationToken) {
        let served = Arc::new(Semaphore::new(self.max_connections));
        let refused = Arc::new(Semaphore::new(self.max_refused));
        let connections = TaskTracker::new();
        loop {
            let (stream, address) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (tls, api, stop) = (self.tls.clone(), api.clone(), stop.clone());
            if let Ok(permit) = Arc::clone(&served).try_acquire_owned() {
                connections.spawn(async move {
                    let answer = |peer, request| answer(api.clone(), peer, request);
                    log_early_end(serve_connection(stream, address, tls, answer, stop).await);
                    drop(permit);
                });
                continue;
            }
            api.metrics.shed("connections");
            let Ok(permit) = Arc::clone(&refused).try_acquire_owned() else { continue };
            connections.spawn(async move {
                let answer = |_, request: Request<Incoming>| {
                    std::future::ready(shed::too_many_connections(request.uri()))
                };
                let connection = serve_connection(stream, address, tls, answer, stop);
                if let Ok(ended) = timeout(REFUSED_TIME, connection).await {
                    log_early_end(ended);
                }
                drop(permit);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

async fn answer(api: Api, peer: Peer, request: Request<Incoming>) -> Reply {
    let uri = request.uri().clone();
    let metrics = api.metrics.clone();
    timeout(ANSWER_TIME, api.handle(&peer, request)).await.unwrap_or_else(|_| {
        metrics.shed("time");
        shed::late(&uri)
    })
}

fn log_early_end(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn serve_connection<Answering>(
    stream: TcpStream,
    address: SocketAddr,
    mut tls: Tls,
    answer: impl Fn(Peer, Request<Incoming>) -> Answering,
    stop: CancellationToken,
) -> Result<(), BoxError>
where
    Answering: Future<Output = Reply>,
{
    // Without it the host waits 40 ms for a delayed ACK, twice.
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls.config()?));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(Box::pin(stream))).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let name = certificates.and_then(|certificates| name_of(certificates.first()?));
    let peer = Peer { address: address.ip(), name };
    let service = service_fn(|request| {
        let answer = answer(peer.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Who shows a certificate is to show it anew when other authorities name callers.
    let must_end = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tls.client_ca_changed() => {}
        }
    };
    tokio::select! {
        result = connection.as_mut() => result?,
        () = must_end => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}
