//! Tenants: the namespaces whose own pull secrets are their credentials, and what is known of
//! these. Pure; [`crate::kube`] finds it out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::{ImageReference, Namespace, Registry, Repository};
use registry::{Credential, Credentials, DockerConfig, HelperError};
use tokio::sync::watch;

use crate::credentials::Who;
use crate::ledger::grant::{Identity, Version};
use crate::watch::Held;

/// Namespaces that may be listed: each is a connection to the API server that stays open.
const MAX_NAMESPACES: usize = 256;

/// The pull secrets of the namespaces that are listed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenants(Arc<BTreeMap<Namespace, Held<PullSecrets>>>);

/// Where to send what was found out of each namespace.
pub(crate) type Feeds = BTreeMap<Namespace, watch::Sender<Arc<PullSecrets>>>;

/// All pull secrets that a namespace had at one time, as one docker config.
#[derive(Default)]
pub(crate) struct PullSecrets {
    config: DockerConfig,
    /// None until they were read for the first time.
    version: Option<Version>,
}

impl Tenants {
    /// These namespaces, none of which was read yet.
    pub(crate) fn new(namespaces: Vec<Namespace>) -> Result<(Self, Feeds), TenantsError> {
        if namespaces.len() > MAX_NAMESPACES {
            return Err(TenantsError::TooMany(namespaces.len()));
        }
        let (mut tenants, mut feeds) = (BTreeMap::new(), Feeds::new());
        for namespace in namespaces {
            let (feed, held) = Held::channel(PullSecrets::default());
            if tenants.insert(namespace.clone(), held).is_some() {
                return Err(TenantsError::Twice(namespace));
            }
            feeds.insert(namespace, feed);
        }
        Ok((Self(Arc::new(tenants)), feeds))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `namespace` is listed.
    pub(crate) fn have(&self, namespace: &Namespace) -> bool {
        self.0.contains_key(namespace)
    }

    /// Who `namespace` is to the source of `image`. One that is not listed is nobody.
    pub(crate) fn who(&self, image: &ImageReference, namespace: &Namespace) -> Who {
        let secrets = self.0.get(namespace).map(Held::current);
        match secrets.filter(|secrets| secrets.may_know(image)) {
            Some(secrets) => Who::Namespace(namespace.clone(), secrets),
            None => Who::Nobody,
        }
    }

    /// All who have credentials for the source of `image`, or may have.
    pub(crate) fn readers(&self, image: &ImageReference) -> impl Iterator<Item = Identity> {
        let secrets = self.0.iter().map(|(namespace, held)| (namespace, held.current()));
        let readers = secrets.filter(|(_, secrets)| secrets.may_know(image));
        readers
            .map(|(namespace, secrets)| Identity::Namespace(namespace.clone(), secrets.version()))
    }

    /// Ends when all were read once.
    pub(crate) async fn are_read(&self) {
        for held in self.0.values() {
            let mut held = held.clone();
            while !held.latest().are_read() {
                held.changed().await;
            }
        }
    }
}

impl PullSecrets {
    /// Those of a namespace, as they were in this version.
    pub(crate) fn new(config: DockerConfig, version: Version) -> Self {
        Self { config, version: Some(version) }
    }

    /// Whether they were read.
    pub(crate) fn are_read(&self) -> bool {
        self.version.is_some()
    }

    /// The version. Before they were read no right is kept under it.
    pub(crate) fn version(&self) -> Version {
        self.version.unwrap_or(Version::of([0; 16]))
    }

    /// Whether they have an entry for the repository of `image`, or may have one.
    fn may_know(&self, image: &ImageReference) -> bool {
        !self.are_read() || self.config.knows(image.registry(), image.repository())
    }
}

impl Credentials for PullSecrets {
    fn find<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>> {
        self.config.find(registry, repository)
    }
}

impl fmt::Debug for PullSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PullSecrets({})", self.version())
    }
}

/// Why namespaces cannot be listed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantsError {
    /// More than are watched.
    #[error("there are {0}, at most {MAX_NAMESPACES} are watched")]
    TooMany(usize),
    /// One of them twice.
    #[error("'{0}' stands there twice")]
    Twice(Namespace),
    /// None of their Secrets would be used.
    #[error("no rule has `namespace_secrets: true`, so their Secrets would be read for nothing")]
    Unused,
}
