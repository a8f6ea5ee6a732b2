//! TCP, TLS and HTTP/1.1 for the front: bounded in connections, in handshake and header time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::Api;

/// Connections at once. A policy server has a queue of 100; ten of them fit.
const MAX_CONNECTIONS: usize = 1_024;

/// A client that has not finished its handshake by then is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that has not sent its request's head by then is cut; idle connections, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for a request's head: a trigger has under 1 KiB, credentials likewise.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long to wait after the system refuses a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Arc<ServerConfig>,
}

impl Listener {
    /// Binds to `address`.
    pub(crate) async fn bind(address: SocketAddr, tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        Ok(Self { tcp: TcpListener::bind(address).await?, tls })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop`, then ends each connection after the request that it has.
    pub(crate) async fn serve(self, api: Api, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let acceptor = TlsAcceptor::from(self.tls);
        let connections = TaskTracker::new();
        loop {
            // Never closed, so never an error.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let connection = serve_connection(stream, acceptor.clone(), api.clone(), stop.clone());
            connections.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                drop(permit);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

async fn serve_connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    api: Api,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Without it the host waits 40 ms for a delayed ACK, twice.
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => result?,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}
