//! What the registry holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use protocol::Digest;
use serde_json::{Value, json};

use crate::content::Content;

#[derive(Default)]
pub(super) struct Store {
    pub(super) repositories: BTreeMap<String, Holding>,
    /// Those that were created, where that has to be done first.
    pub(super) created: HashSet<String>,
    pub(super) uploads: HashMap<u64, Upload>,
    next_upload: u64,
}

/// What came of a blob so far.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) context: Context,
    pub(super) kept: BytesMut,
    pub(super) size: u64,
    /// A chunk was smaller than the registry wants: only the last one may be.
    pub(super) short: bool,
}

impl Upload {
    /// Takes a piece in. What exceeds `kept_up_to` bytes is hashed alone.
    pub(super) fn add(&mut self, piece: &Bytes, kept_up_to: u64) {
        self.context.update(piece);
        self.size += piece.len() as u64;
        if self.size <= kept_up_to {
            self.kept.extend_from_slice(piece);
        } else {
            self.kept = BytesMut::new();
        }
    }
}

/// What one repository holds.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    /// The blobs, by the digest under which they were accepted.
    pub blobs: HashMap<Digest, Content>,
    /// The manifests with their media types.
    pub manifests: HashMap<Digest, (String, Bytes)>,
    /// What the tags name.
    pub tags: BTreeMap<String, Digest>,
}

impl Store {
    pub(super) fn repository(&mut self, name: &str) -> &mut Holding {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn open_upload(&mut self) -> u64 {
        self.next_upload += 1;
        let upload =
            Upload { context: Context::new(&SHA256), kept: BytesMut::new(), size: 0, short: false };
        self.uploads.insert(self.next_upload, upload);
        self.next_upload
    }
}

impl Holding {
    /// A manifest by tag or digest.
    pub(super) fn manifest(&self, reference: &str) -> Option<(Digest, (String, Bytes))> {
        let digest = self.tags.get(reference).cloned().or_else(|| reference.parse().ok())?;
        let manifest = self.manifests.get(&digest)?.clone();
        Some((digest, manifest))
    }

    /// Descriptors of the manifests that have this subject, in the order of their digests.
    pub(super) fn referrers(&self, subject: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for (digest, (media_type, bytes)) in &self.manifests {
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if manifest["subject"]["digest"] != subject {
                continue;
            }
            let own = &manifest["artifactType"];
            let kind = if own.is_string() { own } else { &manifest["config"]["mediaType"] };
            found.push(json!({
                "mediaType": media_type,
                "digest": digest.to_string(),
                "size": bytes.len(),
                "artifactType": kind,
                "annotations": manifest["annotations"],
            }));
        }
        found.sort_by_key(|descriptor| descriptor["digest"].to_string());
        found
    }

    /// A digest that a manifest names and that is not here. A sparse one may lack manifests and
    /// foreign layers.
    #[must_use]
    pub fn missing(&self, manifest: &Value, sparse: bool) -> Option<String> {
        let digest = |descriptor: &Value| descriptor["digest"].as_str().map(ToOwned::to_owned);
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let lacks_manifest = |named: &String| self.lacks_manifest(named);
        let lacks_blob = |named: &String| {
            named.parse().is_ok_and(|digest: Digest| !self.blobs.contains_key(&digest))
        };
        let children = if sparse { Vec::new() } else { list("manifests") };
        let child = children.iter().filter_map(digest).find(lacks_manifest);
        let mut blobs = list("layers");
        blobs.retain(|layer| !(sparse && layer["urls"].is_array()));
        blobs.extend(list("blobs"));
        blobs.push(manifest["config"].clone());
        child.or_else(|| blobs.iter().filter_map(digest).find(lacks_blob))
    }

    /// Whether a manifest refers to one that is not here.
    #[must_use]
    pub fn lacks_subject(&self, manifest: &Value) -> bool {
        manifest["subject"]["digest"].as_str().is_some_and(|named| self.lacks_manifest(named))
    }

    fn lacks_manifest(&self, named: &str) -> bool {
        named.parse().is_ok_and(|digest: Digest| !self.manifests.contains_key(&digest))
    }
}
