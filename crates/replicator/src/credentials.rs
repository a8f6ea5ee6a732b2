//! Credentials: the docker configs that rules and the target choose from by name, and who a
//! namespace is at a source, by one of them or by its own pull secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use protocol::{ImageReference, Namespace, Registry, Repository};
use registry::{Anonymous, Credential, Credentials, DockerConfig, HelperError};

use crate::clock::Timestamp;
use crate::label::Label;
use crate::ledger::grant::Identity;
use crate::tenants::{PullSecrets, Tenants};
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

/// With whose credentials the sources of a rule are read.
#[derive(Clone, Debug, Default)]
pub(crate) enum Reader {
    /// Without any.
    #[default]
    Nobody,
    /// With those that the configuration has under a name.
    Named(Arc<NamedCredentials>),
    /// With those that the namespace has itself, in its pull secrets.
    Namespace(Tenants),
}

impl Reader {
    /// Who reads `image` for `namespace`: credentials without an entry for it say nothing.
    pub(crate) fn who(&self, image: &ImageReference, namespace: &Namespace) -> Who {
        match self {
            Self::Named(credentials) if credentials.know(image) => {
                Who::Named(Arc::clone(credentials))
            }
            Self::Namespace(tenants) => tenants.who(image, namespace),
            Self::Nobody | Self::Named(_) => Who::Nobody,
        }
    }

    /// Whether somebody else than `identity` reads `image` with credentials.
    pub(crate) fn is_others(&self, image: &ImageReference, identity: &Identity) -> bool {
        let is_other = |other: Identity| other != *identity;
        match self {
            Self::Nobody => false,
            Self::Named(credentials) => {
                credentials.know(image) && is_other(Identity::Named(credentials.name.clone()))
            }
            Self::Namespace(tenants) => tenants.readers(image).any(is_other),
        }
    }
}

/// Who somebody is at a source: nobody in particular, or who credentials say.
#[derive(Clone, Debug, Default)]
pub(crate) enum Who {
    /// Without credentials.
    #[default]
    Nobody,
    /// Who the credentials of that name say, now and later.
    Named(Arc<NamedCredentials>),
    /// Who the pull secrets of a namespace say, as they were when they were looked at.
    Namespace(Namespace, Arc<PullSecrets>),
}

impl Who {
    /// The name under which their rights are kept.
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Self::Nobody => Identity::Anonymous,
            Self::Named(credentials) => Identity::Named(credentials.name.clone()),
            Self::Namespace(namespace, secrets) => {
                Identity::Namespace(namespace.clone(), secrets.version())
            }
        }
    }

    /// Whether it is not known yet who they are: the pull secrets of their namespace could not be
    /// read up to now.
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Namespace(_, secrets) if !secrets.are_read())
    }

    /// Since when they are not who they were at the start; None where they still are. Pull secrets
    /// that change are somebody else's.
    pub(crate) fn changed_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Named(credentials) => credentials.changed_at(now),
            Self::Nobody | Self::Namespace(..) => None,
        }
    }

    /// Who they are to the registry client.
    pub(crate) fn port(&self) -> Arc<dyn Credentials> {
        match self {
            Self::Nobody => Arc::new(Anonymous),
            Self::Named(credentials) => Arc::clone(credentials) as _,
            Self::Namespace(_, secrets) => Arc::clone(secrets) as _,
        }
    }
}

/// The port of those that are chosen; nobody's where none are.
pub(crate) fn or_nobody(chosen: Option<Arc<NamedCredentials>>) -> Arc<dyn Credentials> {
    match chosen {
        Some(chosen) => chosen,
        None => Arc::new(Anonymous),
    }
}
