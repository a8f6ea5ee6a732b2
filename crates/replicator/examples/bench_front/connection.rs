//! One TLS connection to a front, as small a client as can be: the load shares its machine with
//! the replicator.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::replicator::CALLER;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A front, and how to reach it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Place {
    port: u16,
    connector: TlsConnector,
    authorization: Arc<str>,
}

impl Place {
    /// The front on this port of loopback. No session is resumed, as with the host's clients.
    pub(crate) fn new(port: u16, certificates: &testkit::Certificates) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes());
        roots.add(ca.expect("a certificate in PEM")).expect("a certificate of an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions that the provider has")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let credentials = BASE64.encode(format!("{}:{}", CALLER.0, CALLER.1));
        Self {
            port,
            connector: TlsConnector::from(Arc::new(config)),
            authorization: format!("Basic {credentials}").into(),
        }
    }
}

/// One connection.
pub(crate) struct Connection {
    place: Place,
    sender: SendRequest<Empty<Bytes>>,
}

impl Connection {
    /// A new one.
    pub(crate) async fn open(place: &Place) -> Result<Self, BoxError> {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).await?;
        stream.set_nodelay(true)?;
        let stream = place.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { place: place.clone(), sender })
    }

    /// What a host's client asks first, without credentials: it wants to be told who may ask.
    pub(crate) async fn ping(&mut self) -> Result<StatusCode, BoxError> {
        let request = Request::get("/v2/").header(header::HOST, "localhost");
        Ok(self.send(request.body(Empty::new())?).await?.0)
    }

    /// A page, with credentials.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes), BoxError> {
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, &*self.place.authorization);
        self.send(request.body(Empty::new())?).await
    }

    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        self.sender.ready().await?;
        let reply = self.sender.send_request(request).await?;
        let status = reply.status();
        Ok((status, reply.into_body().collect().await?.to_bytes()))
    }
}
