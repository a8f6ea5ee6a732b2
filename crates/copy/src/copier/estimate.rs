//! What a copy would bring, found out by looking alone: by GET at the source, by HEAD at the
//! target.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use protocol::{Digest, Side};
use registry::Descriptor;

use super::{Copier, Job, Place, places, resolve};
use crate::error::CopyError;
use crate::graph::Graph;
use crate::inspect::{Inspector, Proof};
use crate::referrers::Search;

/// What a copy would find and do.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// What the target has under the replica's name, or its keeper's where it has one; None where
    /// that is nothing.
    pub held: Option<Digest>,
    /// What a copy would bring: None where the replica is what its source is. An error is about
    /// the source.
    pub brings: Result<Option<Brings>, CopyError>,
}

/// What a copy would bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brings {
    /// The digest of the image at its source.
    pub digest: Digest,
    /// Bytes of all that is copied of the image itself.
    pub size_bytes: u64,
    /// The blobs that the target has not where the replica goes, and their bytes; those of
    /// referrers as well. A target that has them elsewhere may mount them instead.
    pub blobs: BTreeMap<Digest, u64>,
}

impl Copier {
    /// Finds out what [`Copier::copy`] would do, and does nothing. An error is about the target.
    pub async fn estimate(&self, job: &Job) -> Result<Estimate, CopyError> {
        let places = places(&self.client, &job.replica).await?;
        let held = places.first().and_then(|place| place.holds.clone());
        match self.brings(job, &places).await {
            Err(error) if error.side == Side::Target => Err(error),
            brings => Ok(Estimate { held, brings }),
        }
    }

    async fn brings(&self, job: &Job, places: &[Place]) -> Result<Option<Brings>, CopyError> {
        let (client, source, scope) = (&self.source_client, &job.source, &self.scope);
        let digest = resolve(client, source).await?;
        if !places.iter().any(|place| place.is_due(&digest, Proof::Word)) {
            return Ok(None);
        }
        let graph = Graph::read(client, source, &digest, scope, &self.limits).await?;
        let referrers = Search::new(client, source, scope, &self.limits).run(&graph).await?;
        let graphs =
            std::iter::once(&graph).chain(referrers.iter().flatten().map(|one| &one.graph));
        let named = graphs.flat_map(|graph| &graph.blobs).map(|blob| &blob.descriptor);
        let named: BTreeMap<_, _> = named.map(|blob| (&blob.digest, blob)).collect();
        let blobs = self.missing(job, named.into_values()).await?;
        Ok(Some(Brings { digest, size_bytes: graph.size_bytes(), blobs }))
    }

    /// Those that the target has not.
    async fn missing(
        &self,
        job: &Job,
        blobs: impl Iterator<Item = &Descriptor>,
    ) -> Result<BTreeMap<Digest, u64>, CopyError> {
        let inspector = Inspector {
            client: &self.client,
            limits: &self.limits,
            image: &job.replica.reference,
            proof: Proof::Word,
        };
        let looks = blobs.map(|blob| {
            let look = async move {
                let damage = inspector.blob(blob).await?;
                Ok(damage.map(|_| (blob.digest.clone(), blob.size)))
            };
            look.boxed()
        });
        // Collected first: a lazy map over references makes a future that is not Send.
        let looks: Vec<_> = looks.collect();
        let found: Vec<_> =
            stream::iter(looks).buffer_unordered(self.limits.blobs_at_once).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}
