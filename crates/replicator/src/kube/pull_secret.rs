//! Pull secrets: Secrets of the type `kubernetes.io/dockerconfigjson`, and what those of one
//! namespace say together. Pure.
//!
//! A tenant writes them, so they are read as strangers' words: `auths` alone counts, never a
//! helper, which would be a program that runs here; and there are limits to all of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use ::kube::Resource;
use ::kube::core::{NamespaceResourceScope, ObjectMeta};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use registry::{CredentialsError, DockerConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::ledger::grant::Version;
use crate::tenants::PullSecrets;

/// Pull secrets of a namespace that are read. A namespace has one for each registry, or team.
const MAX_SECRETS: usize = 32;

/// The longest docker config of a Secret: an entry has some 200 bytes, with a token of a cloud a
/// few thousand.
const MAX_CONFIG_BYTES: usize = 64 * 1024;

/// Entries of a namespace that are used.
const MAX_ENTRIES: usize = 256;

/// A Secret as it comes from the API server, without what is of no use here: the rest may be
/// secret, too. `Debug` shows its name alone.
#[derive(Clone, Deserialize)]
pub(super) struct PullSecret {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Data,
}

#[derive(Clone, Default, Deserialize)]
struct Data {
    /// In base64.
    #[serde(rename = ".dockerconfigjson")]
    config: Option<SecretString>,
}

/// The pull secrets of one namespace.
#[derive(Default)]
pub(super) struct Shelf {
    /// The first ones by name.
    by_name: BTreeMap<String, Kept>,
    /// One for which there was no room.
    left_out: Option<String>,
}

struct Kept {
    /// Which one of that name it is, and in which version.
    version: [Option<String>; 2],
    config: Result<DockerConfig, Unusable>,
}

/// What a namespace's pull secrets say together.
pub(super) struct Together {
    /// All that can be used.
    pub(super) secrets: PullSecrets,
    /// Those that are not used, by name.
    pub(super) unusable: BTreeMap<String, Unusable>,
    /// Those with an entry that another one has, too, which comes first by name and is used.
    pub(super) behind: Vec<String>,
}

impl Shelf {
    /// Takes in a Secret that is new, or has changed.
    pub(super) fn put(&mut self, secret: PullSecret) {
        let PullSecret { metadata, data } = secret;
        let version = [metadata.uid, metadata.resource_version];
        let kept = Kept { version, config: read(data.config) };
        self.by_name.insert(metadata.name.unwrap_or_default(), kept);
        if self.by_name.len() > MAX_SECRETS {
            self.left_out = self.by_name.pop_last().map(|(name, _)| name);
        }
    }

    /// A Secret is no more. Returns whether another one may have room now: which ones there are has
    /// to be listed again.
    pub(super) fn remove(&mut self, secret: &PullSecret) -> bool {
        let was_kept = self.by_name.remove(secret.name()).is_some();
        match &self.left_out {
            Some(name) => was_kept || name == secret.name(),
            None => false,
        }
    }

    /// What they say. Of one registry and path the first by name counts.
    pub(super) fn together(&self) -> Together {
        let mut all = DockerConfig::default();
        let left_out = self.left_out.iter().map(|name| (name.clone(), Unusable::TooManySecrets));
        let (mut unusable, mut behind) = (BTreeMap::from_iter(left_out), Vec::new());
        let mut hash = Sha256::new();
        for (name, kept) in &self.by_name {
            for part in [Some(name), kept.version[0].as_ref(), kept.version[1].as_ref()] {
                let part = part.map_or("", String::as_str);
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            let usable = match &kept.config {
                Err(error) => Err(error.clone()),
                Ok(config) if all.entry_count() + config.entry_count() > MAX_ENTRIES => {
                    Err(Unusable::TooManyEntries)
                }
                Ok(config) => Ok(config),
            };
            match usable {
                Ok(config) if all.add_entries(config) > 0 => behind.push(name.clone()),
                Ok(_) => {}
                Err(error) => drop(unusable.insert(name.clone(), error)),
            }
        }
        let mut version = [0; 16];
        version.copy_from_slice(&hash.finalize()[..16]);
        Together { secrets: PullSecrets::new(all, Version::of(version)), unusable, behind }
    }
}

fn read(config: Option<SecretString>) -> Result<DockerConfig, Unusable> {
    let encoded = config.ok_or(Unusable::Empty)?;
    let encoded = encoded.expose_secret();
    if encoded.len() > MAX_CONFIG_BYTES.div_ceil(3) * 4 {
        return Err(Unusable::TooLong);
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| Unusable::NotBase64)?;
    let text = String::from_utf8(bytes).map_err(|_| Unusable::NotText)?;
    Ok(DockerConfig::parse_auths(&text)?)
}

/// Why a Secret is not used. Says nothing of what stands in it, not even names of registries:
/// where a tenant has mixed up its fields, these may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// It has no docker config.
    #[error("it has no '.dockerconfigjson'")]
    Empty,
    /// It is longer than any that is meant seriously.
    #[error("its docker config has more than {MAX_CONFIG_BYTES} bytes")]
    TooLong,
    /// The API server's own encoding is wrong.
    #[error("its docker config is not in base64")]
    NotBase64,
    /// It is no text.
    #[error("its docker config is not UTF-8 text")]
    NotText,
    /// It is no JSON of the right form.
    #[error("its docker config is not valid: line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// One entry cannot be used.
    #[error("its docker config has an entry that is not valid: {0}")]
    Entry(&'static str),
    /// There are so many.
    #[error(
        "the namespace has more than {MAX_SECRETS} pull secrets, and the first by name are used"
    )]
    TooManySecrets,
    /// They say so much.
    #[error(
        "the namespace's pull secrets have more than {MAX_ENTRIES} entries, and the first by name are used"
    )]
    TooManyEntries,
}

impl From<CredentialsError> for Unusable {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::TooLarge => Self::TooLong,
            CredentialsError::Malformed { line, column } => Self::Malformed { line, column },
            CredentialsError::Entry { key: _, reason } => Self::Entry(reason),
        }
    }
}

impl PullSecret {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PullSecret({})", self.name())
    }
}

/// To the API it is a Secret.
impl Resource for PullSecret {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
