//! What the client is told at its start: registries, credentials, timeouts; and where the API
//! of a registry is.

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use protocol::Registry;
use url::Url;

use crate::credentials::{Anonymous, Credentials};
use crate::lane::CircuitPolicy;
use crate::limits;
use crate::retry::RetryPolicy;

/// The host of Docker Hub's API (its name in references has none).
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// What is special about one registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Certificates in PEM, trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Speak HTTP without TLS. Credentials then go over the wire in the clear.
    pub plain_http: bool,
    /// Requests a second; after a rest as many at once. None is as fast as it answers: most
    /// registries bear that, and those that do not say so by 429 and `Retry-After`.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests at once, reads and writes each, in place of [`ClientConfig::permits`].
    pub requests_at_once: Option<NonZeroU16>,
}

/// How long silence is borne; there is no limit on a whole transfer.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// Between two signs of life.
    pub idle: Duration,
    /// From a blob's last byte to the answer.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            commit: limits::COMMIT_TIMEOUT,
        }
    }
}

/// What the client is told at its start. `ClientConfig::default()` is anonymous, speaks TLS to
/// everyone and trusts the system's certificates.
#[derive(Clone)]
pub struct ClientConfig {
    /// By exact registry.
    pub registries: HashMap<Registry, RegistryConfig>,
    /// Who knows the secrets.
    pub credentials: Arc<dyn Credentials>,
    /// How long silence is borne.
    pub timeouts: Timeouts,
    /// How often and how soon is tried again.
    pub retry: RetryPolicy,
    /// Requests at once to one registry, reads and writes each.
    pub permits: usize,
    /// When a registry is taken for dead, and for how long.
    pub circuit: CircuitPolicy,
}

impl ClientConfig {
    pub(crate) fn requests_at_once(&self, registry: &Registry) -> usize {
        let special = self.registries.get(registry).and_then(|of| of.requests_at_once);
        special.map_or(self.permits, |most| most.get().into()).max(1)
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            registries: HashMap::new(),
            credentials: Arc::new(Anonymous),
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            permits: limits::PERMITS,
            circuit: CircuitPolicy::default(),
        }
    }
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The certificates of a registry cannot be read.
    #[error("the CA certificates for {registry} cannot be used: {reason}")]
    Certificates {
        /// The registry.
        registry: Registry,
        /// What is wrong.
        reason: String,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Http(String),
}

/// Where a registry's API is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: Url,
}

impl Endpoint {
    pub(crate) fn new(registry: &Registry, plain_http: bool) -> Option<Self> {
        let scheme = if plain_http { "http" } else { "https" };
        let host = if registry.is_docker_hub() { DOCKER_HUB_API } else { registry.as_str() };
        Some(Self { base: format!("{scheme}://{host}/v2/").parse().ok()? })
    }

    /// The place that `url` itself is at: a token endpoint, which need not be the registry.
    pub(crate) fn of(url: &Url) -> Self {
        Self { base: url.clone() }
    }

    /// `/v2/<path>`. The path is made of parsed names alone, so it cannot climb.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    /// Whether a secret of this registry may go to `url`: same scheme, host and port.
    pub(crate) fn is_home_of(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }

    pub(crate) fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(registry: &str, plain_http: bool) -> String {
        let registry = registry.parse().unwrap();
        Endpoint::new(&registry, plain_http).unwrap().url("a/b/manifests/v1").to_string()
    }

    #[test]
    fn the_api_of_docker_hub_is_at_another_host() {
        assert_eq!(url("docker.io", false), "https://registry-1.docker.io/v2/a/b/manifests/v1");
        assert_eq!(
            url("index.docker.io", false),
            "https://registry-1.docker.io/v2/a/b/manifests/v1"
        );
    }

    #[test]
    fn ports_and_ipv6_stay() {
        assert_eq!(url("[::1]:5000", true), "http://[::1]:5000/v2/a/b/manifests/v1");
        assert_eq!(url("MYREG", false), "https://myreg/v2/a/b/manifests/v1");
    }

    #[test]
    fn home_is_scheme_host_and_port() {
        let endpoint = Endpoint::new(&"r.example".parse().unwrap(), false).unwrap();
        let is_home = |url: &str| endpoint.is_home_of(&url.parse().unwrap());
        assert!(is_home("https://r.example/x") && is_home("https://R.example:443/x"));
        assert!(!is_home("http://r.example/x"));
        assert!(!is_home("https://r.example:444/x"));
        assert!(!is_home("https://r.example.evil/x"));
    }
}
