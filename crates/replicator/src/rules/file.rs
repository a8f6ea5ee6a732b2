//! Rules as they stand in the configuration, and what can be wrong with them.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use copy::{MediaType, Platform, Referrers, Scope};
use protocol::ImagePattern;
use serde::Deserialize;

use super::{Rule, Rules, Terms};
use crate::credentials::{Keyring, Reader};
use crate::freshness::Check;
use crate::label::Label;
use crate::namespaces::NamespacePattern;
use crate::tenants::Tenants;

/// Rules that are read at most: each trigger looks through them.
const MAX_RULES: usize = 1_000;

/// A rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    name: Label,
    sources: OneOrMany,
    namespaces: Option<OneOrMany>,
    #[serde(default)]
    deny: bool,
    credentials: Option<Label>,
    #[serde(default)]
    namespace_secrets: bool,
    check: Option<Check>,
    platforms: Option<Vec<Platform>>,
    referrers: Option<ReferrersFile>,
}

/// A text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern or a list of patterns")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Which referrers travel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReferrersFile {
    enabled: bool,
    artifact_types: Vec<MediaType>,
}

impl Default for ReferrersFile {
    fn default() -> Self {
        Self { enabled: true, artifact_types: Vec::new() }
    }
}

impl From<ReferrersFile> for Referrers {
    fn from(file: ReferrersFile) -> Self {
        match (file.enabled, file.artifact_types.is_empty()) {
            (false, _) => Self::Nothing,
            (true, true) => Self::All,
            (true, false) => Self::OfTypes(file.artifact_types),
        }
    }
}

impl Rules {
    /// The rules of a configuration with these credentials and tenants; what they do not say of an
    /// image's parts is as in `scope`.
    pub(crate) fn read(
        files: Vec<RuleFile>,
        keyring: &Keyring,
        tenants: &Tenants,
        scope: &Scope,
    ) -> Result<Self, RulesError> {
        if files.len() > MAX_RULES {
            return Err(RulesError::TooMany(files.len()));
        }
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(files.len());
        for file in files {
            let name = file.name.clone();
            if !names.insert(name.clone()) {
                return Err(RulesError::Twice(name));
            }
            let rule = file.read(keyring, tenants, scope);
            rules.push(rule.map_err(|error| RulesError::Rule { name, error })?);
        }
        Ok(Self(rules.into()))
    }
}

impl RuleFile {
    fn read(self, keyring: &Keyring, tenants: &Tenants, scope: &Scope) -> Result<Rule, RuleError> {
        let has_terms = self.credentials.is_some()
            || self.namespace_secrets
            || self.check.is_some()
            || self.platforms.is_some()
            || self.referrers.is_some();
        if self.deny && has_terms {
            return Err(RuleError::DenyStandsAlone);
        }
        let reader = match (self.credentials, self.namespace_secrets) {
            (None, false) => Reader::Nobody,
            (Some(name), false) => match keyring.get(&name) {
                Some(credentials) => Reader::Named(Arc::clone(credentials)),
                None => return Err(RuleError::Credentials(name)),
            },
            (Some(_), true) => return Err(RuleError::TwoReaders),
            (None, true) if tenants.is_empty() => return Err(RuleError::NoTenants),
            (None, true) => Reader::Namespace(tenants.clone()),
        };
        let terms = Terms {
            reader,
            check: self.check.unwrap_or_default(),
            scope: Scope {
                platforms: self.platforms.unwrap_or_else(|| scope.platforms.clone()),
                referrers: match self.referrers {
                    Some(file) => file.into(),
                    None => scope.referrers.clone(),
                },
                foreign_layers: scope.foreign_layers,
            },
        };
        Ok(Rule {
            name: self.name,
            sources: self.sources.read::<ImagePattern>("sources")?,
            namespaces: self
                .namespaces
                .map(|namespaces| namespaces.read::<NamespacePattern>("namespaces"))
                .transpose()?,
            terms: (!self.deny).then_some(terms),
        })
    }
}

impl OneOrMany {
    fn read<T: FromStr<Err: Display>>(self, key: &'static str) -> Result<Vec<T>, RuleError> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) if texts.is_empty() => return Err(RuleError::Empty(key)),
            Self::Many(texts) => texts,
        };
        let parsed = texts.iter().map(|text| text.parse());
        let wrong = |error: T::Err| RuleError::Pattern { key, reason: error.to_string() };
        parsed.collect::<Result<_, _>>().map_err(wrong)
    }
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RulesError {
    /// There is none.
    #[error("there are none, so nothing would be copied; `sources: \"**\"` allows all images")]
    None,
    /// More than are read.
    #[error("there are {0}, at most {MAX_RULES} are read")]
    TooMany(usize),
    /// Two of one name.
    #[error("there are two by the name of '{0}'; a name tells them apart")]
    Twice(Label),
    /// One cannot be used.
    #[error("'{name}': {error}")]
    Rule {
        /// Which.
        name: Label,
        /// Why.
        error: RuleError,
    },
}

/// Why one rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// A list without anything in it.
    #[error("{0} is an empty list: the rule is about nothing")]
    Empty(&'static str),
    /// A pattern that is none.
    #[error("{key}: {reason}")]
    Pattern {
        /// Where it stands.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Credentials that are not there.
    #[error(
        "credentials: there are none by the name of '{0}' in the configuration's `credentials`"
    )]
    Credentials(Label),
    /// Two who are to read the same sources.
    #[error("credentials and namespace_secrets: a source is read with one or the other, not both")]
    TwoReaders,
    /// Nobody has pull secrets that may be read.
    #[error(
        "namespace_secrets: the configuration's `tenancy.secret_namespaces` lists no namespace"
    )]
    NoTenants,
    /// What is denied is not copied.
    #[error("deny stands alone: beside it there are only name, sources and namespaces")]
    DenyStandsAlone,
}
