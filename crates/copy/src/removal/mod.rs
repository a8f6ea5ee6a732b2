//! Removes replicas from a repository at the target, and what belongs to them alone: by digest,
//! and only after the whole repository was looked at. Blobs are left to the registry's own garbage
//! collection.
//!
//! - `decision`: what may go, from what the repository holds; pure.

mod decision;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use futures::{FutureExt, StreamExt, stream};
use protocol::{Digest, ReplicaRepository, Tag};
use registry::{Client, ErrorKind, ManifestRef, Operation};

use crate::limits::{Limits, MANIFESTS_OF_A_REPOSITORY};
use crate::manifest;
use decision::Holdings;

/// Removes replicas. Cheap to clone.
#[derive(Clone)]
pub struct Remover {
    client: Client,
    limits: Limits,
}

/// What is wanted no more in a repository, and what of it is in use.
#[derive(Clone, Debug, Default)]
pub struct Unwanted {
    /// Manifests, each with the tags that are known to name it. One that has another tag stays.
    pub roots: BTreeMap<Digest, BTreeSet<Tag>>,
    /// What runs by its digest, whether anything else is known of it or not.
    pub in_use: BTreeSet<Digest>,
}

/// What may go, and what may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Manifests to be deleted, in this order: roots first, then what nothing else names.
    pub delete: Vec<Digest>,
    /// Of the roots, those that stay.
    pub held_back: BTreeMap<Digest, HeldBack>,
}

/// Why a manifest that is not wanted stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// It has a tag that nobody accounts for.
    Tagged(Tag),
    /// It, or a part of it, runs by this digest.
    Runs(Digest),
    /// It is a part of something that stays.
    PartOfOther,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tagged(tag) => {
                write!(f, "the tag {tag}, which the ledger does not know, names it")
            }
            Self::Runs(digest) => write!(f, "a pod runs {digest}, which is a part of it"),
            Self::PartOfOther => f.write_str("it is a part of another image that stays"),
        }
    }
}

impl Remover {
    /// A remover by this client, which reads no more of an image than the limits allow a copy.
    pub fn new(client: Client, limits: Limits) -> Self {
        Self { client, limits }
    }

    /// Looks at all that a repository holds, and tells what may go. Changes nothing. An error
    /// where a part could not be looked at: then nothing may go.
    pub async fn survey(
        &self,
        at: &ReplicaRepository,
        unwanted: &Unwanted,
    ) -> Result<Survey, RemovalError> {
        let mut look = Look { remover: self, at, holdings: Holdings::default(), known: 0 };
        let tags = self.client.tags(at.registry(), at.repository()).await;
        look.resolve(tags.map_err(|error| RemovalError::registry(at, error))?).await?;
        let by_digest = unwanted.roots.keys().chain(&unwanted.in_use).cloned().collect();
        look.read_down(by_digest).await?;
        look.find_referrers(unwanted).await?;
        Ok(decision::decide(&look.holdings, unwanted))
    }

    /// Deletes one manifest of a survey, and all tags that name it. False where it was gone.
    pub async fn delete(
        &self,
        at: &ReplicaRepository,
        digest: &Digest,
    ) -> Result<bool, RemovalError> {
        let deleted = self.client.delete_manifest(at.registry(), at.repository(), digest).await;
        deleted.map_err(|error| RemovalError::registry(at, error))
    }
}

/// A look at a repository, as far as it came.
struct Look<'a> {
    remover: &'a Remover,
    at: &'a ReplicaRepository,
    holdings: Holdings,
    /// Manifests that were looked at.
    known: usize,
}

