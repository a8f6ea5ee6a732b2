//! Image references, parsed once into a canonical form that cannot hold nonsense.
//!
//! The grammar is that of `distribution/reference` (which the kubelet uses), with its defaults
//! made explicit: `nginx` is `docker.io/library/nginx:latest`. Two strings that name the same
//! image at the same host become equal values: Docker Hub has one name, host names are folded
//! to one case, IPv6 addresses to one spelling.

mod digest;
mod names;
mod registry;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use digest::{Algorithm, Digest};
pub(crate) use names::{MAX_REPOSITORY_LENGTH, MAX_TAG_LENGTH};
pub use names::{Repository, Tag};
pub use registry::{DOCKER_HUB, Registry};

/// The tag that a reference without tag and digest means.
const DEFAULT_TAG: &str = "latest";

/// Where Docker Hub keeps images whose name has one component.
const DOCKER_HUB_LIBRARY: &str = "library";

/// The longest text looked at as a reference: 255 for the repository, 128 for the tag, 135 for
/// a sha512 digest, 253 for a host name, and room for separators. Longer ones are not parsed.
const MAX_TEXT_LENGTH: usize = 1024;

/// A canonical image reference: always a registry and a repository, and a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageReference {
    registry: Registry,
    repository: Repository,
    version: Version,
}

/// What names the version of the image. A reference has at least one of tag and digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Version {
    Tag(Tag),
    Digest(Digest),
    Both(Tag, Digest),
}

impl ImageReference {
    /// Docker Hub has no repository of one component: `nginx` there is `library/nginx`.
    fn new(registry: Registry, repository: Repository, version: Version) -> Self {
        let repository = if registry.is_docker_hub() {
            repository.within(DOCKER_HUB_LIBRARY)
        } else {
            repository
        };
        Self { registry, repository, version }
    }

    /// A reference by tag.
    pub fn tagged(registry: Registry, repository: Repository, tag: Tag) -> Self {
        Self::new(registry, repository, Version::Tag(tag))
    }

    /// A reference by digest.
    pub fn digested(registry: Registry, repository: Repository, digest: Digest) -> Self {
        Self::new(registry, repository, Version::Digest(digest))
    }

    /// The same reference, pinned to `digest`; a tag is kept.
    #[must_use]
    pub fn pinned(self, digest: Digest) -> Self {
        let version = match self.version {
            Version::Tag(tag) | Version::Both(tag, _) => Version::Both(tag, digest),
            Version::Digest(_) => Version::Digest(digest),
        };
        Self { version, ..self }
    }

    /// The registry that holds the image.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag. None for a reference by digest alone.
    pub fn tag(&self) -> Option<&Tag> {
        match &self.version {
            Version::Tag(tag) | Version::Both(tag, _) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// The digest. Where it is there, it decides which image is meant; a tag is then a remark.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Digest(digest) | Version::Both(_, digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The same version of an image in another place.
    #[must_use]
    pub fn moved_to(&self, registry: Registry, repository: Repository) -> Self {
        Self::new(registry, repository, self.version.clone())
    }

    /// `registry/repository`, without tag and digest: what patterns and people compare.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest() {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_TEXT_LENGTH {
            return Err(ReferenceError::TooLong { length: text.len(), limit: MAX_TEXT_LENGTH });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (host, path) = split_host(rest);
        let (path, tag) = match path.rsplit_once(':') {
            // A colon left of the last slash would belong to a host, and the host is gone.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.parse::<Tag>()?)),
            _ => (path, None),
        };
        let registry = match host {
            Some(host) => host.parse()?,
            None => Registry::docker_hub(),
        };
        let repository = path.parse::<Repository>()?;
        let version = match (tag, digest) {
            (Some(tag), Some(digest)) => Version::Both(tag, digest),
            (None, Some(digest)) => Version::Digest(digest),
            (Some(tag), None) => Version::Tag(tag),
            (None, None) => Version::Tag(DEFAULT_TAG.parse()?),
        };
        Ok(Self::new(registry, repository, version))
    }
}

/// Splits off the host, if the first component is one. The rule is `distribution/reference`'s:
/// a dot, a colon, `localhost`, an upper-case letter, or the bracket of an IPv6 address.
fn split_host(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if registry::looks_like_host(first) => (Some(first), rest),
        _ => (None, text),
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

/// Why a text is no image reference. The text itself is the caller's to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the image reference is empty")]
    Empty,
    /// The text is longer than any legal reference.
    #[error("the text has {length} characters, an image reference has at most {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The host or its port is not legal.
    #[error(
        "'{0}' is not a registry: a registry is a host name, an IPv4 address or a bracketed IPv6 address, with an optional port"
    )]
    Registry(String),
    /// The repository is not legal.
    #[error(
        "'{0}' is not a repository: components of lower-case letters and digits, joined by '.', '_', '__' or hyphens, divided by '/', 255 characters at most"
    )]
    Repository(String),
    /// The tag is not legal.
    #[error(
        "'{0}' is not a tag: 1 to 128 letters, digits, '_', '.' and '-', the first a letter, a digit or '_'"
    )]
    Tag(String),
    /// The digest is not legal, or of an algorithm that cannot be verified here.
    #[error(
        "'{0}' is not a digest: 'sha256:' with 64 or 'sha512:' with 128 lower-case hexadecimal digits"
    )]
    Digest(String),
}
