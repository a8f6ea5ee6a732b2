//! Patterns of namespaces, as rules name them: a name, in which `*` is any run of characters.

use std::fmt;
use std::str::FromStr;

use protocol::Namespace;
use protocol::pattern::matches_text;
use serde::Deserialize;

/// As long as a namespace's name may be, and no longer: what is longer fits none.
const MAX_PATTERN_BYTES: usize = 63;

/// A set of namespaces: `shop`, `team-*`, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct NamespacePattern(String);

impl NamespacePattern {
    /// Whether `namespace` is in the set.
    pub(crate) fn matches(&self, namespace: &Namespace) -> bool {
        matches_text(&self.0, namespace.as_str())
    }
}

impl FromStr for NamespacePattern {
    type Err = NamespacePatternError;

    fn from_str(text: &str) -> Result<Self, NamespacePatternError> {
        let is_legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
        let fits = (1..=MAX_PATTERN_BYTES).contains(&text.len()) && text.bytes().all(is_legal);
        let error = || NamespacePatternError(text.chars().take(MAX_PATTERN_BYTES).collect());
        fits.then(|| Self(text.to_owned())).ok_or_else(error)
    }
}

impl TryFrom<String> for NamespacePattern {
    type Error = NamespacePatternError;

    fn try_from(text: String) -> Result<Self, NamespacePatternError> {
        text.parse()
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no pattern of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no namespaces: 63 lower-case letters, digits, '-' and `*` at most")]
pub(crate) struct NamespacePatternError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_the_whole_name() {
        let matches = |pattern: &str, name: &str| {
            pattern.parse::<NamespacePattern>().unwrap().matches(&name.parse().unwrap())
        };
        assert!(matches("shop", "shop") && matches("team-*", "team-a") && matches("*", "shop"));
        assert!(matches("*-dev-*", "a-dev-1"));
        assert!(!matches("shop", "shop2") && !matches("shop", "my-shop"));
        assert!(!matches("team-*", "team") && !matches("team-*", "a-team-b"));
    }

    #[test]
    fn what_no_namespace_can_be_called_is_no_pattern() {
        for text in ["", "Shop", "a/b", "a.b", "a b", "é", &"a".repeat(64)] {
            assert!(text.parse::<NamespacePattern>().is_err(), "{text}");
        }
    }
}
