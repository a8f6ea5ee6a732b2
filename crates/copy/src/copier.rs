//! The algorithm. Resolve the tag once; compare with the target; read the graph; move blobs;
//! write manifests, children first; set tags last.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference, Replica};
use registry::{Client, ErrorKind, ManifestRef};

use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::Graph;
use crate::inspect::Proof;
use crate::limits::Limits;
use crate::origins::{Origins, RecentOrigins};
use crate::tracker::Tracker;
use crate::transfer::Transfer;

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
    fn is_due(&self, digest: &Digest, proof: Proof) -> bool {
        match self.rule {
            // That it names the right digest does not prove that it has its bytes.
            _ if proof == Proof::Bytes && self.holds.as_ref() == Some(digest) => true,
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
        }
    }

    /// The same copier, with somebody else to know where at targets blobs are.
    #[must_use]
    pub fn with_origins(self, origins: Arc<dyn Origins>) -> Self {
        Self { origins, ..self }
    }

    /// Makes the replica what the source is. When it is Ok the whole image is at the target,
    /// verified; when it is an error, or dropped, nothing wrong is there, and a tag still names
    /// what it named. Can be called again at any time.
    pub async fn copy(&self, job: &Job, tracker: &Tracker) -> Result<Outcome, CopyError> {
        self.run(job, tracker, Proof::Word).await
    }

    /// Makes the replica what the source is, and does not take the target's word for any part
    /// of it: each is read there, written again where it is missing or damaged, and read once
    /// more. An error where the target keeps what is damaged.
    pub async fn repair(&self, job: &Job, tracker: &Tracker) -> Result<Outcome, CopyError> {
        self.run(job, tracker, Proof::Bytes).await
    }

    async fn run(&self, job: &Job, tracker: &Tracker, proof: Proof) -> Result<Outcome, CopyError> {
        let Job { source, replica } = job;
        let (digest, places) = tokio::join!(resolve(&self.client, source), self.places(replica));
        let (digest, mut places) = (digest?, places?);
        places.retain(|place| place.is_due(&digest, proof));
        let mut outcome =
            Outcome { digest, bytes_moved: 0, blobs_moved: 0, blobs_skipped: 0, size_bytes: 0 };
        if places.is_empty() {
            return Ok(outcome);
        }
        let graph = Graph::read(&self.client, source, &outcome.digest, &self.limits).await?;
        outcome.size_bytes = graph.size_bytes();
        tracker.begin(&graph.blobs);
        let transfer = Transfer {
            client: &self.client,
            limits: &self.limits,
            flights: &self.flights,
            origins: self.origins.as_ref(),
            source,
            target: &replica.reference,
            tracker,
            proof,
            sent: Mutex::default(),
        };
        self.move_blobs(&transfer, &graph).await?;
        self.write_manifests(&transfer, &graph, &places).await?;
        for blob in &graph.blobs {
            if transfer.was_sent(&blob.descriptor.digest) {
                outcome.blobs_moved += 1;
                outcome.bytes_moved += blob.descriptor.size;
            } else {
                outcome.blobs_skipped += 1;
            }
        }
        Ok(outcome)
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

    async fn move_blobs(&self, transfer: &Transfer<'_>, graph: &Graph) -> Result<(), CopyError> {
        // Collected first: a lazy map over references makes a future that is not Send.
        let ensured: Vec<_> =
            graph.blobs.iter().map(|blob| transfer.ensure(blob).boxed()).collect();
        stream::iter(ensured).buffer_unordered(self.limits.blobs_at_once).try_collect::<()>().await
    }

    /// Writes the manifests by digest, and the root under its names.
    async fn write_manifests(
        &self,
        transfer: &Transfer<'_>,
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
                transfer.write(leaf, by_digest).boxed()
            })
            .collect();
        stream::iter(written)
            .buffer_unordered(self.limits.manifests_at_once)
            .try_collect::<()>()
            .await?;
        for manifest in inner {
            let by_digest = ManifestRef::Digest(manifest.descriptor.digest.clone());
            transfer.write(manifest, by_digest).await?;
        }
        for place in places {
            transfer.write(root, place.at.clone()).await?;
        }
        Ok(())
    }
}

/// Which digest an image has. A tag is looked up once; all that follows goes by the digest.
pub(crate) async fn resolve(client: &Client, image: &ImageReference) -> Result<Digest, CopyError> {
    let tag = match (image.digest(), image.tag()) {
        (Some(digest), _) => return Ok(digest.clone()),
        (None, tag) => tag.cloned().map(ManifestRef::Tag),
    };
    let missing =
        || CopyError::found(image, ErrorKind::NotFound, "the registry knows no such image");
    let tag = tag.ok_or_else(missing)?;
    let found = client.head_manifest(image.registry(), image.repository(), &tag).await;
    let found = found.map_err(|error| CopyError::source(image, error))?;
    found.map(|found| found.digest).ok_or_else(missing)
}
