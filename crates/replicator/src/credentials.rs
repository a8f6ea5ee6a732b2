//! Credentials by name: the docker configs that rules and the target choose from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::{ImageReference, Registry, Repository};
use registry::{Anonymous, Credential, Credentials, DockerConfig, HelperError};

use crate::label::Label;

/// The port of those that are chosen; nobody's where none are.
pub(crate) fn or_nobody(chosen: Option<Arc<NamedCredentials>>) -> Arc<dyn Credentials> {
    match chosen {
        Some(chosen) => chosen,
        None => Arc::new(Anonymous),
    }
}

/// All of them.
pub(crate) type Keyring = BTreeMap<Label, Arc<NamedCredentials>>;

/// A docker config under the name that the configuration gives it.
pub(crate) struct NamedCredentials {
    name: Label,
    config: DockerConfig,
}

impl NamedCredentials {
    /// `config` under `name`.
    pub(crate) fn new(name: Label, config: DockerConfig) -> Self {
        Self { name, config }
    }

    /// The name: what is told of them.
    pub(crate) fn name(&self) -> &Label {
        &self.name
    }

    /// Whether they have something to say of the repository of `image`: else it is asked for
    /// without any.
    pub(crate) fn know(&self, image: &ImageReference) -> bool {
        self.config.knows(image.registry(), image.repository())
    }
}

impl Credentials for NamedCredentials {
    fn find<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, HelperError>> {
        self.config.find(registry, repository)
    }

    fn refused(&self, registry: &Registry, credential: &Credential) {
        self.config.refused(registry, credential);
    }
}

impl fmt::Debug for NamedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedCredentials({})", self.name)
    }
}
