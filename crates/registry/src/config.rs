//! What the client is told at its start: registries, credentials, timeouts; and where the API
//! of a registry is.

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use protocol::Registry;
use url::Url;

use crate::credentials::{Anonymous, Credentials};
use crate::guard::Reach;
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
    /// Other hosts that belong to it: they may be on this machine or in a private network, as
    /// the registry itself may, and get its credentials where it has its tokens from them.
    pub trusted_hosts: Vec<Registry>,
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
    /// By exact registry. One that is named here may be on this machine or in a private network;
    /// any other has to be in the internet.
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

/// Where a registry's API is, and which hosts are the registry's own.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: Url,
    host: String,
    /// Whether the configuration names the registry.
    is_named: bool,
    trusted_hosts: Vec<Registry>,
}

impl Endpoint {
    pub(crate) fn new(registry: &Registry, config: Option<&RegistryConfig>) -> Option<Self> {
        let plain_http = config.is_some_and(|of| of.plain_http);
        let scheme = if plain_http { "http" } else { "https" };
        let host = if registry.is_docker_hub() { DOCKER_HUB_API } else { registry.as_str() };
        let base: Url = format!("{scheme}://{host}/v2/").parse().ok()?;
        let host = base.host_str()?.to_owned();
        let trusted_hosts = config.map(|of| of.trusted_hosts.clone()).unwrap_or_default();
        Some(Self { base, host, is_named: config.is_some(), trusted_hosts })
    }

    /// The same registry's, where a secret goes to another place: a token endpoint's.
    pub(crate) fn at(&self, url: &Url) -> Self {
        Self { base: url.clone(), ..self.clone() }
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

    /// The registry's own host, without port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether `url` leads to the registry's own host, on whatever port, or to one that the
    /// configuration says belongs to it.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        let is_at = |host: &Registry| {
            url.host_str() == Some(host.host())
                && host
                    .port()
                    .map_or(url.port().is_none(), |port| url.port_or_known_default() == Some(port))
        };
        url.host_str() == Some(self.host()) || self.trusted_hosts.iter().any(is_at)
    }

    /// How far a request to `url` may lead. What the configuration names may be anywhere; a
    /// neighbour of ours may have others; all else is in the internet.
    pub(crate) fn reach(&self, url: &Url, named_by_neighbour: bool) -> Reach {
        match (self.is_named && self.owns(url), named_by_neighbour) {
            (true, _) => Reach::Local,
            (false, true) => Reach::Private,
            (false, false) => Reach::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(registry: &str, plain_http: bool) -> String {
        let registry = registry.parse().unwrap();
        let config = RegistryConfig { plain_http, ..RegistryConfig::default() };
        Endpoint::new(&registry, Some(&config)).unwrap().url("a/b/manifests/v1").to_string()
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
        let endpoint = Endpoint::new(&"r.example".parse().unwrap(), None).unwrap();
        let is_home = |url: &str| endpoint.is_home_of(&url.parse().unwrap());
        assert!(is_home("https://r.example/x") && is_home("https://R.example:443/x"));
        assert!(!is_home("http://r.example/x"));
        assert!(!is_home("https://r.example:444/x"));
        assert!(!is_home("https://r.example.evil/x"));
    }

    #[test]
    fn only_what_the_configuration_names_may_be_anywhere() {
        let registry = "r.example:5000".parse().unwrap();
        let trusted_hosts = ["auth.example", "cdn.example:8443"].map(|host| host.parse().unwrap());
        let config =
            RegistryConfig { trusted_hosts: trusted_hosts.into(), ..RegistryConfig::default() };
        let named = Endpoint::new(&registry, Some(&config)).unwrap();
        let unnamed = Endpoint::new(&registry, None).unwrap();
        for (url, reach) in [
            ("https://r.example:5000/x", Reach::Local),
            ("https://r.example/token", Reach::Local),
            ("https://auth.example/token", Reach::Local),
            ("https://auth.example:443/token", Reach::Local),
            ("https://cdn.example:8443/x", Reach::Local),
            ("https://auth.example:8443/token", Reach::Public),
            ("https://cdn.example/x", Reach::Public),
            ("https://a.r.example/x", Reach::Public),
            ("https://r.example.evil/x", Reach::Public),
        ] {
            let url = url.parse().unwrap();
            assert_eq!(named.reach(&url, false), reach, "{url}");
            assert_eq!(named.reach(&url, true), reach.max(Reach::Private), "{url}");
            assert_eq!(unnamed.reach(&url, false), Reach::Public, "{url}");
        }
    }
}
