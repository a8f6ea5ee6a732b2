//! Where the replica of a source lives, and which source a replica has.
//!
//! `TARGET[/PREFIX]/<source host>/<repository>:<tag>`: one to one, and readable back. Where a
//! registry allows no nested paths, [`Naming::Flat`] makes host and repository one component:
//! `/` becomes an even run of hyphens, and a run of n hyphens becomes one of 2n-1, so that
//! the two never meet: `docker.io/library/my-app` is `docker.io--library--my-app`.
//!
//! A source by digest gets a *keeper* tag at the target, `digest-sha256-<hex>`, so that no
//! garbage collection takes it. It is not `sha256-<hex>`: that is where the distribution-spec's
//! referrers tag schema keeps an image's referrers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reference::{
    Digest, ImageReference, MAX_TAG_LENGTH, ReferenceError, Registry, Repository, Tag,
};

/// What every keeper tag begins with.
const KEEPER_PREFIX: &str = "digest-";

/// How host and repository of a source become a repository at the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// `docker.io/library/nginx`
    #[default]
    Nested,
    /// `docker.io--library--nginx`
    Flat,
}

/// The place under which all replicas live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRoot {
    registry: Registry,
    prefix: Option<Repository>,
    naming: Naming,
}

/// Where one source's replica lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// What a pod gets: with the tag, digest or both that the source had.
    pub reference: ImageReference,
    /// For a source by digest, the tag that keeps it from garbage collection.
    ///
    /// Where it is None the reference's tag follows the source. Where it is there the digest
    /// rules, and a tag beside it is set only if the target has none: another pod's reference
    /// by that tag alone may mean newer bytes.
    pub keeper: Option<Tag>,
}

/// A repository at the target that holds replicas of one source's repository. Only
/// [`TargetRoot::repository_of`] makes one, so whoever has it may be sure of that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaRepository {
    registry: Registry,
    repository: Repository,
}

impl ReplicaRepository {
    /// The registry that holds it.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its name there.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

impl std::fmt::Display for ReplicaRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

impl TargetRoot {
    /// A root at `registry`, under `prefix` if one is given.
    pub fn new(registry: Registry, prefix: Option<Repository>, naming: Naming) -> Self {
        Self { registry, prefix, naming }
    }

    /// The same root with another naming.
    #[must_use]
    pub fn with_naming(self, naming: Naming) -> Self {
        Self { naming, ..self }
    }

    /// The registry that holds the replicas.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether an image lives under this root, whoever put it there: whole path segments.
    pub fn contains(&self, image: &ImageReference) -> bool {
        *image.registry() == self.registry && self.below_prefix(image.repository()).is_some()
    }

    /// Where the replica of `source` lives.
    pub fn replica_of(&self, source: &ImageReference) -> Result<Replica, NamingError> {
        let host = source.registry().path_component();
        let name = match self.naming {
            Naming::Nested => format!("{host}/{}", source.repository()),
            Naming::Flat => flatten(&format!("{host}/{}", source.repository())),
        };
        let path = match &self.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name,
        };
        let repository: Repository =
            path.parse().map_err(|_| NamingError::TooLong { image: source.to_string(), path })?;
        if let (Some(tag), None) = (source.tag(), source.digest())
            && is_keeper(tag)
        {
            return Err(NamingError::ReservedTag { image: source.to_string() });
        }
        let keeper = source.digest().map(keeper_tag).transpose()?;
        Ok(Replica { reference: source.moved_to(self.registry.clone(), repository), keeper })
    }

    /// The source whose replica `target` is; None where it is none of ours.
    pub fn source_of(&self, target: &ImageReference) -> Option<ImageReference> {
        if *target.registry() != self.registry {
            return None;
        }
        let name = self.below_prefix(target.repository())?;
        let name = match self.naming {
            Naming::Nested => name.to_owned(),
            Naming::Flat => unflatten(name)?,
        };
        let (host, repository) = name.split_once('/')?;
        let registry = Registry::from_path_component(host).ok()?;
        let repository: Repository = repository.parse().ok()?;
        let source = match (target.tag(), target.digest()) {
            (Some(tag), None) if is_keeper(tag) => {
                let digest = tag.as_str().strip_prefix(KEEPER_PREFIX)?;
                let digest = Digest::from_dashed(digest).ok()?;
                ImageReference::digested(registry, repository, digest)
            }
            _ => target.moved_to(registry, repository),
        };
        // `docker.io/nginx` at the target is nobody's replica: Docker Hub has no such name.
        (self.replica_of(&source).ok()?.reference.name() == target.name()).then_some(source)
    }

