//! A Kubewarden host, as the replicator's front meets it: the client that the real one uses.

use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use protocol::{Receipt, Refusal, Trigger};

/// A host that asks the replicator at a port of localhost, as `policy`.
#[derive(Clone)]
pub struct Host {
    port: u16,
    ca_pem: String,
    kept: Option<Client>,
}

impl Host {
    /// One that trusts this CA. Like the real one it makes a client for each call.
    #[must_use]
    pub fn new(port: u16, ca_pem: &str) -> Self {
        Self { port, ca_pem: ca_pem.to_owned(), kept: None }
    }

    /// One that keeps its client and connections, for tests that ask a lot.
    #[must_use]
    pub fn keeping_its_client(&self) -> Self {
        Self { kept: Some(self.client()), ..self.clone() }
    }

    fn client(&self) -> Client {
        let data = self.ca_pem.clone().into_bytes();
        let certificate = Certificate { encoding: CertificateEncoding::Pem, data };
        let extra_root_certificates = vec![certificate];
        Client::new(ClientConfig { extra_root_certificates, ..ClientConfig::default() })
    }

    /// What the host hands to the policy for the manifest at `path`: JSON, or an error's text.
    pub async fn ask(&self, path: &str, password: &str) -> Result<String, String> {
        let reference: Reference = format!("localhost:{}/{path}", self.port).parse().unwrap();
        let auth = RegistryAuth::Basic("policy".to_owned(), password.to_owned());
        let client = self.kept.clone().unwrap_or_else(|| self.client());
        match client.pull_manifest(&reference, &auth).await {
            Ok((manifest, _digest)) => Ok(serde_json::to_string(&manifest).unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The answer to a trigger from `namespace`, with the password `secret`.
    pub async fn trigger(
        &self,
        verb: &str,
        namespace: &str,
        source: &str,
    ) -> Result<Receipt, Refusal> {
        let trigger = Trigger {
            verb: verb.parse().unwrap(),
            namespace: namespace.parse().unwrap(),
            source: source.parse().unwrap(),
        };
        let path = trigger.encode().unwrap().to_string();
        match self.ask(&path, "secret").await {
            Ok(body) => Ok(Receipt::from_json(body.as_bytes()).unwrap()),
            Err(text) => {
                Err(Refusal::find(&text).unwrap_or_else(|| panic!("no refusal in {text}")))
            }
        }
    }
}
