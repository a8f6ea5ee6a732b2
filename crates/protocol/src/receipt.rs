//! The receipt: the replicator's answer "this is where the replica is, or will be".
//!
//! An OCI index without manifests, since that is what a Kubewarden host lets through whole:
//! of an answer it keeps `mediaType`, `artifactType` and annotations that are strings.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::progress::Progress;
use crate::reference::{Digest, ImageReference};

/// The receipt's media type: it travels as an OCI index.
pub const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// What tells a receipt from any other index.
pub const ARTIFACT_TYPE: &str = "application/vnd.image-replicator.receipt.v1+json";

/// The longest receipt that is read. A legal one, with the longest names, has under 4 KiB.
pub const MAX_RECEIPT_BYTES: usize = 16 * 1024;

const VERSION: &str = "1";
const KEY_VERSION: &str = "io.image-replicator.version";
const KEY_SOURCE: &str = "io.image-replicator.source";
const KEY_TARGET: &str = "io.image-replicator.target";
const KEY_DIGEST: &str = "io.image-replicator.digest";
const KEY_STATE: &str = "io.image-replicator.state";
const KEY_PROGRESS: &str = "io.image-replicator.progress";
const KEY_AGE: &str = "io.image-replicator.age-s";

/// What is known of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Nothing was started; this is where it would go.
    Planned,
    /// It is being copied, or waits for its turn.
    Copying,
    /// It is whole at the target and current.
    Present,
    /// It is whole at the target; whether the source has moved on could not be told lately.
    Stale,
}

impl ReplicaState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Copying => "copying",
            Self::Present => "present",
            Self::Stale => "stale",
        }
    }

    /// Whether a pod can run from the replica now.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Present | Self::Stale)
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReplicaState {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Self, ReceiptError> {
        match text {
            "planned" => Ok(Self::Planned),
            "copying" => Ok(Self::Copying),
            "present" => Ok(Self::Present),
            "stale" => Ok(Self::Stale),
            _ => Err(ReceiptError::Value { key: KEY_STATE }),
        }
    }
}

/// What the replicator says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The image that was asked about.
    pub source: ImageReference,
    /// Where its replica is, or will be.
    pub target: ImageReference,
    /// The digest of the replica's manifest, once known.
    pub digest: Option<Digest>,
    /// What is known of it.
    pub state: ReplicaState,
    /// How far the copy is, while one runs.
    pub progress: Option<Progress>,
    /// Seconds since the source last confirmed what the replica holds, where that matters.
    pub age_s: Option<u64>,
}

/// The wire form; fields that are not ours to check are not named.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    schema_version: u8,
    #[serde(borrow)]
    media_type: Option<Text<'a>>,
    artifact_type: Option<Text<'a>>,
    manifests: Vec<serde_json::Value>,
    annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

/// A text, read without a copy where no escape is in it: a receipt is read for each image of a
/// pod, while somebody waits.
#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a, T: Into<Cow<'a, str>>> From<T> for Text<'a> {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Receipt {
    /// The receipt as the body of a manifest.
    pub fn to_json(&self) -> String {
        let mut annotations: BTreeMap<Text<'_>, Text<'_>> = BTreeMap::from([
            (KEY_VERSION.into(), VERSION.into()),
            (KEY_SOURCE.into(), self.source.to_string().into()),
            (KEY_TARGET.into(), self.target.to_string().into()),
            (KEY_STATE.into(), self.state.as_str().into()),
        ]);
        let mut put = |key: &'static str, value: Option<String>| {
            if let Some(value) = value {
                annotations.insert(key.into(), value.into());
            }
        };
        put(KEY_DIGEST, self.digest.as_ref().map(Digest::to_string));
        put(KEY_AGE, self.age_s.map(|age| age.to_string()));
        put(
            KEY_PROGRESS,
            self.progress.map(|progress| {
                // Four integers: serde_json has no way to fail on them.
                serde_json::to_string(&progress).unwrap_or_default()
            }),
        );
        let wire = Wire {
            schema_version: 2,
            media_type: Some(MEDIA_TYPE.into()),
            artifact_type: Some(ARTIFACT_TYPE.into()),
            manifests: Vec::new(),
            annotations: Some(annotations),
        };
        // Strings and string maps alone: serialising them cannot fail.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a receipt out of what a host hands on.
    pub fn from_json(body: &[u8]) -> Result<Self, ReceiptError> {
        if body.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge { bytes: body.len() });
        }
        let wire: Wire<'_> =
            serde_json::from_slice(body).map_err(|error| ReceiptError::Json(error.to_string()))?;
        let artifact_type = wire.artifact_type.map(|text| text.0).unwrap_or_default();
        if artifact_type != ARTIFACT_TYPE {
            return Err(ReceiptError::ArtifactType(artifact_type.into_owned()));
        }
        let annotations = wire.annotations.unwrap_or_default();
        let optional = |key: &'static str| annotations.get(key).map(|text| &*text.0);
        let required = |key: &'static str| optional(key).ok_or(ReceiptError::Missing { key });
        let version = required(KEY_VERSION)?;
        if version != VERSION {
            return Err(ReceiptError::Version(version.chars().take(32).collect()));
        }
        Ok(Self {
            source: read(KEY_SOURCE, required(KEY_SOURCE)?)?,
            target: read(KEY_TARGET, required(KEY_TARGET)?)?,
            digest: optional(KEY_DIGEST).map(|text| read(KEY_DIGEST, text)).transpose()?,
            state: required(KEY_STATE)?.parse()?,
            progress: optional(KEY_PROGRESS)
                .map(serde_json::from_str)
                .transpose()
                .map_err(|_| ReceiptError::Value { key: KEY_PROGRESS })?,
            age_s: optional(KEY_AGE).map(|text| read(KEY_AGE, text)).transpose()?,
        })
    }
}

fn read<T: FromStr>(key: &'static str, text: &str) -> Result<T, ReceiptError> {
    text.parse().map_err(|_| ReceiptError::Value { key })
}

/// Why an answer is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Larger than any receipt.
    #[error("the answer has {bytes} bytes, a receipt has at most {MAX_RECEIPT_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the JSON of an index.
    #[error("the answer is not the JSON of a receipt: {0}")]
    Json(String),
    /// Some other manifest.
    #[error(
        "the answer's artifact type is '{0}', not a receipt's: the address in 'replicator' is some other registry"
    )]
    ArtifactType(String),
    /// Another version.
    #[error(
        "the receipt has version '{0}', this policy reads '{VERSION}': policy and replicator are of different releases"
    )]
    Version(String),
    /// A needed annotation is not there.
    #[error("the receipt lacks {key}")]
    Missing {
        /// The annotation.
        key: &'static str,
    },
    /// An annotation's value is not legal.
    #[error("the receipt's {key} is not legal")]
    Value {
        /// The annotation.
        key: &'static str,
    },
}

#[cfg(test)]
mod tests;
