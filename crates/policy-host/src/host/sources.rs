//! `sources.yaml`: which registries have a private CA, and which may be spoken to insecurely.
//!
//! Read once, at start. Certificates are read and checked here, so that a wrong path is an error
//! before the first request. Knows no registry client beyond its certificate type.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use oci_distribution::client::{Certificate, CertificateEncoding};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// What is known of registries besides their names. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    insecure: HashSet<String>,
    authorities: HashMap<String, Vec<Certificate>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SourcesFile {
    insecure_sources: HashSet<String>,
    source_authorities: HashMap<String, Vec<Authority>>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Authority {
    Path { path: PathBuf },
    Data { data: Data },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Text(String),
    Bytes(Vec<u8>),
}

/// Why a sources file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The file, or a certificate it names, cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not YAML of the expected form.
    #[error("{path} is not a sources file: {error}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: serde_yaml::Error,
    },
    /// A certificate is neither PEM nor DER.
    #[error("a certificate for '{host}' is neither PEM nor DER")]
    Certificate {
        /// The registry it was given for.
        host: String,
    },
}

impl Sources {
    /// Reads the file at `path`, and the certificates it names.
    pub fn read(path: &Path) -> Result<Self, SourcesError> {
        let text = read(path)?;
        let file: SourcesFile = serde_yaml::from_slice(&text)
            .map_err(|error| SourcesError::Form { path: path.to_owned(), error })?;
        let mut authorities = HashMap::new();
        for (host, listed) in file.source_authorities {
            let certificates = listed
                .into_iter()
                .map(|authority| certificate(&host, authority))
                .collect::<Result<Vec<_>, _>>()?;
            authorities.insert(host, certificates);
        }
        Ok(Self { insecure: file.insecure_sources, authorities })
    }

    /// Whether `host` (`name[:port]`, compared literally) may be spoken to without verified TLS.
    pub fn is_insecure(&self, host: &str) -> bool {
        self.insecure.contains(host)
    }

    /// The extra roots to trust for `host`, compared literally.
    pub(super) fn authorities(&self, host: &str) -> Vec<Certificate> {
        self.authorities.get(host).cloned().unwrap_or_default()
    }
}

fn certificate(host: &str, authority: Authority) -> Result<Certificate, SourcesError> {
    let data = match authority {
        Authority::Path { path } => read(&path)?,
        Authority::Data { data: Data::Text(text) } => text.into_bytes(),
        Authority::Data { data: Data::Bytes(bytes) } => bytes,
    };
    let encoding = if CertificateDer::from_pem_slice(&data).is_ok() {
        CertificateEncoding::Pem
    } else if RootCertStore::empty().add(CertificateDer::from(data.as_slice())).is_ok() {
        CertificateEncoding::Der
    } else {
        return Err(SourcesError::Certificate { host: host.to_owned() });
    };
    Ok(Certificate { encoding, data })
}

fn read(path: &Path) -> Result<Vec<u8>, SourcesError> {
    std::fs::read(path).map_err(|error| SourcesError::Read { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Result<Sources, SourcesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.yaml");
        std::fs::write(&path, text).unwrap();
        Sources::read(&path)
    }

    fn a_certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["registry.test".to_owned()]).unwrap()
    }

    #[test]
    fn authorities_by_path_and_by_data_and_insecure_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let generated = a_certificate();
        let pem = generated.cert.pem();
        let der_path = folder.path().join("ca.der");
        std::fs::write(&der_path, generated.cert.der()).unwrap();
        let text = serde_json::json!({
            "insecure_sources": ["plain.test:5000"],
            "source_authorities": {
                "registry.test:443": [
                    {"type": "Data", "data": pem},
                    {"type": "Path", "path": der_path},
                ],
            },
            "proxies": {"http_proxy": "http://ignored.test"},
        });
        let read = sources(&text.to_string()).unwrap();
        assert!(read.is_insecure("plain.test:5000"));
        assert!(!read.is_insecure("plain.test"));
        let listed = read.authorities("registry.test:443");
        assert!(matches!(listed[0].encoding, CertificateEncoding::Pem));
        assert!(matches!(listed[1].encoding, CertificateEncoding::Der));
        assert!(read.authorities("REGISTRY.test:443").is_empty());
    }

    #[test]
    fn mistakes_name_the_file_or_the_host() {
        let no_certificate = r#"{source_authorities: {h: [{type: Data, data: "hello"}]}}"#;
        assert_eq!(
            sources(no_certificate).unwrap_err().to_string(),
            "a certificate for 'h' is neither PEM nor DER"
        );
        let no_file = r#"{source_authorities: {h: [{type: Path, path: /no/such.pem}]}}"#;
        assert!(sources(no_file).unwrap_err().to_string().contains("/no/such.pem"));
        assert!(
            sources("insecure_sources: 3")
                .unwrap_err()
                .to_string()
                .contains("is not a sources file")
        );
    }
}
