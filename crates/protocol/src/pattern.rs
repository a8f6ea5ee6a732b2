//! Image patterns: which images a setting or a rule is about.
//!
//! A pattern is held against the canonical reference, part by part, so that it cannot match
//! half a name: the host exactly (or `*` for any), the repository by whole path segments, in
//! which `*` stands for any run of characters within one segment and `**` for one segment or
//! more. A tag or digest is compared only where the pattern has one. `**` alone has every image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reference::{Digest, ImageReference, ReferenceError, Registry};

/// The longest pattern: as long as the longest text that is read as a reference.
const MAX_PATTERN_LENGTH: usize = 1024;

/// A set of images.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImagePattern {
    /// None is any host.
    host: Option<Registry>,
    segments: Vec<Segment>,
    tag: Option<String>,
    digest: Option<DigestPattern>,
}

/// One step of the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// A segment's text, in which `*` is any run of characters.
    Glob(String),
    /// `**`: one segment or more.
    Many,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum DigestPattern {
    Any,
    Exactly(Digest),
}

/// What a list of segments is run as: `**` is one segment and then any number of them.
enum Step<'a> {
    Glob(&'a str),
    One,
    Run,
}

impl ImagePattern {
    /// Whether `image` is in the set.
    pub fn matches(&self, image: &ImageReference) -> bool {
        self.host.as_ref().is_none_or(|host| host == image.registry())
            && self.matches_path(image.repository().as_str())
            && self.tag.as_deref().is_none_or(|pattern| {
                image.tag().is_some_and(|tag| matches_text(pattern, tag.as_str()))
            })
            && match &self.digest {
                None => true,
                Some(DigestPattern::Any) => image.digest().is_some(),
                Some(DigestPattern::Exactly(digest)) => image.digest() == Some(digest),
            }
    }

    fn matches_path(&self, path: &str) -> bool {
        let mut steps = Vec::with_capacity(self.segments.len() + 1);
        for segment in &self.segments {
            match segment {
                Segment::Glob(glob) => steps.push(Step::Glob(glob)),
                Segment::Many => steps.extend([Step::One, Step::Run]),
            }
        }
        let path: Vec<&str> = path.split('/').collect();
        matches_run(
            &steps,
            &path,
            |step| matches!(step, Step::Run),
            |step, segment| match step {
                Step::Glob(glob) => matches_text(glob, segment),
                Step::One | Step::Run => true,
            },
        )
    }
}

/// Whether `text` is what `glob` says, `*` being any run of characters.
pub fn matches_text(glob: &str, text: &str) -> bool {
    matches_run(glob.as_bytes(), text.as_bytes(), |byte| *byte == b'*', |a, b| a == b)
}

/// Whether the pattern fits the whole of the items, where some parts of it are runs of any
/// length. Only the last run is ever tried anew, so the time is at most the product of both.
fn matches_run<P, T>(
    pattern: &[P],
    items: &[T],
    is_run: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while item < items.len() {
        match (pattern.get(at), items.get(item)) {
            (Some(part), _) if is_run(part) => {
                at += 1;
                retry = Some((at, item));
            }
            (Some(part), Some(value)) if fits(part, value) => {
                at += 1;
                item += 1;
            }
            _ => match retry {
                Some((after_run, taken)) => {
                    at = after_run;
                    item = taken + 1;
                    retry = Some((after_run, item));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(is_run)
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_LENGTH {
            return Err(PatternError::TooLong { length: text.len(), limit: MAX_PATTERN_LENGTH });
        }
        if text == "**" {
            return Ok(Self { host: None, segments: vec![Segment::Many], tag: None, digest: None });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, "*")) => (rest, Some(DigestPattern::Any)),
            Some((rest, digest)) => (rest, Some(DigestPattern::Exactly(digest.parse()?))),
            None => (text, None),
        };
        let (host, path) = rest.split_once('/').ok_or_else(|| no_host(text))?;
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(parse_tag(tag)?)),
            None => (path, None),
        };
        let host = parse_host(host, text)?;
        let mut segments = path.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        // As in a reference: Docker Hub has no repository of one segment.
        if host.as_ref().is_some_and(Registry::is_docker_hub)
            && matches!(segments.as_slice(), [Segment::Glob(_)])
        {
            segments.insert(0, Segment::Glob("library".to_owned()));
        }
        Ok(Self { host, segments, tag, digest })
    }
}

fn parse_host(host: &str, pattern: &str) -> Result<Option<Registry>, PatternError> {
    match host {
        "*" => Ok(None),
        _ if host.contains('*') => Err(PatternError::Host(host.to_owned())),
        _ => host.parse().map(Some).map_err(|error| match error {
            // `bitnami/redis` is a legal reference, but no canonical one.
            ReferenceError::Registry(_) if !host.contains(['.', ':']) => no_host(pattern),
            error => PatternError::Reference(error),
        }),
    }
}

fn no_host(pattern: &str) -> PatternError {
    PatternError::NoHost { pattern: pattern.to_owned() }
}

fn parse_segment(text: &str) -> Result<Segment, PatternError> {
    let is_legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*');
    match text {
        "**" => Ok(Segment::Many),
        _ if text.is_empty() || text.contains("**") || !text.bytes().all(is_legal) => {
            Err(PatternError::Segment(text.to_owned()))
        }
        _ => Ok(Segment::Glob(text.to_owned())),
    }
}

fn parse_tag(text: &str) -> Result<String, PatternError> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
    if !text.is_empty() && text.bytes().all(is_legal) {
        Ok(text.to_owned())
    } else {
        Err(PatternError::Tag(text.to_owned()))
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}")?,
            None => f.write_str("*")?,
        }
        for segment in &self.segments {
            match segment {
                Segment::Glob(glob) => write!(f, "/{glob}")?,
                Segment::Many => f.write_str("/**")?,
            }
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(DigestPattern::Any) => f.write_str("@*"),
            Some(DigestPattern::Exactly(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl From<ImagePattern> for String {
    fn from(pattern: ImagePattern) -> Self {
        pattern.to_string()
    }
}

impl TryFrom<String> for ImagePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

/// Why a text is no image pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than any reference.
    #[error("the pattern has {length} characters, it may have {limit} at most")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The canonical reference begins with a host, so a pattern without one has no image.
    #[error(
        "the pattern '{pattern}' has no host: write `docker.io/library/nginx`, not `nginx`, and `*/` in front for any host"
    )]
    NoHost {
        /// The pattern.
        pattern: String,
    },
    /// A part of a host name: one could register a host that fits, too.
    #[error("'{0}' has a `*` within the host: a host is written out, or is `*` for any")]
    Host(String),
    /// A segment that no repository has.
    #[error(
        "'{0}' is not a path segment of a pattern: lower-case letters, digits, '.', '_', '-' and `*`, or `**` alone"
    )]
    Segment(String),
    /// A tag that no image has.
    #[error("'{0}' is not a tag of a pattern: letters, digits, '_', '.', '-' and `*`")]
    Tag(String),
    /// Another part is not legal.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

#[cfg(test)]
mod tests;
