//! The source's manifests, read from the root down to the blobs that they name. All by digest,
//! all verified, none changed.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{Digest, ImageReference};
use registry::{Client, Descriptor, ErrorKind, ManifestRef};

use crate::error::CopyError;
use crate::limits::Limits;
use crate::manifest;
use crate::platform::Platform;
use crate::scope::{self, ForeignLayers, LeftOut, Scope};

/// What a blob is for. The engine moves both alike; people count layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Config,
    Layer,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) descriptor: Descriptor,
    pub(crate) role: Role,
    /// The bytes, verified, where the manifest brings them along.
    pub(crate) data: Option<Bytes>,
    /// Where else its owner has it: of foreign layers.
    pub(crate) urls: Vec<String>,
}

impl Blob {
    /// A blob that is where the manifest is, and nowhere else.
    pub(crate) fn plain(descriptor: Descriptor) -> Self {
        Self { descriptor, role: Role::Layer, data: None, urls: Vec::new() }
    }
}

/// A manifest that was read.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Bytes,
    /// Those that travel.
    pub(crate) children: Vec<Digest>,
    /// The manifest that it refers to, whether that travels or not.
    pub(crate) subject: Option<Digest>,
    /// What it names and does not travel.
    pub(crate) left_out: Option<LeftOut>,
}

/// An image, as much of it as is in scope.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Children before parents, subjects before what refers to them, each once, the root last.
    /// There is always a root.
    pub(crate) manifests: Vec<Manifest>,
    /// Each once.
    pub(crate) blobs: Vec<Blob>,
    /// What its indexes say that the manifests are for.
    pub(crate) platforms: BTreeSet<Platform>,
}

impl Graph {
    /// The manifest that all others are named by.
    pub(crate) fn root(&self) -> &Manifest {
        self.manifests.last().expect("a graph is read from its root")
    }

    /// All but the root, in groups to be written one after the other: what a manifest names is in
    /// an earlier group than itself. Its subject as well, which a registry has no right to wait
    /// for (distribution-spec, "Pushing Manifests with Subject") and some do.
    pub(crate) fn below_root(&self) -> Vec<Vec<&Manifest>> {
        let mut groups: Vec<Vec<&Manifest>> = Vec::new();
        let mut group_of = HashMap::new();
        let below = self.manifests.split_last().map_or(&[][..], |(_, below)| below);
        for manifest in below {
            let named = manifest.children.iter().chain(&manifest.subject);
            let after = named.filter_map(|digest| group_of.get(digest)).max();
            let group = after.map_or(0, |group: &usize| group + 1);
            group_of.insert(&manifest.descriptor.digest, group);
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(manifest);
        }
        groups
    }

    /// Bytes of all that the image is made of.
    pub(crate) fn size_bytes(&self) -> u64 {
        let blobs = self.blobs.iter().map(|blob| blob.descriptor.size);
        blobs.chain(self.manifests.iter().map(|manifest| manifest.descriptor.size)).sum()
    }

    /// Reads what is in scope of the image with this digest, level by level.
    pub(crate) async fn read(
        client: &Client,
        source: &ImageReference,
        root: &Digest,
        scope: &Scope,
        limits: &Limits,
    ) -> Result<Self, CopyError> {
        let mut reading = Reading::new(source, scope, limits);
        let mut level = vec![Wanted { digest: root.clone(), stated: None }];
        for _ in 0..limits.depth {
            let fetched = stream::iter(level).map(|wanted| fetch(client, source, wanted));
            let fetched: Vec<_> =
                fetched.buffer_unordered(limits.manifests_at_once).try_collect().await?;
            level = Vec::new();
            for (descriptor, bytes) in fetched {
                level.extend(reading.add(descriptor, bytes)?);
            }
            if level.is_empty() {
                reading.check_platforms()?;
                let graph = reading.finish(root);
                CopyError::check(source, "bytes in all", graph.size_bytes(), limits.image_bytes)?;
                return Ok(graph);
            }
        }
        let message = format!("its indexes are nested deeper than {} levels", limits.depth);
        Err(CopyError::found(source, ErrorKind::TooLarge, message))
    }
}

/// A manifest to read, and what its parent says of it.
struct Wanted {
    digest: Digest,
    stated: Option<Descriptor>,
}

