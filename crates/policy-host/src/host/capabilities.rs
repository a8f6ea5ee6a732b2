//! Which host calls a policy may make: a list of patterns, checked when read, asked at every call.
//!
//! Pure; knows nothing of how a call is answered.

use std::fmt;

/// Every call a host knows, as `namespace/operation`. A pattern must match one of these.
const KNOWN: [&str; 11] = [
    "crypto/v1/is_certificate_trusted",
    "kubernetes/can_i",
    "kubernetes/get_resource",
    "kubernetes/list_resources_all",
    "kubernetes/list_resources_by_namespace",
    "net/v1/dns_lookup_host",
    "oci/v1/manifest_digest",
    "oci/v1/oci_manifest",
    "oci/v1/oci_manifest_config",
    "oci/v1/verify",
    "oci/v2/verify",
];

/// The host calls a policy has been granted. The default grants none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    granted: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Grant {
    All,
    /// Ends in `/`.
    Under(String),
    Exactly(String),
}

impl Capabilities {
    /// Grants every host call.
    pub fn all() -> Self {
        Self { granted: vec![Grant::All] }
    }

    /// Reads patterns: `*`, a prefix that ends in `/*`, or a call's whole name.
    pub fn from_patterns<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PatternError> {
        let granted = patterns
            .into_iter()
            .map(|pattern| Grant::parse(pattern.as_ref().trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { granted })
    }

    /// Whether the call `namespace/operation` is granted.
    pub fn allow(&self, path: &str) -> bool {
        self.granted.iter().any(|grant| match grant {
            Grant::All => true,
            Grant::Under(prefix) => path.starts_with(prefix.as_str()),
            Grant::Exactly(name) => path == name,
        })
    }
}

impl Grant {
    fn parse(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        if pattern == "*" {
            return Ok(Self::All);
        }
        let has_calls_under = |prefix: &str| KNOWN.iter().any(|known| known.starts_with(prefix));
        match pattern.strip_suffix('*') {
            Some(prefix) if !prefix.ends_with('/') || prefix.contains('*') => {
                Err(PatternError::Wildcard(pattern.to_owned()))
            }
            Some(prefix) if has_calls_under(prefix) => Ok(Self::Under(prefix.to_owned())),
            None if pattern.contains('*') => Err(PatternError::Wildcard(pattern.to_owned())),
            None if KNOWN.contains(&pattern) => Ok(Self::Exactly(pattern.to_owned())),
            None if has_calls_under(&format!("{pattern}/")) => {
                Err(PatternError::Incomplete(pattern.to_owned()))
            }
            _ => Err(PatternError::Unknown(pattern.to_owned())),
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .granted
            .iter()
            .map(|grant| match grant {
                Grant::All => "*".to_owned(),
                Grant::Under(prefix) => format!("{prefix}*"),
                Grant::Exactly(name) => name.clone(),
            })
            .collect();
        write!(formatter, "[{}]", names.join(", "))
    }
}

/// A capability pattern that can never match anything, or matches more than it says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// An empty pattern.
    #[error("a host capability pattern is empty")]
    Empty,
    /// The star stands elsewhere than after the last slash.
    #[error("host capability pattern '{0}': a '*' stands alone or after the last '/'")]
    Wildcard(String),
    /// A prefix without its star.
    #[error("host capability pattern '{0}' names no call; '{0}/*' would allow all calls under it")]
    Incomplete(String),
    /// No host call has such a name.
    #[error("host capability pattern '{0}' matches no call; the calls are: {known}", known = KNOWN.join(", "))]
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_grant_what_they_name() {
        let cases = [
            (vec![], "oci/v1/verify", false),
            (vec!["*"], "kubernetes/can_i", true),
            (vec!["oci/*"], "oci/v2/verify", true),
            (vec!["oci/v1/*"], "oci/v2/verify", false),
            (vec!["oci/v1/oci_manifest"], "oci/v1/oci_manifest", true),
            (vec!["oci/v1/oci_manifest"], "oci/v1/oci_manifest_config", false),
            (vec![" net/* ", "oci/v1/oci_manifest"], "net/v1/dns_lookup_host", true),
        ];
        for (patterns, path, allowed) in cases {
            let capabilities = Capabilities::from_patterns(&patterns).unwrap();
            assert_eq!(capabilities.allow(path), allowed, "{patterns:?} {path}");
        }
    }

    #[test]
    fn patterns_that_name_nothing_are_refused() {
        let error = |pattern: &str| Capabilities::from_patterns([pattern]).unwrap_err();
        assert_eq!(error(""), PatternError::Empty);
        assert_eq!(error("oci*"), PatternError::Wildcard("oci*".into()));
        assert_eq!(error("*/v1/verify"), PatternError::Wildcard("*/v1/verify".into()));
        assert_eq!(error("oci/*/*"), PatternError::Wildcard("oci/*/*".into()));
        assert_eq!(error("oci/v1"), PatternError::Incomplete("oci/v1".into()));
        assert_eq!(error("oci/v3/*"), PatternError::Unknown("oci/v3/*".into()));
        assert_eq!(
            error("oci/v1/oci_manifests"),
            PatternError::Unknown("oci/v1/oci_manifests".into())
        );
    }
}
