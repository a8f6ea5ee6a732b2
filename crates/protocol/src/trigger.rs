//! The trigger: what the policy asks about an image, as a repository path and a tag.
//!
//! A policy cannot open a socket, but it can have its host fetch a manifest. So the question
//! travels as the name of one: `v1/<verb>/<namespace>/<form>/<host>/<repository>:<tag position>`.
//!
//! | the source has | form | tag position |
//! | --- | --- | --- |
//! | a tag | `tag` | the tag |
//! | a digest | `digest` | `sha256-<hex>` |
//! | both | `both` | `<tag>.sha256-<hex>` |
//! | both, and more than 128 characters of it | `both-sha256-<hex>` | the tag |
//! | a digest too long for a tag (sha512) | `digest-sha512-<hex>` | `digest` |
//!
//! A digest never stands in the digest position: the host would hash our answer against it.
//! [`Trigger::encode`] and [`Trigger::decode`] are inverse to each other; a path that `encode`
//! would not have written is refused.

use std::fmt;
use std::str::FromStr;

use crate::reference::{
    Digest, ImageReference, MAX_REPOSITORY_LENGTH, MAX_TAG_LENGTH, ReferenceError, Registry,
    Repository, Tag,
};

/// The codec's version, the first component of each path.
const VERSION: &str = "v1";

/// What the policy wants to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Where would this image go? Starts nothing.
    Plan,
    /// Begin a copy if one is needed; a receipt of what is intended comes at once.
    Start,
    /// Is the replica there, and current? Begins a copy if not, and refuses until it is.
    Replica,
}

impl Verb {
    /// The path component.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Start => "start",
            Self::Replica => "replica",
        }
    }
}

impl FromStr for Verb {
    type Err = TriggerError;

    fn from_str(text: &str) -> Result<Self, TriggerError> {
        match text {
            "plan" => Ok(Self::Plan),
            "start" => Ok(Self::Start),
            "replica" => Ok(Self::Replica),
            _ => Err(TriggerError::Verb(text.to_owned())),
        }
    }
}

/// A Kubernetes namespace: a DNS label (RFC 1123), 63 characters at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

impl Namespace {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = TriggerError;

    fn from_str(text: &str) -> Result<Self, TriggerError> {
        let bytes = text.as_bytes();
        let legal = !bytes.is_empty()
            && bytes.len() <= 63
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-');
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(TriggerError::Namespace(text.to_owned()))
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One question about one image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trigger {
    /// What is asked.
    pub verb: Verb,
    /// On whose behalf.
    pub namespace: Namespace,
    /// About which image.
    pub source: ImageReference,
}

/// A trigger as it stands in a manifest's URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TriggerPath {
    /// The repository: a legal path of at most 255 characters.
    pub repository: Repository,
    /// The tag: legal, at most 128 characters.
    pub tag: Tag,
}

impl fmt::Display for TriggerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl Trigger {
    /// The path and tag that carry this trigger. Fails only where they would be too long.
    pub fn encode(&self) -> Result<TriggerPath, TriggerError> {
        let (form, tag) = encode_version(&self.source);
        let path = format!(
            "{VERSION}/{}/{}/{form}/{}/{}",
            self.verb.as_str(),
            self.namespace,
            self.source.registry().path_component(),
            self.source.repository(),
        );
        if path.len() > MAX_REPOSITORY_LENGTH {
            return Err(TriggerError::TooLong {
                image: self.source.to_string(),
                length: path.len(),
                limit: MAX_REPOSITORY_LENGTH,
            });
        }
        Ok(TriggerPath { repository: path.parse()?, tag: tag.parse()? })
    }

    /// The trigger that a path and tag carry.
    pub fn decode(repository: &str, tag: &str) -> Result<Self, TriggerError> {
        let malformed = || TriggerError::Malformed(format!("{repository}:{tag}"));
        let mut components = repository.splitn(6, '/');
        let mut next = || components.next().ok_or_else(malformed);
        let version = next()?;
        if version != VERSION {
            return Err(TriggerError::Version(version.to_owned()));
        }
        let verb = next()?.parse()?;
        let namespace = next()?.parse()?;
        let form = next()?;
        let registry = Registry::from_path_component(next()?)?;
        let source_repository: Repository = next()?.parse()?;
        let source =
            decode_version(form, tag, registry, source_repository)?.ok_or_else(malformed)?;
        let trigger = Self { verb, namespace, source };
        let canonical = trigger.encode()?;
        if canonical.repository.as_str() == repository && canonical.tag.as_str() == tag {
            Ok(trigger)
        } else {
            Err(malformed())
        }
    }
}

/// The form component and the tag position for a source's version.
fn encode_version(source: &ImageReference) -> (String, String) {
    match (source.tag(), source.digest().map(Digest::dashed)) {
        (Some(tag), None) => ("tag".to_owned(), tag.to_string()),
        (Some(tag), Some(digest)) => {
            let both = format!("{tag}.{digest}");
            if both.len() <= MAX_TAG_LENGTH {
                ("both".to_owned(), both)
            } else {
                (format!("both-{digest}"), tag.to_string())
            }
        }
        (None, Some(digest)) if digest.len() <= MAX_TAG_LENGTH => ("digest".to_owned(), digest),
        (None, Some(digest)) => (format!("digest-{digest}"), "digest".to_owned()),
        (None, None) => unreachable!("a reference has a tag or a digest"),
    }
}

/// The source whose version was encoded as `form` and `tag`; None where these fit no row.
fn decode_version(
    form: &str,
    tag: &str,
    registry: Registry,
    repository: Repository,
) -> Result<Option<ImageReference>, ReferenceError> {
    let (kind, moved) = match form.split_once('-') {
        Some((kind, digest)) => (kind, Some(Digest::from_dashed(digest)?)),
        None => (form, None),
    };
    Ok(match (kind, moved) {
        ("tag", None) => Some(ImageReference::tagged(registry, repository, tag.parse()?)),
        ("digest", None) => {
            Some(ImageReference::digested(registry, repository, Digest::from_dashed(tag)?))
        }
        ("digest", Some(digest)) => Some(ImageReference::digested(registry, repository, digest)),
        ("both", None) => match tag.rsplit_once('.') {
            Some((tag, digest)) => Some(
                ImageReference::tagged(registry, repository, tag.parse()?)
                    .pinned(Digest::from_dashed(digest)?),
            ),
            None => None,
        },
        ("both", Some(digest)) => {
            Some(ImageReference::tagged(registry, repository, tag.parse()?).pinned(digest))
        }
        _ => None,
    })
}

/// Why a trigger cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// The image's name leaves no room for the rest of the path.
    #[error(
        "the name of image {image} is too long to ask the replicator about: its trigger has {length} characters, a repository path has at most {limit}"
    )]
    TooLong {
        /// The image.
        image: String,
        /// The path's length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The other side speaks another version of the codec.
    #[error(
        "the trigger has version '{0}', this side reads '{VERSION}': policy and replicator are of different releases"
    )]
    Version(String),
    /// Unknown verb.
    #[error("'{0}' is not a verb: plan, start or replica")]
    Verb(String),
    /// Not a namespace.
    #[error(
        "'{0}' is not a namespace: 1 to 63 lower-case letters, digits and hyphens, no hyphen at either end"
    )]
    Namespace(String),
    /// A part is not legal.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The path is none that this codec writes.
    #[error("'{0}' is not a trigger: v1/<verb>/<namespace>/<form>/<host>/<repository>:<tag>")]
    Malformed(String),
}

#[cfg(test)]
mod tests;
