//! Who may ask: Basic credentials against an htpasswd file with bcrypt hashes.
//!
//! bcrypt is slow on purpose, and a trigger must be answered in milliseconds. So credentials
//! that were found right once are known again by a SHA-256 of the header, keyed with a secret
//! of this process. Wrong ones are checked anew each time, a few at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// Credentials that are known to be right. More than there are callers; when full it starts
/// again, since old passwords of callers would otherwise stay.
const MAX_KNOWN: usize = 1_024;

/// bcrypt checks at once, each on a thread of its own: guessing must not take all cores.
const MAX_CHECKS: usize = 2;

/// The longest `Authorization` header that is looked at.
const MAX_HEADER_BYTES: usize = 1_024;

/// Those who may ask. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
}

struct Shared {
    hashes: HashMap<String, String>,
    key: [u8; 32],
    known: Mutex<HashMap<[u8; 32], String>>,
    checks: Semaphore,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").field("count", &self.shared.hashes.len()).finish_non_exhaustive()
    }
}

impl Callers {
    /// Reads an htpasswd file: `name:$2y$…` a line; empty lines and `#` comments are skipped.
    pub(crate) fn parse(htpasswd: &str, key: [u8; 32]) -> Result<Self, CallersError> {
        let mut hashes = HashMap::new();
        let lines = htpasswd.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let (name, hash) = text.split_once(':').ok_or(CallersError::Line { line })?;
            let is_bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| hash.starts_with(prefix));
            if !is_bcrypt {
                return Err(CallersError::Hash { line });
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        if hashes.is_empty() {
            return Err(CallersError::Empty);
        }
        let shared =
            Shared { hashes, key, known: Mutex::default(), checks: Semaphore::new(MAX_CHECKS) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The caller's name, if the `Authorization` header is right.
    pub(crate) async fn authenticate(&self, header: &[u8]) -> Option<String> {
        if header.len() > MAX_HEADER_BYTES {
            return None;
        }
        let fingerprint = self.fingerprint(header);
        if let Some(name) = self.known().get(&fingerprint) {
            return Some(name.clone());
        }
        let (name, password) = decode_basic(header)?;
        let hash = self.shared.hashes.get(&name)?.clone();
        let _permit = self.shared.checks.acquire().await.ok()?;
        let check = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash));
        if !matches!(check.await, Ok(Ok(true))) {
            return None;
        }
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(fingerprint, name.clone());
        Some(name)
    }

    fn fingerprint(&self, header: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.shared.key).chain_update(header).finalize().into()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], String>> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 7617: `Basic base64(name:password)`.
fn decode_basic(header: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Why an htpasswd file cannot be used. Says the line, never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallersError {
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
    /// Nobody could ask.
    #[error("the file names nobody; make an entry with 'htpasswd -B'")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        let hash = bcrypt::hash("right", 4).unwrap();
        Callers::parse(&format!("# who\n\npolicy:{hash}\n"), [7; 32]).unwrap()
    }

    fn basic(credentials: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(credentials)).into_bytes()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_name_passes() {
        let callers = callers();
        for _ in 0..2 {
            assert_eq!(
                callers.authenticate(&basic("policy:right")).await.as_deref(),
                Some("policy")
            );
            for wrong in ["policy:wrong", "policy:", "other:right", "policy", ""] {
                assert_eq!(callers.authenticate(&basic(wrong)).await, None, "{wrong}");
            }
        }
        assert_eq!(callers.authenticate(b"Bearer cG9saWN5OnJpZ2h0").await, None);
        assert_eq!(callers.authenticate(b"Basic ???").await, None);
        assert_eq!(callers.authenticate(&vec![b'a'; MAX_HEADER_BYTES + 1]).await, None);
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why_without_its_secrets() {
        let error = |text| Callers::parse(text, [0; 32]).unwrap_err().to_string();
        assert_eq!(error("a"), "line 1 is not 'name:hash'");
        assert_eq!(error("\na:{SHA}x"), "line 2 has no bcrypt hash; make one with 'htpasswd -B'");
        assert!(error("# nobody").contains("names nobody"));
    }

    #[test]
    fn callers_do_not_print_hashes() {
        assert_eq!(format!("{:?}", callers()), "Callers { count: 1, .. }");
    }
}
