//! The token that lets a person do more than look: `Authorization: Bearer TOKEN`.
//!
//! What is kept is a digest of it, and digests are compared in constant time. Wrong ones are
//! counted by address as the front's passwords are.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use protocol::RefusalCode;
use sha2::{Digest as _, Sha256};

use super::Status;
use super::answer::Problem;
use crate::front::failures::Failures;
use crate::watch::Held;

/// The fewest characters of a token. It is meant to be random and not to be remembered; at ten
/// guesses a minute this many are never guessed.
const MIN_CHARS: usize = 16;

/// What a token is known by.
pub(crate) struct Token([u8; 32]);

/// Not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It could be guessed.
    #[error("it has fewer than {MIN_CHARS} characters")]
    Short,
    /// It does not fit into a header.
    #[error("it has other characters than printable ASCII without spaces; one line, please")]
    Illegal,
}

/// The token in the text of a file; blanks around it do not count.
fn legal(text: &str) -> Result<&str, TokenError> {
    let text = text.trim();
    match text {
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(TokenError::Illegal),
        _ if text.len() < MIN_CHARS => Err(TokenError::Short),
        _ => Ok(text),
    }
}

/// The header that shows the token in the text of a file.
pub(crate) fn bearer(text: &str) -> Result<HeaderValue, TokenError> {
    let header = HeaderValue::try_from(format!("Bearer {}", legal(text)?));
    let mut header = header.map_err(|_| TokenError::Illegal)?;
    header.set_sensitive(true);
    Ok(header)
}

impl Token {
    /// Reads what stands in a file.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        legal(text).map(|text| Self(Sha256::digest(text).into()))
    }

    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        verify_slices_are_equal(&self.0, &given).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Who may do more than look. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    /// None where nobody may.
    token: Option<Held<Token>>,
    failures: Arc<Failures>,
}

impl Keeper {
    /// One that lets those pass who have the token.
    pub(crate) fn new(token: Option<Held<Token>>) -> Self {
        Self { token, failures: Arc::new(Failures::new()) }
    }

    /// Whether there is a token at all.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn check(&self, peer: SocketAddr, header: Option<&[u8]>, now: Instant) -> Result<(), Denied> {
        let token = self.token.as_ref().ok_or(Denied::Nobody)?;
        if let Some(wait) = self.failures.wait(peer.ip(), now) {
            return Err(Denied::Guesses { wait });
        }
        let header = header.ok_or(Denied::Missing)?;
        let given = strip_scheme(header).ok_or(Denied::Missing)?;
        if token.current().is(given) {
            return Ok(());
        }
        self.failures.note(peer.ip(), now);
        tracing::warn!(peer = %peer.ip(), "a token for the status API is wrong");
        Err(Denied::Wrong)
    }
}

/// The token of `Bearer TOKEN` (RFC 6750).
fn strip_scheme(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Why somebody may not do what they want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// There is no token, so nobody may.
    Nobody,
    /// None was given.
    Missing,
    /// Another one was given.
    Wrong,
    /// The peer guesses.
    Guesses {
        /// How long it is not listened to.
        wait: Duration,
    },
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Nobody => Problem::new(
                RefusalCode::Denied,
                "nobody may change anything here: this replicator's configuration has no \
                 `status.token`",
            ),
            Denied::Missing => Problem::unknown_caller(
                "say who you are by the header `Authorization: Bearer TOKEN`, with the token in \
                 the replicator's `status.token`",
            ),
            Denied::Wrong => Problem::unknown_caller(
                "the token is not the one in the replicator's `status.token`",
            ),
            Denied::Guesses { wait } => Problem::new(
                RefusalCode::TooMany,
                "too many wrong tokens came from this address; wait before you try again",
            )
            .retry_after(wait),
        }
    }
}

/// That a request has the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authorized;

impl FromRequestParts<Status> for Authorized {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, status: &Status) -> Result<Self, Problem> {
        let ConnectInfo(peer) =
            ConnectInfo::<SocketAddr>::from_request_parts(parts, status).await.map_err(|_| {
                Problem::new(RefusalCode::Unavailable, "it is not known where you come from")
            })?;
        let header = parts.headers.get(AUTHORIZATION).map(|header| header.as_bytes());
        status.keeper.check(peer, header, Instant::now())?;
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_fits_into_a_header() {
        let token = Token::parse("  0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        assert!(
            !token.is(b"0123456789abcdeF") && !token.is(b"") && !token.is(b"0123456789abcdef ")
        );
        assert_eq!(Token::parse("0123456789abcde").err(), Some(TokenError::Short));
        assert_eq!(Token::parse("").err(), Some(TokenError::Short));
        for illegal in ["0123456789 abcdef", "0123456789\nabcdef", "0123456789äbcdef"] {
            assert_eq!(Token::parse(illegal).err(), Some(TokenError::Illegal), "{illegal}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(strip_scheme(b"bEaReR abc"), Some(b"abc".as_slice()));
        for other in ["Basic abcdef", "Bearer", "", "Bearerabc"] {
            assert_eq!(strip_scheme(other.as_bytes()), None, "{other}");
        }
    }
}
