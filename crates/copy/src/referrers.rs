//! What refers to an image: signatures, attestations, SBOMs. Found at the source, by its
//! referrers API or the index that stands in for it, and by cosign's tags.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference, Tag};
use registry::{Client, ErrorKind, ManifestRef};

use crate::error::CopyError;
use crate::graph::Graph;
use crate::kinds::ReferrerKind;
use crate::limits::Limits;
use crate::scope::{Referrers, Scope};

/// What cosign adds to a digest to name the tag of a signature, attestation or SBOM.
const COSIGN_SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// Something that refers to the image, whole.
pub(crate) struct Referrer {
    pub(crate) graph: Graph,
    /// The tag that it is found by, where it is by one.
    pub(crate) tag: Option<Tag>,
    /// What the list of referrers says that it is.
    artifact_type: Option<String>,
}

impl Referrer {
    /// What it is for.
    pub(crate) fn kind(&self) -> ReferrerKind {
        match (&self.tag, &self.artifact_type) {
            (Some(tag), _) => ReferrerKind::of_tag(tag),
            (None, Some(artifact_type)) => ReferrerKind::of_type(artifact_type),
            (None, None) => ReferrerKind::Other,
        }
    }
}

/// What a manifest was found to be referred by, before that is read.
struct Found {
    digest: Digest,
    tag: Option<Tag>,
    artifact_type: Option<String>,
}

