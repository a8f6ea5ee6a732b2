//! Two scripted registries and a copier between them, impatient enough for tests.

#![allow(dead_code, clippy::unwrap_used, reason = "a test's helper; each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use copy::{Copier, CopyError, Job, Limits, Outcome, Referrers, Scope, Tracker, Verifier};
use protocol::{ImageReference, Registry, TargetRoot};
use registry::{Client, ClientConfig, DockerConfig, RegistryConfig, RetryPolicy, Timeouts};
use testkit::{Certificates, Image, ScriptedRegistry};

/// How long silence is borne in tests.
pub(crate) const IDLE: Duration = Duration::from_millis(750);

pub(crate) struct World {
    pub(crate) source: ScriptedRegistry,
    pub(crate) target: ScriptedRegistry,
    pub(crate) config: ClientConfig,
    pub(crate) limits: Limits,
    pub(crate) scope: Scope,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(ScriptedRegistry::start().await, ScriptedRegistry::start().await)
    }

    pub(crate) fn of(source: ScriptedRegistry, target: ScriptedRegistry) -> Self {
        let mut config = ClientConfig {
            timeouts: Timeouts { connect: Duration::from_secs(1), idle: IDLE, commit: IDLE },
            retry: RetryPolicy {
                attempts: 3,
                min_backoff: Duration::from_millis(1),
                max_backoff: Duration::from_millis(5),
                max_wait: Duration::from_secs(3),
            },
            ..ClientConfig::default()
        };
        for registry in [&source, &target] {
            let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
            config.registries.insert(registry.host().parse().unwrap(), plain);
        }
        Self { source, target, config, limits: Limits::default(), scope: Scope::default() }
    }

    /// Nobody is asked for signatures: for tests that count the other requests.
    pub(crate) fn without_referrers(mut self) -> Self {
        self.scope.referrers = Referrers::Nothing;
        self
    }

    /// Credentials as in a docker config, `user:password` for each registry.
    pub(crate) fn with_credentials(mut self, of: &[(&ScriptedRegistry, &str)]) -> Self {
        let auths: Vec<String> = of
            .iter()
            .map(|(registry, credential)| {
                let (user, password) = credential.split_once(':').unwrap();
                format!(r#""{}":{{"username":"{user}","password":"{password}"}}"#, registry.host())
            })
            .collect();
        let text = format!(r#"{{"auths":{{{}}}}}"#, auths.join(","));
        self.config.credentials = Arc::new(DockerConfig::parse(&text).unwrap());
        self
    }

    pub(crate) fn with_tls(mut self, certificates: &Certificates) -> Self {
        for of in self.config.registries.values_mut() {
            *of = RegistryConfig {
                plain_http: false,
                ca_pem: Some(certificates.ca_pem.clone().into_bytes()),
                ..RegistryConfig::default()
            };
        }
        self
    }

    pub(crate) fn copier(&self) -> Copier {
        let client = Client::new(self.config.clone()).unwrap();
        Copier::new(client, self.limits).with_scope(self.scope.clone())
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(Client::new(self.config.clone()).unwrap(), self.limits)
    }

    /// The job for an image of the source, as in `app:v1`.
    pub(crate) fn job(&self, image: &str) -> Job {
        self.job_for(self.source.reference(image))
    }

    pub(crate) fn job_for(&self, source: ImageReference) -> Job {
        let registry: Registry = self.target.host().parse().unwrap();
        let root = TargetRoot::new(registry, None, protocol::Naming::Nested);
        Job { replica: root.replica_of(&source).unwrap(), source }
    }

    /// The repository of `app`'s replica at the target.
    pub(crate) fn replica(&self, image: &str) -> String {
        self.job(image).replica.reference.repository().to_string()
    }

    pub(crate) async fn copy(&self, image: &str) -> Result<Outcome, CopyError> {
        self.copier().copy(&self.job(image), &Tracker::default()).await
    }

    /// Whether the target holds the whole image under the tag.
    pub(crate) fn replicated(&self, image: &Image, reference: &str) -> bool {
        let repository = self.replica(reference);
        let tag = reference.split_once(':').unwrap().1;
        self.target.holds(image, &repository)
            && self.target.manifest(&repository, tag) == Some(image.manifest.clone())
    }

    /// Waits until the target has no open upload: what was given up is so a little later.
    pub(crate) async fn no_upload_is_open(&self) {
        let begun = std::time::Instant::now();
        while self.target.open_uploads() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "uploads stay open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
