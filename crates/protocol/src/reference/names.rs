//! Repositories and tags (distribution-spec, "Pulling manifests": `<name>` and `<reference>`).

use std::fmt;
use std::str::FromStr;

use super::ReferenceError;

/// The longest repository that the distribution-spec lets a client count on.
pub(crate) const MAX_REPOSITORY_LENGTH: usize = 255;

/// The longest tag of the distribution-spec.
pub(crate) const MAX_TAG_LENGTH: usize = 128;

/// A repository: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` components divided by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Puts a repository of one component into `parent`; leaves any other as it is. A name that
    /// would become too long stays, too: no registry has it.
    pub(super) fn within(self, parent: &str) -> Self {
        let nested = !self.0.contains('/') && parent.len() + self.0.len() < MAX_REPOSITORY_LENGTH;
        if nested { Self(format!("{parent}/{}", self.0)) } else { self }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() <= MAX_REPOSITORY_LENGTH && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Repository(text.to_owned()))
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is one legal component of a repository.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    // What stands between two runs of letters and digits must be a legal separator.
    bytes
        .split(|byte| is_word(*byte))
        .filter(|between| !between.is_empty())
        .all(|between| matches!(between, b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-'))
}

/// A tag: `[\w][\w.-]{0,127}`, in ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let legal = text.len() <= MAX_TAG_LENGTH
            && bytes.next().is_some_and(is_word)
            && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
        if legal { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Tag(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
