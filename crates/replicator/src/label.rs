//! A label: the name of a rule or of credentials, for messages, records and other keys.

use std::fmt;
use std::sync::Arc;

use protocol::Namespace;
use serde::Deserialize;

/// A word of 1 to 63 lower-case letters, digits and hyphens, as a namespace has it: legal in a
/// metric, a log line and a path. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Label(Arc<str>);

impl Label {
    /// The word.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        match text.parse::<Namespace>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(LabelError(text.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a name: 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"
)]
pub(crate) struct LabelError(String);