async fn fetch(
    client: &Client,
    source: &ImageReference,
    wanted: Wanted,
) -> Result<(Descriptor, Bytes), CopyError> {
    let by_digest = ManifestRef::Digest(wanted.digest.clone());
    let (descriptor, bytes) = client
        .manifest(source.registry(), source.repository(), &by_digest)
        .await
        .map_err(|error| match wanted.stated {
            // The root goes by the image's own name.
            None => CopyError::source(source, error),
            Some(_) => CopyError::source(source, error).with_part(&wanted.digest),
        })?;
    match wanted.stated {
        Some(stated) if stated != descriptor => {
            let message = format!(
                "{} should be {} of {} bytes and is {} of {}",
                wanted.digest,
                stated.media_type,
                stated.size,
                descriptor.media_type,
                descriptor.size
            );
            Err(CopyError::found(source, ErrorKind::Malformed, message))
        }
        _ => Ok((descriptor, bytes)),
    }
}

/// What has been read so far.
struct Reading<'a> {
    source: &'a ImageReference,
    scope: &'a Scope,
    limits: &'a Limits,
    /// What its indexes say that they have.
    platforms: BTreeSet<Platform>,
    /// Of these, what travels.
    chosen: BTreeSet<Platform>,
    manifests: HashMap<Digest, Manifest>,
    seen: HashSet<Digest>,
    manifest_bytes: u64,
    blobs: Vec<Blob>,
    blob_at: HashMap<Digest, usize>,
}

impl<'a> Reading<'a> {
    fn new(source: &'a ImageReference, scope: &'a Scope, limits: &'a Limits) -> Self {
        Self {
            source,
            scope,
            limits,
            platforms: BTreeSet::new(),
            chosen: BTreeSet::new(),
            manifests: HashMap::new(),
            seen: HashSet::new(),
            manifest_bytes: 0,
            blobs: Vec::new(),
            blob_at: HashMap::new(),
        }
    }

    /// Takes a manifest in, and tells which new ones it names.
    fn add(&mut self, descriptor: Descriptor, bytes: Bytes) -> Result<Vec<Wanted>, CopyError> {
        let named = manifest::read(&descriptor.media_type, &bytes)
            .map_err(|flaw| CopyError::found(self.source, flaw.kind, flaw.message))?;
        self.manifest_bytes += bytes.len() as u64;
        let mut left_out = None;
        for blob in named.blobs {
            if !self.add_blob(blob)? {
                left_out = Some(LeftOut::ForeignLayers);
            }
        }
        self.platforms.extend(named.manifests.iter().filter_map(|child| child.platform.clone()));
        let all = named.manifests.len();
        let chosen = self.scope.choose(named.manifests);
        self.chosen.extend(chosen.iter().filter_map(|child| child.platform.clone()));
        if chosen.len() < all {
            left_out = Some(LeftOut::Platforms);
        }
        let children = chosen.iter().map(|child| child.descriptor.digest.clone()).collect();
        let (digest, subject) = (descriptor.digest.clone(), named.subject);
        self.seen.insert(digest.clone());
        let manifest = Manifest { descriptor, bytes, children, subject, left_out };
        self.manifests.insert(digest, manifest);
        let mut wanted = Vec::new();
        for child in chosen.into_iter().map(|child| child.descriptor) {
            if self.seen.insert(child.digest.clone()) {
                wanted.push(Wanted { digest: child.digest.clone(), stated: Some(child) });
            }
        }
        let limits = self.limits;
        self.check("manifests", self.seen.len() as u64, limits.manifests as u64)?;
        self.check("bytes of manifests", self.manifest_bytes, limits.manifest_bytes)?;
        Ok(wanted)
    }

    /// Takes a blob in; tells whether it travels.
    fn add_blob(&mut self, mut blob: Blob) -> Result<bool, CopyError> {
        let digest = blob.descriptor.digest.clone();
        match (blob.descriptor.media_type.is_foreign_layer(), self.scope.foreign_layers) {
            // Where else there is a copy of what the source hands out is nobody's matter.
            (false, _) => blob.urls.clear(),
            (true, ForeignLayers::Fetch) => {}
            (true, ForeignLayers::Skip) => {
                tracing::info!(source = %self.source, layer = %digest, "a foreign layer is skipped");
                return Ok(false);
            }
            (true, ForeignLayers::Refuse) => {
                let message = format!(
                    "its layer {digest} is foreign ({}): its owner does not allow it to be pushed; \
                     foreign layers can be skipped, or fetched with their owner's leave",
                    blob.descriptor.media_type
                );
                return Err(CopyError::found(self.source, ErrorKind::Unsupported, message));
            }
        }
        self.check("bytes in one layer", blob.descriptor.size, self.limits.blob_bytes)?;
        match self.blob_at.get(&digest).map(|at| &mut self.blobs[*at]) {
            Some(known) if known.descriptor.size != blob.descriptor.size => {
                let message = format!("its manifests disagree about the size of {digest}");
                return Err(CopyError::found(self.source, ErrorKind::Malformed, message));
            }
            // The empty JSON of artifacts is config and layer at once.
            Some(known) => {
                if blob.role == Role::Layer {
                    known.role = Role::Layer;
                }
                known.data = known.data.take().or(blob.data);
            }
            None => {
                self.blob_at.insert(digest, self.blobs.len());
                self.blobs.push(blob);
            }
        }
        self.check("layers and configs", self.blobs.len() as u64, self.limits.blobs as u64)?;
        Ok(true)
    }

