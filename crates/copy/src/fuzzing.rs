//! Doors for the fuzz targets (`fuzz/`) to what reads strangers' manifests and is private
//! otherwise. No part of the API.

use protocol::Digest;
use registry::{Descriptor, MediaType};
use serde_json::Value;

use crate::manifest::{as_referrer, read};

/// What a manifest of a media type names: manifests first, then blobs. Or what is wrong with it,
/// in words.
pub fn edges(media_type: &MediaType, bytes: &[u8]) -> Result<Vec<Descriptor>, String> {
    let named = read(media_type, bytes).map_err(|flaw| flaw.message)?;
    let manifests = named.manifests.into_iter().map(|child| child.descriptor);
    Ok(manifests.chain(named.blobs.into_iter().map(|blob| blob.descriptor)).collect())
}

/// The subject of a manifest, and its entry in a list of referrers.
pub fn referrer(descriptor: &Descriptor, bytes: &[u8]) -> Option<(Digest, Value)> {
    as_referrer(descriptor, bytes)
}
