//! Descriptors and media types (OCI image-spec, "Content Descriptors"), and what a manifest is
//! asked by. Strings of a registry become these types here, or an error.

use std::fmt;
use std::str::FromStr;

use protocol::{Digest, Tag};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_MEDIA_TYPE_LENGTH;

/// A media type in lower case and without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MediaType(String);

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a manifest may come as: `Accept` of every request for one.
pub(crate) const ACCEPTED_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

impl MediaType {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An index of manifests: OCI's, or Docker's manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// A manifest with config and layers, or an artifact's with blobs.
    pub fn is_image(&self) -> bool {
        matches!(self.as_str(), OCI_MANIFEST | DOCKER_MANIFEST | OCI_ARTIFACT)
    }

    /// Docker's first schema, whose digest does not cover its bytes.
    pub fn is_schema1(&self) -> bool {
        matches!(self.as_str(), DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }

    /// A layer that its owner keeps from being pushed (image-spec, "Non-Distributable Layers").
    pub fn is_foreign_layer(&self) -> bool {
        self.0.contains(".layer.nondistributable.") || self.0.contains(".rootfs.foreign.")
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let illegal = || MediaTypeError(text.chars().take(MAX_MEDIA_TYPE_LENGTH).collect());
        let bare = text.split(';').next().unwrap_or_default().trim();
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match bare.split_once('/') {
            Some((kind, name))
                if bare.len() <= MAX_MEDIA_TYPE_LENGTH && is_name(kind) && is_name(name) =>
            {
                Ok(Self(bare.to_ascii_lowercase()))
            }
            _ => Err(illegal()),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.0
    }
}

impl TryFrom<String> for MediaType {
    type Error = MediaTypeError;

    fn try_from(text: String) -> Result<Self, MediaTypeError> {
        text.parse()
    }
}

/// Not a media type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a media type")]
pub struct MediaTypeError(String);

/// What a piece of content is, by which digest it goes, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: MediaType,
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
}

/// What a manifest is asked by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManifestRef {
    /// The one that the tag names now.
    Tag(Tag),
    /// The one with these bytes.
    Digest(Digest),
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_loses_parameters_and_case() {
        let parsed: MediaType =
            "Application/vnd.OCI.image.index.v1+json; charset=utf-8".parse().unwrap();
        assert_eq!(parsed.as_str(), OCI_INDEX);
        assert!(parsed.is_index());
    }

    #[test]
    fn nonsense_is_no_media_type() {
        for text in
            ["", "json", "a/", "/b", "a/b c", "a/b\r\nX: y", &format!("a/{}", "b".repeat(300))]
        {
            assert!(text.parse::<MediaType>().is_err(), "{text}");
        }
    }
}
