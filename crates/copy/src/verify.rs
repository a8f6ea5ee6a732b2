//! Walks a replica and finds what is damaged. Unlike a copy it goes on after the first flaw: a
//! manifest that cannot be read hides what it names, and nothing else.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference};
use registry::{Client, Descriptor, ManifestRef};

use crate::copier::resolve;
use crate::error::CopyError;
use crate::inspect::{Inspector, Proof, by_length};
use crate::limits::Limits;
use crate::manifest::{self, Child};
use crate::report::{Damage, Finding, Part, PartKind, Report};

/// Verifies replicas. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    client: Client,
    limits: Limits,
}

impl Verifier {
    /// A verifier that reads no more of a replica than the limits allow a copy.
    pub fn new(client: Client, limits: Limits) -> Self {
        Self { client, limits }
    }

    /// Reads each part of a replica and hashes it. An error where a part could not be looked at:
    /// then nothing is said of the others either.
    pub async fn verify(&self, replica: &ImageReference) -> Result<Report, CopyError> {
        self.walk(replica, Proof::Bytes).await
    }

    /// Reads the manifests of a replica, and asks for each blob whether it is there: one request
    /// a part.
    pub async fn verify_quick(&self, replica: &ImageReference) -> Result<Report, CopyError> {
        self.walk(replica, Proof::Word).await
    }

    async fn walk(&self, replica: &ImageReference, proof: Proof) -> Result<Report, CopyError> {
        let root = resolve(&self.client, replica).await.map_err(CopyError::at_target)?;
        let inspector =
            Inspector { client: &self.client, limits: &self.limits, image: replica, proof };
        let mut walk = Walk::new(replica, &self.limits, root);
        let mut level = walk.root();
        for depth in 1.. {
            if level.is_empty() {
                break;
            }
            walk.check("levels of manifests", depth, self.limits.depth as u64)?;
            // Collected first: a lazy map over references makes a future that is not Send.
            let reads: Vec<_> =
                level.into_iter().map(|wanted| read(&inspector, wanted).boxed()).collect();
            let mut reads = stream::iter(reads).buffered(self.limits.manifests_at_once);
            level = Vec::new();
            while let Some((wanted, found)) = reads.try_next().await? {
                level.extend(walk.take_in(wanted, found)?);
            }
        }
        let blobs = std::mem::take(&mut walk.blobs);
        let looks: Vec<_> = blobs
            .iter()
            .enumerate()
            .map(|(at, (_, blob))| inspector.blob(blob).map_ok(move |found| (at, found)).boxed())
            .collect();
        let mut looks = stream::iter(looks).buffer_unordered(self.limits.blobs_at_once);
        let mut damaged = BTreeMap::new();
        while let Some((at, found)) = looks.try_next().await? {
            damaged.extend(found.map(|damage| (at, damage)));
        }
        let damaged = damaged.into_iter().map(|(at, damage)| (blobs[at].0.clone(), damage));
        damaged.for_each(|(part, damage)| walk.found(part, damage));
        Ok(walk.report)
    }
}

/// A manifest to look at, and what its parent says of it.
struct Wanted {
    part: Part,
    stated: Option<Descriptor>,
}

type Found = Result<(Descriptor, Bytes), Damage>;

async fn read(inspector: &Inspector<'_>, wanted: Wanted) -> Result<(Wanted, Found), CopyError> {
    let at = ManifestRef::Digest(wanted.part.digest.clone());
    let found = inspector.manifest(&at).await?;
    Ok((wanted, found))
}

/// What is known of the replica so far.
struct Walk<'a> {
    image: &'a ImageReference,
    limits: &'a Limits,
    report: Report,
    manifests: HashSet<Digest>,
    manifest_bytes: u64,
    /// By size as well: manifests that disagree about one cannot both be right.
    blobs_seen: HashSet<(Digest, u64)>,
    blobs: Vec<(Part, Descriptor)>,
}