    fn check(&self, what: &str, number: u64, limit: u64) -> Result<(), CopyError> {
        CopyError::check(self.source, what, number, limit)
    }

    /// Some of the wanted platforms are there, or the image has no platforms to choose from.
    fn check_platforms(&self) -> Result<(), CopyError> {
        let wanted = &self.scope.platforms;
        if wanted.is_empty() {
            return Ok(());
        }
        if self.platforms.is_empty() {
            tracing::debug!(source = %self.source, "there are no platforms to choose from");
            return Ok(());
        }
        let is_there = |wanted: &&Platform| self.platforms.iter().any(|one| wanted.covers(one));
        let absent: Vec<_> = wanted.iter().filter(|wanted| !is_there(wanted)).collect();
        let (there, list) = (scope::list(&self.platforms), scope::list(wanted));
        if absent.len() == wanted.len() {
            let message = format!("it is not there for {list}, only for {there}");
            return Err(CopyError::found(self.source, ErrorKind::Unsupported, message));
        }
        if !absent.is_empty() {
            let absent = scope::list(absent);
            tracing::warn!(source = %self.source, absent, there, "not all wanted platforms are there");
        }
        Ok(())
    }

    /// The graph in the order in which it can be written.
    fn finish(mut self, root: &Digest) -> Graph {
        let mut ordered = Vec::with_capacity(self.manifests.len());
        // A child's digest is part of its parent's bytes, and a subject's of its referrer's, so
        // there is no cycle; the recursion is no deeper than the limit on manifests.
        take_in_order(&mut self.manifests, root, &mut ordered);
        Graph { manifests: ordered, blobs: self.blobs, platforms: self.chosen }
    }
}

fn take_in_order(from: &mut HashMap<Digest, Manifest>, digest: &Digest, into: &mut Vec<Manifest>) {
    // One that is not there any more was named twice, and stands in the list already.
    let Some(manifest) = from.remove(digest) else { return };
    for named in manifest.children.iter().chain(&manifest.subject) {
        take_in_order(from, named, into);
    }
    into.push(manifest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Image;

    fn graph(images: &[&Image], root: &Image) -> Graph {
        let source: ImageReference = "r.example/a:1".parse().unwrap();
        let limits = Limits::default();
        let scope = Scope::default();
        let mut reading = Reading::new(&source, &scope, &limits);
        for image in images {
            let descriptor = Descriptor {
                media_type: image.media_type.parse().unwrap(),
                digest: image.digest.clone(),
                size: image.manifest.len() as u64,
            };
            reading.add(descriptor, image.manifest.clone()).unwrap();
        }
        reading.finish(&root.digest)
    }

    #[test]
    fn children_stand_before_parents_even_where_levels_are_mixed() {
        let leaf = Image::new(&[b"a"]);
        let inner = Image::index(&[("linux/arm64", leaf.clone())]);
        let root = Image::index(&[("linux/amd64", leaf.clone()), ("linux/arm64", inner.clone())]);
        let order: Vec<_> = graph(&[&root, &leaf, &inner], &root)
            .manifests
            .into_iter()
            .map(|manifest| manifest.descriptor.digest)
            .collect();
        assert_eq!(order, [leaf.digest, inner.digest, root.digest]);
    }

    #[test]
    fn a_shared_blob_is_there_once() {
        let (one, two) = (Image::new(&[b"base", b"1"]), Image::new(&[b"base", b"2"]));
        let root = Image::index(&[("linux/amd64", one.clone()), ("linux/arm64", two.clone())]);
        let graph = graph(&[&root, &one, &two], &root);
        assert_eq!(graph.blobs.len(), 5);
        assert!(graph.size_bytes() > 0);
    }
}
