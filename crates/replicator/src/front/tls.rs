//! The front's side of TLS: its certificate, which may change at any time, and whom it takes a
//! certificate from.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::clock::Timestamp;
use crate::watch::Held;

/// The longest name of a caller that a certificate may hold: as long as a DNS name.
const MAX_NAME_BYTES: usize = 253;

/// The certificate, with those that it comes with, and its key: always a pair.
#[derive(Debug)]
pub(crate) struct Certificate {
    key: Arc<CertifiedKey>,
    /// When the first of the chain ends.
    pub(crate) ends: Timestamp,
}

/// The authorities whose certificates name callers.
pub(crate) struct ClientCa(Arc<dyn ClientCertVerifier>);

/// What each handshake is made with. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// Who we are.
    pub(crate) certificate: Held<Certificate>,
    /// Whom callers' certificates are from; None where nobody is asked for one.
    pub(crate) client_ca: Option<Held<ClientCa>>,
}

impl Certificate {
    /// A chain and its key, in PEM.
    pub(crate) fn parse(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, CertificateError> {
        let chain = parse_certificates(chain_pem).map_err(CertificateError::Chain)?;
        let ends = chain.iter().map(end_of).collect::<Result<Vec<_>, _>>();
        let ends = ends.map_err(CertificateError::Chain)?.into_iter().min();
        let ends = ends.ok_or_else(|| CertificateError::Chain(NO_CERTIFICATE.to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::Mismatch)?;
        Ok(Self { key: Arc::new(key), ends })
    }
}

impl Certificate {
    /// The hosts that it is for: its alternative names.
    pub(crate) fn names(&self) -> Vec<String> {
        let leaf = self.key.cert.first().and_then(|der| X509Certificate::from_der(der).ok());
        let Some((_, leaf)) = leaf else { return Vec::new() };
        let alternative = leaf.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        let text = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(v4) => Some(Ipv4Addr::from(v4).to_string()),
                Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            },
            _ => None,
        };
        names.filter_map(text).collect()
    }
}

/// When each certificate of a PEM file ends.
pub(crate) fn ends_of(pem: &[u8]) -> Result<Vec<Timestamp>, String> {
    parse_certificates(pem)?.iter().map(end_of).collect()
}

impl ClientCa {
    /// Authorities, in PEM.
    pub(crate) fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in parse_certificates(pem)? {
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        // Who has no certificate may have a password: the callers decide, and say so in HTTP.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build();
        verifier.map(Self).map_err(|error| error.to_string())
    }
}

impl Tls {
    /// For one handshake, by what holds now: to put it together costs microseconds, the handshake
    /// a hundred times as much.
    pub(crate) fn config(&mut self) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match &mut self.client_ca {
            Some(held) => builder.with_client_cert_verifier(Arc::clone(&held.latest().0)),
            None => builder.with_no_client_auth(),
        };
        let key = Arc::clone(&self.certificate.current().key);
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The host makes a new client for each call, so nobody resumes: tickets would only delay.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }

    /// Ends when other authorities name callers than those that the last handshake was made with.
    pub(crate) async fn client_ca_changed(&mut self) {
        match &mut self.client_ca {
            Some(held) => held.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// The caller that a verified certificate names: its first DNS name or URI, or else the common
/// name of its subject. None where it has none, or one that no list of callers would hold.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let alternative = certificate.subject_alternative_name().ok()?;
    let mut names = alternative.iter().flat_map(|names| &names.value.general_names);
    let name = names.find_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    let name = name.or_else(|| certificate.subject().iter_common_name().next()?.as_str().ok())?;
    let is_legal = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_legal.then(|| name.into())
}

fn provider() -> Arc<CryptoProvider> {
    use std::sync::LazyLock;
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

const NO_CERTIFICATE: &str = "there is no certificate in it";

fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() { Err(NO_CERTIFICATE.to_owned()) } else { Ok(certificates) }
}

fn end_of(certificate: &CertificateDer<'_>) -> Result<Timestamp, String> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| "a certificate in it cannot be read".to_owned())?;
    let end_s = certificate.validity().not_after.timestamp();
    Ok(Timestamp::from_ms(0) + Duration::from_secs(u64::try_from(end_s).unwrap_or(0)))
}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCa")
    }
}

/// Why certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The certificates are none.
    #[error("{0}")]
    Chain(String),
    /// The key is none.
    #[error("{0}")]
    Key(String),
    /// Each is right, but not the other's.
    #[error("it is of another key than the one in `front.key`")]
    Mismatch,
}
