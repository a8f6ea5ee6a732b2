//! The algorithm. Resolve the tag once; compare with the target; read the graph; move blobs;
//! write manifests, children first; then what refers to them; set tags last.

pub(crate) mod estimate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference, Replica, Side};
use registry::{Client, ErrorKind, ManifestRef};

use crate::creations::{Creations, Repositories};
use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::{Graph, Manifest};
use crate::inspect::Proof;
use crate::kinds::ReferrerKind;
use crate::limits::Limits;
use crate::listing::{Unlisted, list_at_target};
use crate::origins::{Origins, RecentOrigins};
use crate::platform::Platform;
use crate::referrers::{Referrer, Search};
use crate::removal::Remover;
use crate::room::{Boundless, Room};
use crate::scope::{Referrers, Scope};
use crate::slots::Slots;
use crate::tracker::Tracker;
use crate::transfer::Transfer;
use crate::verify::Verifier;

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
    /// Bytes of blobs that travelled, those of referrers as well.
    pub bytes_moved: u64,
    /// Blobs that travelled.
    pub blobs_moved: u64,
    /// Blobs that the target had, or mounted.
    pub blobs_skipped: u64,
    /// Bytes of all that is copied of the image itself. Zero where the replica was current: then
    /// nothing was read that would tell.
    pub size_bytes: u64,
    /// What of the image is at the target now. None where the replica was current, as above.
    pub contents: Option<Contents>,
}

/// What of an image was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its platforms, as its indexes state them; none where it has no index.
    pub platforms: BTreeSet<Platform>,
    /// What refers to it, by kind; None where nobody was asked for that.
    pub referrers: Option<BTreeMap<ReferrerKind, u64>>,
}

impl Outcome {
    fn new(digest: Digest) -> Self {
        let (bytes_moved, blobs_moved, blobs_skipped, size_bytes) = (0, 0, 0, 0);
        Self { digest, bytes_moved, blobs_moved, blobs_skipped, size_bytes, contents: None }
    }
}

/// Copies images. Cheap to clone; clones know of each other's transfers.
#[derive(Clone)]
pub struct Copier {
    /// What targets are asked with by who only looks.
    client: Client,
    /// What they are asked with, and written with, by a copy.
    pusher: Client,
    /// What sources are read with.
    source_client: Client,
    scope: Arc<Scope>,
    limits: Limits,
    flights: Arc<Flights>,
    slots: Arc<Slots>,
    origins: Arc<dyn Origins>,
    creations: Arc<Creations>,
    room: Arc<dyn Room>,
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
    /// A copier of all that an image's source may hand out. It remembers where at targets blobs
    /// are for as long as it lives.
    pub fn new(client: Client, limits: Limits) -> Self {
        Self {
            source_client: client.clone(),
            pusher: client.for_targets(),
            client,
            scope: Arc::default(),
            limits,
            flights: Arc::default(),
            slots: Arc::default(),
            origins: Arc::new(RecentOrigins::default()),
            creations: Arc::default(),
            room: Arc::new(Boundless),
        }
    }