/// The search for what refers to an image.
pub(crate) struct Search<'a> {
    client: &'a Client,
    source: &'a ImageReference,
    scope: Scope,
    limits: &'a Limits,
    /// Until the source says otherwise.
    has_api: AtomicBool,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        client: &'a Client,
        source: &'a ImageReference,
        scope: &Scope,
        limits: &'a Limits,
    ) -> Self {
        let scope = scope.of_referrers();
        Self { client, source, scope, limits, has_api: AtomicBool::new(true) }
    }

    /// All that refers to a manifest of the image; after it, what refers to that, and so on. One
    /// that the source lists and does not have any more is left out: nobody could read it there
    /// either.
    pub(crate) async fn run(&self, image: &Graph) -> Result<Vec<Vec<Referrer>>, CopyError> {
        if self.scope.referrers == Referrers::Nothing {
            return Ok(Vec::new());
        }
        let mut known: HashSet<Digest> = HashSet::new();
        // The root first: it is asked for alone, to learn whether there is an API.
        let digests = image.manifests.iter().rev().map(|one| one.descriptor.digest.clone());
        let mut subjects: Vec<Digest> = digests.collect();
        known.extend(subjects.iter().cloned());
        let mut levels = Vec::new();
        let mut size = Size::default();
        for _ in 0..self.limits.referrer_depth {
            let mut found = self.of_all(&subjects).await?;
            found.retain(|found| known.insert(found.digest.clone()) || found.tag.is_some());
            size.number += found.len();
            self.check(&size)?;
            let read: Vec<_> = found.into_iter().map(|found| self.read(found).boxed()).collect();
            let mut read = stream::iter(read).buffer_unordered(self.limits.manifests_at_once);
            let mut level = Vec::new();
            while let Some(read) = read.try_next().await? {
                let Some(referrer) = read else { continue };
                size.add(&referrer.graph);
                self.check(&size)?;
                level.push(referrer);
            }
            if level.is_empty() {
                break;
            }
            let root = |referrer: &Referrer| referrer.graph.root().descriptor.digest.clone();
            subjects = level.iter().map(root).collect();
            levels.push(level);
        }
        Ok(levels)
    }

    /// What refers to any of the subjects, not read yet.
    async fn of_all(&self, subjects: &[Digest]) -> Result<Vec<Found>, CopyError> {
        let Some((first, rest)) = subjects.split_first() else { return Ok(Vec::new()) };
        let at_once = self.limits.manifests_at_once;
        let listed = async {
            let mut found = self.listed(first).await?;
            let rest: Vec<_> = rest.iter().map(|subject| self.listed(subject).boxed()).collect();
            let rest: Vec<_> = stream::iter(rest).buffer_unordered(at_once).try_collect().await?;
            found.extend(rest.into_iter().flatten());
            Ok(found)
        };
        let tagged = async {
            let tags: Vec<_> = subjects
                .iter()
                .flat_map(|subject| cosign_tags(subject).map(move |tag| (subject, tag)))
                .map(|(subject, tag)| self.tagged(subject, tag).boxed())
                .collect();
            stream::iter(tags).buffer_unordered(at_once).try_collect::<Vec<_>>().await
        };
        let (mut found, tagged) = futures::try_join!(listed, tagged)?;
        found.extend(tagged.into_iter().flatten());
        Ok(found)
    }

    /// What the source lists as referring to a manifest.
    async fn listed(&self, subject: &Digest) -> Result<Vec<Found>, CopyError> {
        let (registry, repository) = (self.source.registry(), self.source.repository());
        let mut listed = None;
        if self.has_api.load(Relaxed) {
            let asked = self.client.referrers(registry, repository, subject, self.limits.referrers);
            listed = asked.await.map_err(|error| self.failed(error, subject))?;
            self.has_api.store(listed.is_some(), Relaxed);
        }
        let listed = match listed {
            Some(listed) => listed,
            None => self.listed_by_tag(subject).await?,
        };
        let wanted = |one: &registry::Referrer| match &one.artifact_type {
            Some(artifact_type) => self.scope.referrers.include(artifact_type),
            None => self.scope.referrers.include(""),
        };
        let wanted = listed.into_iter().filter(wanted);
        let wanted = wanted.map(|one| Found {
            digest: one.descriptor.digest,
            tag: None,
            artifact_type: one.artifact_type,
        });
        Ok(wanted.collect())
    }

    /// The index that stands in for the API. What is no index, or the subject itself, means that
    /// there are none: a registry may take the tag for the digest that it is made of.
    async fn listed_by_tag(&self, subject: &Digest) -> Result<Vec<registry::Referrer>, CopyError> {
        let tag = registry::Referrer::fallback_tag(subject);
        let index = self.tagged(subject, tag).await?.map(|found| found.digest);
        let Some(digest) = index.filter(|digest| digest != subject) else {
            return Ok(Vec::new());
        };
        let (registry, repository) = (self.source.registry(), self.source.repository());
        let index = self.client.manifest(registry, repository, &ManifestRef::Digest(digest)).await;
        match index {
            Ok((_, bytes)) => Ok(registry::Referrer::read_list(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(error, subject)),
        }
    }

    /// What a tag names. It is looked up first, and not read: most are not there, and a read
    /// counts against the quota of some registries.
    async fn tagged(&self, subject: &Digest, tag: Tag) -> Result<Option<Found>, CopyError> {
        let (registry, repository) = (self.source.registry(), self.source.repository());
        let at = ManifestRef::Tag(tag.clone());
        let found = self.client.head_manifest(registry, repository, &at).await;
        let found = found.map_err(|error| self.failed(error, subject))?;
        Ok(found.map(|found| Found { digest: found.digest, tag: Some(tag), artifact_type: None }))
    }

    /// Reads a referrer; None where it is gone, or none of the wanted types.
    async fn read(&self, found: Found) -> Result<Option<Referrer>, CopyError> {
        let Found { digest, tag, artifact_type } = found;
        let graph =
            match Graph::read(self.client, self.source, &digest, &self.scope, self.limits).await {
                Ok(graph) => graph,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::warn!(%error, referrer = %digest, "a referrer is gone and left out");
                    return Ok(None);
                }
                Err(error) => return Err(error.with_part(&digest)),
            };
        // Cosign's tags say nothing of types, the layers do.
        let mut types = graph.blobs.iter().map(|blob| blob.descriptor.media_type.as_str());
        let is_wanted = tag.is_none()
            || self.scope.referrers == Referrers::All
            || types.any(|one| self.scope.referrers.include(one));
        Ok(is_wanted.then_some(Referrer { graph, tag, artifact_type }))
    }

    fn check(&self, size: &Size) -> Result<(), CopyError> {
        let limits = self.limits;
        let (number, most_bytes) = (limits.referrers, limits.referrer_bytes);
        let what = match size {
            _ if size.number > number => format!("{number} signatures and other referrers"),
            _ if size.bytes > most_bytes => format!("{most_bytes} bytes of referrers"),
            _ if size.manifest_bytes > limits.manifest_bytes => {
                format!("{} bytes of referrers' manifests", limits.manifest_bytes)
            }
            _ => return Ok(()),
        };
        let message = format!("it has more than {what}; copy those of some types, or none");
        Err(CopyError::found(self.source, ErrorKind::TooLarge, message))
    }

    fn failed(&self, error: registry::Error, part: &Digest) -> CopyError {
        CopyError::source(self.source, error).with_part(part)
    }
}

/// How much was found.
#[derive(Default)]
struct Size {
    number: usize,
    bytes: u64,
    manifest_bytes: u64,
}

impl Size {
    fn add(&mut self, graph: &Graph) {
        self.bytes += graph.size_bytes();
        self.manifest_bytes += graph.manifests.iter().map(|one| one.descriptor.size).sum::<u64>();
    }
}

/// The tags that cosign makes for a manifest; none where its digest is too long for a tag.
pub(crate) fn cosign_tags(subject: &Digest) -> impl Iterator<Item = Tag> {
    let dashed = subject.dashed();
    COSIGN_SUFFIXES.iter().filter_map(move |suffix| format!("{dashed}{suffix}").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_is_too_long_has_no_cosign_tags() {
        let count = |digest: String| cosign_tags(&digest.parse().unwrap()).count();
        assert_eq!(count(format!("sha256:{}", "a".repeat(64))), 3);
        assert_eq!(count(format!("sha512:{}", "a".repeat(128))), 0);
    }
}