impl Look<'_> {
    /// What the tags name, and what is below that.
    async fn resolve(&mut self, tags: Vec<Tag>) -> Result<(), RemovalError> {
        self.count(tags.len())?;
        let (client, at) = (&self.remover.client, self.at);
        let heads = tags.into_iter().map(|tag| {
            async move {
                let by_tag = ManifestRef::Tag(tag.clone());
                let found = client.head_manifest(at.registry(), at.repository(), &by_tag).await;
                (tag, found)
            }
            .boxed()
        });
        let heads: Vec<_> = heads.collect();
        let mut heads = stream::iter(heads).buffer_unordered(self.remover.limits.manifests_at_once);
        let mut indexes = HashSet::new();
        while let Some((tag, found)) = heads.next().await {
            // One that is gone since the list was read names nothing any more.
            let Some(found) = found.map_err(|error| RemovalError::registry(at, error))? else {
                continue;
            };
            if !found.media_type.is_image() {
                indexes.insert(found.digest.clone());
            }
            self.holdings.tags.insert(tag, found.digest);
        }
        drop(heads);
        self.read_down(indexes).await
    }

    /// Reads manifests, and all that they name. What is not there names nothing.
    async fn read_down(&mut self, mut level: HashSet<Digest>) -> Result<(), RemovalError> {
        for _ in 0..=self.remover.limits.depth {
            level.retain(|digest| !self.holdings.children.contains_key(digest));
            if level.is_empty() {
                return Ok(());
            }
            self.count(level.len())?;
            let (client, at) = (&self.remover.client, self.at);
            let reads = level.into_iter().map(|digest| {
                async move {
                    let by_digest = ManifestRef::Digest(digest.clone());
                    let read = client.manifest(at.registry(), at.repository(), &by_digest).await;
                    (digest, read)
                }
                .boxed()
            });
            let reads: Vec<_> = reads.collect();
            let at_once = self.remover.limits.manifests_at_once;
            let mut reads = stream::iter(reads).buffer_unordered(at_once);
            level = HashSet::new();
            while let Some((digest, read)) = reads.next().await {
                let (descriptor, bytes) = match read {
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        self.holdings.children.insert(digest, Vec::new());
                        continue;
                    }
                    Err(error) => return Err(RemovalError::registry(at, error)),
                };
                let mut children = Vec::new();
                if descriptor.media_type.is_index() {
                    let named = manifest::read(&descriptor.media_type, &bytes)
                        .map_err(|flaw| RemovalError::found(at, &digest, &flaw.message))?;
                    for child in named.manifests.into_iter().map(|child| child.descriptor) {
                        if !child.media_type.is_image() {
                            level.insert(child.digest.clone());
                        }
                        children.push(child.digest);
                    }
                }
                self.holdings.children.insert(digest, children);
            }
        }
        let message = format!("indexes are nested deeper than {}", self.remover.limits.depth);
        Err(RemovalError { at: self.at.clone(), cause: Cause::Found(message) })
    }

    /// What refers to the roots, to what is below them, and to that again.
    async fn find_referrers(&mut self, unwanted: &Unwanted) -> Result<(), RemovalError> {
        let mut subjects = self.holdings.reach(unwanted.roots.keys().cloned());
        for _ in 0..self.remover.limits.referrer_depth {
            self.count(subjects.len())?;
            let mut found = HashSet::new();
            for subject in subjects {
                let (registry, repository) = (self.at.registry(), self.at.repository());
                let limit = self.remover.limits.referrers;
                let listed =
                    self.remover.client.referrers(registry, repository, &subject, limit).await;
                let listed = listed.map_err(|error| RemovalError::registry(self.at, error))?;
                // Without the API the lists are indexes under tags, which were read.
                let Some(listed) = listed else { return Ok(()) };
                let listed: Vec<_> =
                    listed.into_iter().map(|referrer| referrer.descriptor.digest).collect();
                found.extend(listed.iter().cloned());
                self.holdings.referrers.insert(subject, listed);
            }
            self.read_down(found.clone()).await?;
            subjects = self.holdings.reach(found);
            subjects.retain(|subject| !self.holdings.referrers.contains_key(subject));
        }
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), RemovalError> {
        self.known += more;
        if self.known <= MANIFESTS_OF_A_REPOSITORY {
            return Ok(());
        }
        let message = format!("it holds more than {MANIFESTS_OF_A_REPOSITORY} manifests");
        Err(RemovalError { at: self.at.clone(), cause: Cause::Found(message) })
    }
}

/// Why nothing, or nothing more, could be removed from a repository.
#[derive(Clone, Debug, thiserror::Error)]
pub struct RemovalError {
    at: ReplicaRepository,
    cause: Cause,
}

#[derive(Clone, Debug)]
enum Cause {
    Registry(registry::Error),
    Found(String),
}

impl RemovalError {
    fn registry(at: &ReplicaRepository, error: registry::Error) -> Self {
        Self { at: at.clone(), cause: Cause::Registry(error) }
    }

    fn found(at: &ReplicaRepository, digest: &Digest, message: &str) -> Self {
        Self { at: at.clone(), cause: Cause::Found(format!("{digest} cannot be read: {message}")) }
    }

    /// Whether the target lets nothing be deleted, so that trying on helps nobody.
    pub fn is_refusal(&self) -> bool {
        let Cause::Registry(error) = &self.cause else { return false };
        error.operation() == Operation::DeleteManifest
            && matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::Denied | ErrorKind::Unauthorized
            )
    }
}

/// `target registry.corp does not delete manifests of mirror/…: …`
impl fmt::Display for RemovalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (registry, repository) = (self.at.registry(), self.at.repository());
        match &self.cause {
            Cause::Found(message) => write!(f, "target {registry}: in {repository} {message}"),
            Cause::Registry(error) if self.is_refusal() => {
                let advice = match error.kind() {
                    ErrorKind::Unsupported => {
                        "deleting is switched off there; with distribution it is \
                         REGISTRY_STORAGE_DELETE_ENABLED=true that allows it"
                    }
                    _ => "target.credentials need the right to delete there",
                };
                write!(
                    f,
                    "target {registry} lets nothing be deleted in {repository}: {advice}; {error}"
                )
            }
            Cause::Registry(error) => write!(f, "target {registry}: in {repository}: {error}"),
        }
    }
}