impl<'a> Walk<'a> {
    fn new(image: &'a ImageReference, limits: &'a Limits, digest: Digest) -> Self {
        Self {
            image,
            limits,
            report: Report { digest, parts: 0, size_bytes: 0, findings: Vec::new() },
            manifests: HashSet::new(),
            manifest_bytes: 0,
            blobs_seen: HashSet::new(),
            blobs: Vec::new(),
        }
    }

    /// The first level.
    fn root(&mut self) -> Vec<Wanted> {
        let digest = self.report.digest.clone();
        self.manifests.insert(digest.clone());
        self.report.parts += 1;
        let part = Part { digest, kind: PartKind::Manifest, parent: None, platform: None };
        vec![Wanted { part, stated: None }]
    }

    /// Takes in what was found of a manifest, and tells which new ones it names.
    fn take_in(&mut self, wanted: Wanted, found: Found) -> Result<Vec<Wanted>, CopyError> {
        let Wanted { part, stated } = wanted;
        let (descriptor, bytes) = match found {
            Ok(found) => found,
            Err(damage) => {
                self.report.size_bytes += stated.map_or(0, |stated| stated.size);
                self.found(part, damage);
                return Ok(Vec::new());
            }
        };
        self.report.size_bytes += descriptor.size;
        self.manifest_bytes += descriptor.size;
        self.check("bytes of manifests", self.manifest_bytes, self.limits.manifest_bytes)?;
        if let Some(damage) = stated.and_then(|stated| disagreement(&descriptor, &stated)) {
            self.found(part.clone(), damage);
        }
        let named = match manifest::read(&descriptor.media_type, &bytes) {
            Ok(named) => named,
            Err(flaw) => {
                self.found(part, Damage::Unreadable { reason: flaw.message });
                return Ok(Vec::new());
            }
        };
        for blob in named.blobs {
            self.add_blob(below(&part, &blob.descriptor, blob.role.into()), blob.descriptor)?;
        }
        let mut wanted = Vec::new();
        for Child { descriptor, platform, .. } in named.manifests {
            if self.manifests.insert(descriptor.digest.clone()) {
                self.report.parts += 1;
                let mut part = below(&part, &descriptor, PartKind::Manifest);
                part.platform = platform.or(part.platform);
                wanted.push(Wanted { part, stated: Some(descriptor) });
            }
        }
        self.check("manifests", self.manifests.len() as u64, self.limits.manifests as u64)?;
        Ok(wanted)
    }

    fn add_blob(&mut self, part: Part, blob: Descriptor) -> Result<(), CopyError> {
        self.check("bytes in one layer", blob.size, self.limits.blob_bytes)?;
        if self.blobs_seen.insert((blob.digest.clone(), blob.size)) {
            self.report.parts += 1;
            self.report.size_bytes += blob.size;
            self.blobs.push((part, blob));
        }
        self.check("layers and configs", self.blobs.len() as u64, self.limits.blobs as u64)
    }

    fn found(&mut self, part: Part, damage: Damage) {
        self.report.findings.push(Finding { part, damage });
    }

    fn check(&self, what: &str, number: u64, limit: u64) -> Result<(), CopyError> {
        CopyError::check(self.image, what, number, limit).map_err(CopyError::at_target)
    }
}

/// What a manifest names, for its parent's platform unless it has one of its own.
fn below(parent: &Part, descriptor: &Descriptor, kind: PartKind) -> Part {
    let digest = descriptor.digest.clone();
    Part { digest, kind, parent: Some(parent.digest.clone()), platform: parent.platform.clone() }
}

/// What is wrong where a manifest has the right bytes, and its parent says otherwise of them:
/// a runtime that compares refuses it.
fn disagreement(found: &Descriptor, stated: &Descriptor) -> Option<Damage> {
    let wrong_type = (found.media_type != stated.media_type).then(|| Damage::Unreadable {
        reason: format!("it is {} and its index says {}", found.media_type, stated.media_type),
    });
    by_length(found.size, stated.size).or(wrong_type)
}
