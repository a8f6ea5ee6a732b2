//! The refusal: the replicator's answer "not yet" or "not at all", with the reason.
//!
//! A Kubewarden host hands the guest nothing of an error answer but text, and keeps the body
//! whole only if it is *not* a standard OCI error. So a refusal is one line of JSON that begins
//! with a mark, and [`Refusal::find`] looks for the mark in whatever text wraps it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// What each refusal begins with; the version follows.
const MARK: &str = "{\"imageReplicatorRefusal\":";

/// The version that this side writes and reads.
const VERSION: u32 = 1;

/// The longest refusal that is read, and how much text is searched for one. The host repeats
/// the body in its error, so there is room for two.
pub const MAX_REFUSAL_BYTES: usize = 16 * 1024;
const MAX_SEARCHED_BYTES: usize = 4 * MAX_REFUSAL_BYTES;

/// The kind of a refusal: what a program decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The copy is under way, or waits for its turn.
    Pending,
    /// The source says that there is no such image.
    NotFound,
    /// A rule of the replicator says no, or the source to who asks.
    Denied,
    /// The copy failed; the message tells why, and whether it will be tried again.
    Failed,
    /// More is asked than the replicator takes on.
    TooMany,
    /// The replicator cannot say at the moment.
    Unavailable,
    /// The question is none that the replicator understands.
    Malformed,
    /// A code of a later release.
    #[serde(other)]
    Unknown,
}

impl RefusalCode {
    /// The word on the wire, and in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::TooMany => "too-many",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }

    /// The inverse of [`RefusalCode::as_str`]; a word of a later release is [`Self::Unknown`].
    pub fn parse(word: &str) -> Self {
        [
            Self::Pending,
            Self::NotFound,
            Self::Denied,
            Self::Failed,
            Self::TooMany,
            Self::Unavailable,
            Self::Malformed,
        ]
        .into_iter()
        .find(|code| code.as_str() == word)
        .unwrap_or(Self::Unknown)
    }

    /// The HTTP status that carries it. Never 401 or 202, whose bodies the host drops.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Pending => 409,
            Self::NotFound => 404,
            Self::Denied => 403,
            Self::Failed | Self::Unknown => 424,
            Self::TooMany => 429,
            Self::Unavailable => 503,
            Self::Malformed => 400,
        }
    }
}

/// Where something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The registry that the image comes from.
    Source,
    /// The registry that holds the replicas.
    Target,
    /// The replicator itself.
    Replicator,
}

impl Side {
    /// The word on the wire, and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Replicator => "replicator",
        }
    }

    /// The inverse of [`Side::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Source, Self::Target, Self::Replicator]
            .into_iter()
            .find(|side| side.as_str() == word)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no replica to run from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    #[serde(rename = "imageReplicatorRefusal")]
    version: u32,
    /// The kind.
    pub code: RefusalCode,
    /// The image that was asked about, in canonical form. A text, since a question that could
    /// not be read has none: it is empty then.
    pub source: String,
    /// For people: what failed, on which side, and what to do.
    pub message: String,
    /// Where it went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// How far the copy is, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Seconds after which asking again can bring another answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// A refusal with a code, the image it is about, and words for people.
    pub fn new(code: RefusalCode, source: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            code,
            source: source.into(),
            message: message.into(),
            side: None,
            progress: None,
            retry_after_s: None,
        }
    }

    /// The same, with the side where it went wrong.
    #[must_use]
    pub fn at(self, side: Side) -> Self {
        Self { side: Some(side), ..self }
    }

    /// The same, with how far the copy is, if one runs.
    #[must_use]
    pub fn with_progress(self, progress: Option<Progress>) -> Self {
        Self { progress, ..self }
    }

    /// The same, with the time after which to ask again, if there is one; rounded up to seconds.
    #[must_use]
    pub fn with_retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after_s: wait.map(|wait| wait.as_millis().div_ceil(1000) as u64), ..self }
    }

    /// The body of an error answer: one line.
    pub fn to_json(&self) -> String {
        // Strings and integers alone: serialising them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The first refusal in a host's error text; None where there is none, or none that this
    /// side can read.
    pub fn find(text: &str) -> Option<Self> {
        let mut end = text.len().min(MAX_SEARCHED_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        text.match_indices(MARK).find_map(|(at, _)| {
            let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Self>();
            let refusal = values.next()?.ok()?;
            (refusal.version == VERSION && values.byte_offset() <= MAX_REFUSAL_BYTES)
                .then_some(refusal)
        })
    }
}

#[cfg(test)]
mod tests;