    /// The repository of a replica; None where `target` cannot be one of ours.
    pub fn repository_of(&self, target: &ImageReference) -> Option<ReplicaRepository> {
        self.source_of(target)?;
        let (registry, repository) = (target.registry().clone(), target.repository().clone());
        Some(ReplicaRepository { registry, repository })
    }

    fn below_prefix<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        match &self.prefix {
            Some(prefix) => repository.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/'),
            None => Some(repository.as_str()),
        }
    }
}

/// `registry[/prefix]`, as people write it in settings; the naming is [`Naming::Nested`].
impl FromStr for TargetRoot {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, prefix) = match text.split_once('/') {
            Some((registry, prefix)) => (registry, Some(prefix.parse()?)),
            None => (text, None),
        };
        Ok(Self::new(registry.parse()?, prefix, Naming::Nested))
    }
}

impl std::fmt::Display for TargetRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.prefix {
            Some(prefix) => write!(f, "{}/{prefix}", self.registry),
            None => write!(f, "{}", self.registry),
        }
    }
}

/// The keeper of a digest; a sha512's is cut to a tag's length, as the referrers tag schema does.
fn keeper_tag(digest: &Digest) -> Result<Tag, ReferenceError> {
    let mut tag = format!("{KEEPER_PREFIX}{}", digest.dashed());
    tag.truncate(MAX_TAG_LENGTH);
    tag.parse()
}

/// Whether a tag has the form of a keeper, cut or whole.
fn is_keeper(tag: &Tag) -> bool {
    let Some(digest) = tag.as_str().strip_prefix(KEEPER_PREFIX) else { return false };
    let cut_sha512 = tag.as_str().len() == MAX_TAG_LENGTH
        && digest
            .strip_prefix("sha512-")
            .is_some_and(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    cut_sha512 || Digest::from_dashed(digest).is_ok()
}

fn flatten(name: &str) -> String {
    let mut flat = String::with_capacity(name.len() + 16);
    let mut rest = name;
    while let Some(at) = rest.find(['/', '-']) {
        flat.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(tail) = tail.strip_prefix('/') {
            flat.push_str("--");
            rest = tail;
        } else {
            let end = tail.find(|c| c != '-').unwrap_or(tail.len());
            flat.push_str(&"-".repeat(2 * end - 1));
            rest = &tail[end..];
        }
    }
    flat + rest
}

fn unflatten(flat: &str) -> Option<String> {
    let mut name = String::with_capacity(flat.len());
    let mut rest = flat;
    while let Some(at) = rest.find(['/', '-']) {
        name.push_str(&rest[..at]);
        let tail = &rest[at..];
        let run = tail.find(|c| c != '-').unwrap_or(tail.len());
        match run {
            2 => name.push('/'),
            run if run % 2 == 1 => name.push_str(&"-".repeat(run.div_ceil(2))),
            // A slash, or an even run that no slash makes: not written by `flatten`.
            _ => return None,
        }
        rest = &tail[run..];
    }
    Some(name + rest)
}

/// Why a source has no place at the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamingError {
    /// The replica's repository is longer than registries take.
    #[error(
        "image {image} has no place at the target: '{path}' is longer than the 255 characters of a repository; shorten the target's prefix"
    )]
    TooLong {
        /// The source.
        image: String,
        /// The repository it would have had.
        path: String,
    },
    /// The source's tag has the form that keeps sources by digest.
    #[error(
        "image {image} has no place at the target: tags of the form digest-<algorithm>-<hex> are reserved for replicas of images by digest; ask for it by digest"
    )]
    ReservedTag {
        /// The source.
        image: String,
    },
    /// A part is not legal.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

#[cfg(test)]
mod tests;
