//! Names and passwords of callers: an htpasswd file with bcrypt hashes.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bcrypt::HashParts;

/// The costs that bcrypt has. A hash of another one would be refused at once, without its work.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Who may ask by a password. Not empty.
pub(crate) struct Htpasswd {
    hashes: HashMap<String, Arc<str>>,
    /// The hash that takes longest to check.
    slowest: Arc<str>,
}

/// What a password is held against.
pub(super) struct Entry {
    pub(super) hash: Arc<str>,
    /// Whether the hash is this name's. If not, whatever comes of it is wrong.
    is_own: bool,
}

impl Htpasswd {
    /// Reads an htpasswd file: `name:$2y$…` a line; empty lines and `#` comments are skipped.
    pub(crate) fn parse(text: &str) -> Result<Self, HtpasswdError> {
        let mut hashes = HashMap::new();
        let mut slowest: Option<(u32, Arc<str>)> = None;
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let (name, hash) = text.split_once(':').ok_or(HtpasswdError::Line { line })?;
            let cost = HashParts::from_str(hash).map(|parts| parts.get_cost());
            let cost = cost.ok().filter(|cost| COSTS.contains(cost));
            let cost = cost.ok_or(HtpasswdError::Hash { line })?;
            let hash: Arc<str> = hash.into();
            if slowest.as_ref().is_none_or(|(most, _)| *most < cost) {
                slowest = Some((cost, Arc::clone(&hash)));
            }
            if hashes.insert(name.to_owned(), hash).is_some() {
                return Err(HtpasswdError::Twice { line });
            }
        }
        let (_, slowest) = slowest.ok_or(HtpasswdError::Empty)?;
        Ok(Self { hashes, slowest })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The hash of `name`, if it has one.
    pub(super) fn hash_of(&self, name: &str) -> Option<&Arc<str>> {
        self.hashes.get(name)
    }

    /// What a password of `name` is held against: for a name that nobody has it is somebody
    /// else's hash, so that the time of an answer does not tell which names there are.
    pub(super) fn entry(&self, name: &str) -> Entry {
        let own = self.hash_of(name);
        Entry { hash: Arc::clone(own.unwrap_or(&self.slowest)), is_own: own.is_some() }
    }
}

impl Entry {
    /// Whether `password` is right. Takes as long as bcrypt takes, which is long on purpose; the
    /// hashes are compared in constant time.
    pub(super) fn allows(&self, password: &str) -> bool {
        let is_right = bcrypt::verify(password, &self.hash).unwrap_or(false);
        is_right && self.is_own
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("count", &self.hashes.len()).finish_non_exhaustive()
    }
}

/// Why an htpasswd file cannot be used. Says the line, never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HtpasswdError {
    /// A line without a colon.
    #[error("line {line} is not 'name:hash'")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// A hash of another kind.
    #[error("line {line} has no bcrypt hash; make one with 'htpasswd -B'")]
    Hash {
        /// Counted from one.
        line: usize,
    },
    /// A name that stands further up, too: which of both holds would be anybody's guess.
    #[error("line {line} has a name that another line has")]
    Twice {
        /// Counted from one.
        line: usize,
    },
    /// Nobody could ask.
    #[error("the file names nobody; make an entry with 'htpasswd -B'")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_says_why_without_its_secrets() {
        let error = |text: &str| Htpasswd::parse(text).unwrap_err().to_string();
        let hash = bcrypt::hash("x", 4).unwrap();
        assert_eq!(error("a"), "line 1 is not 'name:hash'");
        assert_eq!(error("\na:{SHA}x"), "line 2 has no bcrypt hash; make one with 'htpasswd -B'");
        let cut = &hash[..40];
        let costly = hash.replace("$04$", "$32$");
        for text in [cut, &costly] {
            assert!(error(&format!("a:{text}")).starts_with("line 1 has no bcrypt hash"), "{text}");
        }
        assert_eq!(
            error(&format!("a:{hash}\na:{hash}")),
            "line 2 has a name that another line has"
        );
        assert!(error("# nobody").contains("names nobody"));
    }

    /// Time is not measured here: the same work is.
    #[test]
    fn a_name_that_nobody_has_is_held_against_the_slowest_hash_and_never_right() {
        let [quick, slow] = [4, 5].map(|cost| bcrypt::hash("right", cost).unwrap());
        let file = Htpasswd::parse(&format!("quick:{quick}\nslow:{slow}\n")).unwrap();
        let stranger = file.entry("stranger");
        assert_eq!(*stranger.hash, *slow);
        assert!(!stranger.allows("right"));
        assert!(file.entry("slow").allows("right") && file.entry("quick").allows("right"));
        assert!(!file.entry("quick").allows("wrong"));
    }

    #[test]
    fn hashes_are_not_printed() {
        let file = Htpasswd::parse(&format!("policy:{}", bcrypt::hash("x", 4).unwrap())).unwrap();
        assert_eq!(format!("{file:?}"), "Htpasswd { count: 1, .. }");
    }
}
