//! The algorithm. Resolve the tag once; compare with the target; read the graph; move blobs;
//! write manifests, children first; set tags last.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference, Replica};
use registry::{Client, ErrorKind, ManifestRef};

use crate::creations::{Creations, Repositories};
use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::{Graph, Manifest};
use crate::limits::Limits;
use crate::origins::{Origins, RecentOrigins};
use crate::tracker::Tracker;
use crate::transfer::{Moved, Transfer};

/// What to copy, and where to.
#[derive(Clone, Debug)]
pub struct Job {
    /// The image. A digest decides where there is one; a tag is resolved once.
    pub source: ImageReference,
    /// Where its replica goes, and under which tags.
    pub replica: Replica,
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The digest of the image, at its source and at the target alike.
    pub digest: Digest,
    /// Bytes of blobs that travelled.
    pub bytes_moved: u64,
    /// Blobs that travelled.
    pub blobs_moved: u64,
    /// Blobs that the target had, or mounted.
    pub blobs_skipped: u64,
    /// Bytes of all that the image is made of. Zero where the replica was current: then
    /// nothing was read that would tell.
    pub size_bytes: u64,
}

/// Copies images. Cheap to clone; clones know of each other's transfers.
#[derive(Clone)]
pub struct Copier {
    client: Client,
    limits: Limits,
    flights: Arc<Flights>,
    origins: Arc<dyn Origins>,
    creations: Arc<Creations>,
}

/// A name under which the image is to be at the target, and what is there now.
struct Place {
    at: ManifestRef,
    holds: Option<Digest>,
    rule: Rule,
}

/// When a place is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It always names what the source is.
    Follows,
    /// What is there stays.
    IfAbsent,
}

impl Place {
    fn is_due(&self, digest: &Digest) -> bool {
        match self.rule {
            Rule::Follows => self.holds.as_ref() != Some(digest),
            Rule::IfAbsent => self.holds.is_none(),
        }
    }
}

impl Copier {
    /// A copier that remembers where at targets blobs are for as long as it lives.
    pub fn new(client: Client, limits: Limits) -> Self {
        Self {
            client,
            limits,
            flights: Arc::default(),
            origins: Arc::new(RecentOrigins::default()),
            creations: Arc::default(),
        }
    }

    /// The same copier, with somebody else to know where at targets blobs are.
    #[must_use]
    pub fn with_origins(self, origins: Arc<dyn Origins>) -> Self {
        Self { origins, ..self }
    }

    /// The same copier, with somebody to create repositories at targets that want it.
    #[must_use]
    pub fn with_repositories(self, repositories: Arc<dyn Repositories>) -> Self {
        Self { creations: Arc::new(Creations::by(repositories)), ..self }
    }

    /// Makes the replica what the source is. When it is Ok the whole image is at the target,
    /// verified; when it is an error, or dropped, nothing wrong is there, and a tag still names
    /// what it named. Can be called again at any time.
    pub async fn copy(&self, job: &Job, tracker: &Tracker) -> Result<Outcome, CopyError> {
        let Job { source, replica } = job;
        let (digest, places) = tokio::join!(self.resolve(source), self.places(replica));
        let (digest, mut places) = (digest?, places?);
        places.retain(|place| place.is_due(&digest));
        let mut outcome =
            Outcome { digest, bytes_moved: 0, blobs_moved: 0, blobs_skipped: 0, size_bytes: 0 };
        if places.is_empty() {
            return Ok(outcome);
        }
        let graph = Graph::read(&self.client, source, &outcome.digest, &self.limits).await?;
        outcome.size_bytes = graph.size_bytes();
        tracker.begin(&graph.blobs);
        self.move_blobs(job, &graph, tracker, &mut outcome).await?;
        self.write_manifests(&replica.reference, &graph, &places).await?;
        Ok(outcome)
    }

    /// Which digest is meant. A tag is looked up once; all that follows goes by the digest.
    async fn resolve(&self, source: &ImageReference) -> Result<Digest, CopyError> {
        let tag = match (source.digest(), source.tag()) {
            (Some(digest), _) => return Ok(digest.clone()),
            (None, tag) => tag.cloned().map(ManifestRef::Tag),
        };
        let missing =
            || CopyError::found(source, ErrorKind::NotFound, "the registry knows no such image");
        let tag = tag.ok_or_else(missing)?;
        let found = self.client.head_manifest(source.registry(), source.repository(), &tag).await;
        let found = found.map_err(|error| CopyError::source(source, error))?;
        found.map(|found| found.digest).ok_or_else(missing)
    }

