//! What the registry holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use protocol::Digest;
use serde_json::Value;

use crate::content::Content;

#[derive(Default)]
pub(super) struct Store {
    pub(super) repositories: BTreeMap<String, Holding>,
    pub(super) uploads: HashSet<u64>,
    next_upload: u64,
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
        self.uploads.insert(self.next_upload);
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

    /// A digest that a manifest names and that is not here.
    #[must_use]
    pub fn missing(&self, manifest: &Value) -> Option<String> {
        let digest = |descriptor: &Value| descriptor["digest"].as_str().map(ToOwned::to_owned);
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let lacks_manifest = |named: &String| {
            named.parse().is_ok_and(|digest: Digest| !self.manifests.contains_key(&digest))
        };
        let lacks_blob = |named: &String| {
            named.parse().is_ok_and(|digest: Digest| !self.blobs.contains_key(&digest))
        };
        let child = list("manifests").iter().filter_map(digest).find(lacks_manifest);
        let mut blobs = list("layers");
        blobs.extend(list("blobs"));
        blobs.push(manifest["config"].clone());
        child.or_else(|| blobs.iter().filter_map(digest).find(lacks_blob))
    }
}
