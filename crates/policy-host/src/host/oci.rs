//! Reads from registries exactly as the host does: a new client for each call, no timeout, and for
//! insecure hosts three tries of which the last error wins.
//!
//! On the wire each read is `GET /v2/`, then the manifest, on a connection of its own; credentials
//! go out only after a challenge. All of that is `oci-client`'s doing, the client of the real host.
//! Version 0.18 is used here and 0.17 in hosts up to 1.36. What a guest can notice of that: a 4xx
//! whose body is an OCI error envelope (`{"errors": [{"code": …}]}`) with a code outside the
//! standard reached it whole from 0.17; 0.18 hands on the message alone. Other bodies arrive whole
//! from both. Knows no guest; its answers are bytes of JSON.

use oci_distribution::client::{Client, ClientConfig, ClientProtocol};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{ParseError, Reference};
use serde_json::{Value, json};

use super::cache::Cache;
use super::credentials::Credentials;
use super::request::OciOperation;
use super::sources::Sources;

/// All registries, as this process reaches them.
#[derive(Debug, Default)]
pub struct Registries {
    sources: Sources,
    credentials: Credentials,
    proxies: Proxies,
    manifests: Cache,
    digests: Cache,
    configs: Cache,
}

/// Why a read from a registry failed. The texts are the real host's, as policies match on them.
#[derive(Debug, thiserror::Error)]
pub enum OciFailure {
    /// The guest's reference does not parse.
    #[error(transparent)]
    Reference(#[from] ParseError),
    /// The registry, or the way to it.
    #[error("Fail to interact with OCI registry: {0}")]
    Registry(#[from] OciDistributionError),
    /// The registry's answer is no JSON where JSON is needed.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// How one try speaks to a registry.
#[derive(Debug, Clone, Copy)]
enum Access {
    /// HTTPS, verified by the system's roots and the registry's own authorities.
    Verified,
    /// HTTPS, whatever certificate is shown.
    Unverified,
    /// HTTP.
    Plain,
}

impl Registries {
    /// Registries reached with these sources and credentials, and the environment's proxies.
    pub fn new(sources: Sources, credentials: Credentials) -> Self {
        Self { sources, credentials, proxies: Proxies::from_env(), ..Self::default() }
    }

    /// The answer to one read, from the cache or the registry.
    pub(super) async fn read(
        &self,
        operation: OciOperation,
        image: &str,
    ) -> Result<Vec<u8>, OciFailure> {
        let cache = match operation {
            OciOperation::Manifest => &self.manifests,
            OciOperation::Digest => &self.digests,
            OciOperation::ManifestAndConfig => &self.configs,
        };
        // Boxed: the client's futures are large, and this one is held by every pending call.
        cache.answer(image, Box::pin(self.fetch(operation, image))).await
    }

    async fn fetch(&self, operation: OciOperation, image: &str) -> Result<Vec<u8>, OciFailure> {
        let reference: Reference = image.parse()?;
        let host = reference.registry();
        let auth = self.credentials.of(host);
        let mut outcome = self.attempt(Access::Verified, operation, &reference, &auth).await;
        for access in [Access::Unverified, Access::Plain] {
            match &outcome {
                Err(error) if self.sources.is_insecure(host) => {
                    tracing::info!(host, %error, next = ?access, "try failed, the host is listed as insecure");
                }
                _ => break,
            }
            outcome = self.attempt(access, operation, &reference, &auth).await;
        }
        outcome
    }

    async fn attempt(
        &self,
        access: Access,
        operation: OciOperation,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<Vec<u8>, OciFailure> {
        let client = Client::new(self.client_config(access, reference.registry()));
        match operation {
            OciOperation::Manifest => {
                let (manifest, _) = client.pull_manifest(reference, auth).await?;
                Ok(serde_json::to_vec(&manifest)?)
            }
            OciOperation::Digest => {
                let digest = client.fetch_manifest_digest(reference, auth).await?;
                Ok(serde_json::to_vec(&json!({ "digest": digest }))?)
            }
            OciOperation::ManifestAndConfig => {
                let (manifest, digest, config) =
                    client.pull_manifest_and_config(reference, auth).await?;
                let config: Value = serde_json::from_str(&config)?;
                let answer = json!({ "manifest": manifest, "digest": digest, "config": config });
                Ok(serde_json::to_vec(&answer)?)
            }
        }
    }

    fn client_config(&self, access: Access, host: &str) -> ClientConfig {
        let base = ClientConfig {
            http_proxy: self.proxies.http.clone(),
            https_proxy: self.proxies.https.clone(),
            no_proxy: self.proxies.exempt.clone(),
            ..ClientConfig::default()
        };
        match access {
            Access::Verified => ClientConfig {
                protocol: ClientProtocol::Https,
                extra_root_certificates: self.sources.authorities(host),
                ..base
            },
            Access::Unverified => ClientConfig {
                protocol: ClientProtocol::Https,
                accept_invalid_certificates: true,
                ..base
            },
            Access::Plain => ClientConfig { protocol: ClientProtocol::Http, ..base },
        }
    }
}

/// The conventional proxy variables, upper case first.
#[derive(Debug, Default)]
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    exempt: Option<String>,
}

impl Proxies {
    fn from_env() -> Self {
        let variable = |upper: &str| {
            std::env::var(upper).or_else(|_| std::env::var(upper.to_lowercase())).ok()
        };
        Self {
            http: variable("HTTP_PROXY"),
            https: variable("HTTPS_PROXY"),
            exempt: variable("NO_PROXY"),
        }
    }
}