    /// The names under which the image is to be at the target.
    async fn places(&self, replica: &Replica) -> Result<Vec<Place>, CopyError> {
        let target = &replica.reference;
        let tag = target.tag().cloned().map(ManifestRef::Tag);
        let names = match (&replica.keeper, tag, target.digest()) {
            (Some(keeper), tag, _) => {
                let keeper = (ManifestRef::Tag(keeper.clone()), Rule::Follows);
                let tag = tag.map(|tag| (tag, Rule::IfAbsent));
                std::iter::once(keeper).chain(tag).collect()
            }
            (None, Some(tag), _) => vec![(tag, Rule::Follows)],
            (None, None, Some(digest)) => {
                vec![(ManifestRef::Digest(digest.clone()), Rule::Follows)]
            }
            (None, None, None) => Vec::new(),
        };
        let looked_up = names.into_iter().map(|(at, rule)| async move {
            let found =
                self.client.head_manifest(target.registry(), target.repository(), &at).await;
            let found = found.map_err(|error| CopyError::target(target, error))?;
            Ok(Place { at, holds: found.map(|found| found.digest), rule })
        });
        futures::future::try_join_all(looked_up).await
    }

    async fn move_blobs(
        &self,
        job: &Job,
        graph: &Graph,
        tracker: &Tracker,
        outcome: &mut Outcome,
    ) -> Result<(), CopyError> {
        let transfer = Transfer {
            client: &self.client,
            limits: &self.limits,
            flights: &self.flights,
            origins: self.origins.as_ref(),
            creations: &self.creations,
            source: &job.source,
            target: &job.replica.reference,
            tracker,
        };
        // Collected first: a lazy map over references makes a future that is not Send.
        let ensured: Vec<_> = graph
            .blobs
            .iter()
            .map(|blob| transfer.ensure(blob).map_ok(move |moved| (blob, moved)).boxed())
            .collect();
        let mut moves = stream::iter(ensured).buffer_unordered(self.limits.blobs_at_once);
        while let Some((blob, moved)) = moves.try_next().await? {
            match moved {
                Moved::Skipped => outcome.blobs_skipped += 1,
                Moved::Sent => {
                    outcome.blobs_moved += 1;
                    outcome.bytes_moved += blob.descriptor.size;
                }
            }
        }
        Ok(())
    }

    /// Writes the manifests by digest, and the root under its names.
    async fn write_manifests(
        &self,
        target: &ImageReference,
        graph: &Graph,
        places: &[Place],
    ) -> Result<(), CopyError> {
        let Some((root, below)) = graph.manifests.split_last() else { return Ok(()) };
        let (leaves, inner): (Vec<_>, Vec<_>) =
            below.iter().partition(|manifest| manifest.children.is_empty());
        // Leaves name no manifest, so their order is free; what names others comes after them.
        let written: Vec<_> = leaves
            .into_iter()
            .map(|leaf| {
                let by_digest = ManifestRef::Digest(leaf.descriptor.digest.clone());
                self.write(target, leaf, by_digest).boxed()
            })
            .collect();
        stream::iter(written)
            .buffer_unordered(self.limits.manifests_at_once)
            .try_collect::<()>()
            .await?;
        for manifest in inner {
            let by_digest = ManifestRef::Digest(manifest.descriptor.digest.clone());
            self.write(target, manifest, by_digest).await?;
        }
        for place in places {
            self.write(target, root, place.at.clone()).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        target: &ImageReference,
        manifest: &Manifest,
        at: ManifestRef,
    ) -> Result<(), CopyError> {
        let media_type = &manifest.descriptor.media_type;
        self.client
            .put_manifest(target.registry(), target.repository(), &at, media_type, &manifest.bytes)
            .await
            .map_err(|error| {
                CopyError::target(target, error).with_part(&manifest.descriptor.digest)
            })
    }
}
