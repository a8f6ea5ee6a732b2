//! Credentials by name: the docker configs that rules and the target choose from, and who a
//! namespace is by them at a source.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use protocol::{ImageReference, Registry, Repository};
use registry::{Anonymous, Credential, Credentials, DockerConfig, HelperError};

use crate::clock::Timestamp;
use crate::label::Label;
use crate::ledger::grant::Identity;
use crate::watch::Held;

/// All of them.
pub(crate) type Keyring = BTreeMap<Label, Arc<NamedCredentials>>;

/// A docker config under the name that the configuration gives it. There may be another one
/// later, by the same name.
pub(crate) struct NamedCredentials {
    name: Label,
    config: Held<DockerConfig>,
    /// The one that was last looked at, and since when it is not the first one.
    seen: Mutex<(Arc<DockerConfig>, Option<Timestamp>)>,
}

impl NamedCredentials {
    /// What `config` holds, now and later, under `name`.
    pub(crate) fn new(name: Label, config: Held<DockerConfig>) -> Self {
        let seen = Mutex::new((config.current(), None));
        Self { name, config, seen }
    }

    /// The name: what is told of them.
    pub(crate) fn name(&self) -> &Label {
        &self.name
    }

    /// What holds at present.
    pub(crate) fn config(&self) -> Arc<DockerConfig> {
        self.config.current()
    }

    /// Whether they have something to say of the repository of `image`: else it is asked for
    /// without any.
    pub(crate) fn know(&self, image: &ImageReference) -> bool {
        self.config.current().knows(image.registry(), image.repository())
    }

    /// Since when they are others than at the start; None where they are not. What they were shown
    /// before that says nothing of what they may now.
    fn changed_at(&self, now: Timestamp) -> Option<Timestamp> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.config.current();
        if !Arc::ptr_eq(&seen.0, &current) {
            *seen = (current, Some(now));
        }
        seen.1
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

/// Who somebody is at a source: nobody in particular, or who credentials say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who(Option<Arc<NamedCredentials>>);

impl Who {
    /// Who reads `image` with `credentials`: those without an entry for it say nothing.
    pub(crate) fn reads(
        image: &ImageReference,
        credentials: Option<&Arc<NamedCredentials>>,
    ) -> Self {
        Self(credentials.filter(|credentials| credentials.know(image)).cloned())
    }

    /// The name under which their rights are kept.
    pub(crate) fn identity(&self) -> Identity {
        let name = self.0.as_ref().map(|credentials| credentials.name.clone());
        name.map_or(Identity::Anonymous, Identity::Named)
    }

    /// Since when they are not who they were at the start; None where they still are.
    pub(crate) fn changed_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.as_ref()?.changed_at(now)
    }

    /// Who they are to the registry client.
    pub(crate) fn port(&self) -> Arc<dyn Credentials> {
        or_nobody(self.0.clone())
    }
}

/// The port of those that are chosen; nobody's where none are.
pub(crate) fn or_nobody(chosen: Option<Arc<NamedCredentials>>) -> Arc<dyn Credentials> {
    match chosen {
        Some(chosen) => chosen,
        None => Arc::new(Anonymous),
    }
}