    /// A verifier by the same client and limits.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.client.clone(), self.limits)
    }

    /// A remover by the same client and limits.
    pub fn remover(&self) -> Remover {
        Remover::new(self.client.clone(), self.limits)
    }

    /// What it asks targets with, and sources where nothing else was said.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same copier, which reads sources with another client: as somebody else. That one
    /// shares what it knows of registries with [`Copier::client`], else manners would count twice.
    #[must_use]
    pub fn reading_with(self, source_client: Client) -> Self {
        Self { source_client, ..self }
    }

    /// The same copier, with somebody else to know where at targets blobs are.
    #[must_use]
    pub fn with_origins(self, origins: Arc<dyn Origins>) -> Self {
        Self { origins, ..self }
    }

    /// The same copier, for a part of what there is.
    #[must_use]
    pub fn with_scope(self, scope: Scope) -> Self {
        Self { scope: Arc::new(scope), ..self }
    }

    /// The same copier, with somebody to create repositories at targets that want it.
    #[must_use]
    pub fn with_repositories(self, repositories: Arc<dyn Repositories>) -> Self {
        Self { creations: Arc::new(Creations::by(repositories)), ..self }
    }

    /// The same copier, which asks for room before it brings anything to the target.
    #[must_use]
    pub fn with_room(self, room: Arc<dyn Room>) -> Self {
        Self { room, ..self }
    }

    /// Makes the replica what the source is. When it is Ok all that is in scope is at the target,
    /// verified; when it is an error, or dropped, nothing wrong is there, and a tag still names
    /// what it named. Can be called again at any time.
    ///
    /// A replica whose tags name the source's digest already is taken for whole, at the price of
    /// one request a tag and one for the source's: nobody looks then for signatures that were
    /// added later, or for platforms that a former scope left out.
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
        let (digest, places) =
            tokio::join!(resolve(&self.source_client, source), places(&self.pusher, replica));
        let (digest, mut places) = (digest?, places?);
        places.retain(|place| place.is_due(&digest, proof));
        let mut outcome = Outcome::new(digest);
        if places.is_empty() {
            return Ok(outcome);
        }
        let (client, scope, limits) = (&self.pusher, &self.scope, &self.limits);
        let source_client = &self.source_client;
        let graph = Graph::read(source_client, source, &outcome.digest, scope, limits).await?;
        outcome.size_bytes = graph.size_bytes();
        self.take_room(source, outcome.size_bytes).await?;
        tracker.begin(&graph.blobs);
        let transfer = self.transfer(job, tracker, proof);
        let (referrers, ()) = tokio::try_join!(
            self.find_referrers(source, &graph),
            self.move_blobs(&transfer, &graph)
        )?;
        let target = &replica.reference;
        let mut unlisted = self.write_manifests(&transfer, &graph).await?;
        // What a name, once set, keeps later copies from doing comes before it.
        let is_named_by_tag = places.iter().all(|place| matches!(place.at, ManifestRef::Tag(_)));
        let root_first =
            is_named_by_tag && (graph.root().subject.is_some() || !referrers.is_empty());
        if root_first {
            let by_digest = ManifestRef::Digest(outcome.digest.clone());
            unlisted.extend(transfer.write(graph.root(), by_digest).await?);
        }
        let (entries, kinds) = self.copy_referrers(&transfer, &referrers).await?;
        unlisted.extend(entries);
        list_at_target(client, &self.flights, limits, target, unlisted).await?;
        let mut late = Vec::new();
        for place in places {
            late.extend(transfer.write(graph.root(), place.at).await?);
        }
        if !root_first {
            list_at_target(client, &self.flights, limits, target, late).await?;
        }
        transfer.count(&mut outcome);
        let referrers = (scope.referrers != Referrers::Nothing).then_some(kinds);
        outcome.contents = Some(Contents { platforms: graph.platforms, referrers });
        Ok(outcome)
    }

    fn transfer<'a>(&'a self, job: &'a Job, tracker: &'a Tracker, proof: Proof) -> Transfer<'a> {
        Transfer {
            client: &self.pusher,
            source_client: &self.source_client,
            scope: &self.scope,
            limits: &self.limits,
            flights: &self.flights,
            slots: &self.slots,
            origins: self.origins.as_ref(),
            creations: &self.creations,
            source: &job.source,
            target: &job.replica.reference,
            tracker,
            proof,
            settled: Mutex::default(),
        }
    }

    /// What refers to the image, if there is room for that as well.
    async fn find_referrers(
        &self,
        source: &ImageReference,
        graph: &Graph,
    ) -> Result<Vec<Vec<Referrer>>, CopyError> {
        let search = Search::new(&self.source_client, source, &self.scope, &self.limits);
        let referrers = search.run(graph).await?;
        if !referrers.is_empty() {
            let all = referrers.iter().flatten();
            let bytes = all.map(|referrer| referrer.graph.size_bytes()).sum::<u64>();
            self.take_room(source, graph.size_bytes() + bytes).await?;
        }
        Ok(referrers)
    }

    async fn take_room(&self, source: &ImageReference, bytes: u64) -> Result<(), CopyError> {
        self.room.take(bytes).await.map_err(|why| CopyError::no_room(source, why))
    }

    async fn move_blobs(&self, transfer: &Transfer<'_>, graph: &Graph) -> Result<(), CopyError> {
        // Collected first: a lazy map over references makes a future that is not Send.
        let ensured: Vec<_> =
            graph.blobs.iter().map(|blob| transfer.ensure(blob).boxed()).collect();
        stream::iter(ensured).buffer_unordered(self.limits.blobs_at_once).try_collect::<()>().await
    }

    /// Writes by digest what is below the root. Tells what the target does not list by itself.
    async fn write_manifests(
        &self,
        transfer: &Transfer<'_>,
        graph: &Graph,
    ) -> Result<Vec<Unlisted>, CopyError> {
        let by_digest =
            |manifest: &Manifest| ManifestRef::Digest(manifest.descriptor.digest.clone());
        let write = |manifest| transfer.write(manifest, by_digest(manifest)).boxed();
        let mut unlisted = Vec::new();
        for group in graph.below_root() {
            let written: Vec<_> = group.into_iter().map(write).collect();
            let mut written = stream::iter(written).buffer_unordered(self.limits.manifests_at_once);
            while let Some(entry) = written.try_next().await? {
                unlisted.extend(entry);
            }
        }
        Ok(unlisted)
    }

    /// Copies what refers to the image, and then what refers to that. Tells what the target does
    /// not list by itself, and how many there are of each kind.
    async fn copy_referrers(
        &self,
        transfer: &Transfer<'_>,
        referrers: &[Vec<Referrer>],
    ) -> Result<(Vec<Unlisted>, BTreeMap<ReferrerKind, u64>), CopyError> {
        let all = referrers.iter().flatten();
        all.for_each(|referrer| transfer.tracker.more(&referrer.graph.blobs));
        let (mut unlisted, mut digests) = (Vec::new(), BTreeMap::new());
        for level in referrers {
            let copied: Vec<_> =
                level.iter().map(|one| self.copy_referrer(transfer, one).boxed()).collect();
            let mut copied = stream::iter(copied).buffer_unordered(self.limits.manifests_at_once);
            while let Some(copied) = copied.try_next().await? {
                let Some((entries, referrer)) = copied else { continue };
                unlisted.extend(entries);
                // One that is found by the API and by a tag is one.
                digests.insert(&referrer.graph.root().descriptor.digest, referrer.kind());
            }
        }
        let mut kinds = BTreeMap::new();
        for kind in digests.into_values() {
            *kinds.entry(kind).or_default() += 1;
        }
        Ok((unlisted, kinds))
    }

    /// Copies one thing that refers to the image. If the source has lost a part of it, it is
    /// left out, which is None: an image must not wait for ever for a broken signature.
    async fn copy_referrer<'a>(
        &self,
        transfer: &Transfer<'_>,
        referrer: &'a Referrer,
    ) -> Result<Option<(Vec<Unlisted>, &'a Referrer)>, CopyError> {
        let Referrer { graph, tag, .. } = referrer;
        let digest = &graph.root().descriptor.digest;
        match self.move_blobs(transfer, graph).await {
            Err(error) if error.side == Side::Source && error.kind() == ErrorKind::NotFound => {
                tracing::warn!(%error, referrer = %digest, "a referrer is broken and left out");
                return Ok(None);
            }
            moved => moved?,
        }
        let mut unlisted = self.write_manifests(transfer, graph).await?;
        let at = tag.clone().map_or_else(|| ManifestRef::Digest(digest.clone()), ManifestRef::Tag);
        unlisted.extend(transfer.write(graph.root(), at).await?);
        Ok(Some((unlisted, referrer)))
    }
}

/// The names under which the image is to be at the target.
async fn places(client: &Client, replica: &Replica) -> Result<Vec<Place>, CopyError> {
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
        let found = client.head_manifest(target.registry(), target.repository(), &at).await;
        let found = found.map_err(|error| CopyError::target(target, error))?;
        Ok(Place { at, holds: found.map(|found| found.digest), rule })
    });
    futures::future::try_join_all(looked_up).await
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
