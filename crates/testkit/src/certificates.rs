//! A certificate authority and a leaf for loopback, made anew for each test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A CA, and a leaf that it signed for `localhost`, `127.0.0.1` and `::1`.
pub struct Certificates {
    /// The CA's certificate.
    pub ca_pem: String,
    /// The leaf's certificate.
    pub cert_pem: String,
    /// The leaf's key.
    pub key_pem: String,
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// What a client shows, and its key.
pub type ClientIdentity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Certificates {
    /// New ones.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// New ones, of which the leaf's ends with the beginning of that year.
    #[must_use]
    pub fn ending(year: i32) -> Self {
        Self::with(|leaf| leaf.not_after = rcgen::date_time_ymd(year, 1, 1))
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let names = ["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned).to_vec();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(names).unwrap();
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        Self {
            ca_pem: ca.pem(),
            cert_pem: leaf.pem(),
            key_pem: key.serialize_pem(),
            cert: leaf.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            ca,
        }
    }

    /// A certificate of a client, signed by the CA: with these alternative names, and this common
    /// name.
    #[must_use]
    pub fn client(&self, names: Vec<SanType>, common_name: &str) -> ClientIdentity {
        let mut client = CertificateParams::default();
        client.subject_alt_names = names;
        client.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let cert = client.signed_by(&key, &self.ca).unwrap();
        (cert.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// A server's TLS configuration with the leaf.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.cert.clone()], self.key.clone_key())
            .unwrap();
        Arc::new(config)
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
