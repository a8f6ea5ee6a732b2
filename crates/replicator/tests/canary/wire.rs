//! HTTP as bytes: what comes back is kept whole, head and all.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Asks over TLS as `user` with a password.
pub(crate) async fn ask_front(
    address: SocketAddr,
    ca_pem: &str,
    path: &str,
    user: &str,
    password: &str,
) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap();
    let basic = STANDARD.encode(format!("{user}:{password}"));
    ask(socket, path, &format!("Authorization: Basic {basic}\r\n")).await
}

/// Asks without TLS and credentials; None while nobody listens.
pub(crate) async fn ask_status(address: SocketAddr, path: &str) -> Option<String> {
    let socket = TcpStream::connect(address).await.ok()?;
    Some(ask(socket, path, "").await)
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, path: &str, head: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}Connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may close without TLS's own goodbye.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
