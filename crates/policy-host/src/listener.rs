//! The server's socket: plain or TLS, HTTP/1.1, one task a connection.
//!
//! Hands connections to a router and knows none of its addresses. Certificates are read once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How long a client may take to shake hands: it holds a task and a socket meanwhile.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// After an accept that failed, usually for want of file descriptors, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A PEM file is unreadable, or holds something else.
    #[error("cannot use {path}: {error}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together.
    #[error("the certificate cannot be served")]
    Tls(#[from] rustls::Error),
}

/// A bound socket, not yet served.
#[allow(missing_debug_implementations)] // a TLS acceptor holds a key
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; speaks TLS if given a certificate chain and its key.
    pub async fn bind(
        address: SocketAddr,
        pem: Option<(&Path, &Path)>,
    ) -> Result<Self, ListenError> {
        let tls = pem.map(|(certificates, key)| acceptor(certificates, key)).transpose()?;
        let unbound = |error| ListenError::Bind { address, error };
        let socket = TcpListener::bind(address).await.map_err(unbound)?;
        let address = socket.local_addr().map_err(unbound)?;
        Ok(Self { socket, tls, address })
    }

    /// Where it listens, e.g. `https://127.0.0.1:8443`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves for ever.
    pub async fn serve(self, router: Router) {
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, router) = (self.tls.clone(), router.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(stream, tls, router).await {
                    tracing::debug!(%error, "connection ended");
                }
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    match tls {
        None => http(stream, router).await,
        Some(tls) => {
            http(tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await??, router).await
        }
    }
}

async fn http<S>(stream: S, router: Router) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor, ListenError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |error| ListenError::Pem { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unusable(certificates))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unusable(key))?;
    // Named, as the build holds more than one provider.
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
