//! The client's one error: what was tried, where, what came back, and whether to try again.
//!
//! No part of it can hold a secret: URLs lose their query and user, and the registry's own
//! words are cut and freed of control characters.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use protocol::Registry;
use serde::Deserialize;
use url::Url;

use crate::limits::{MAX_ERROR_CODES, MAX_MESSAGE_CHARS};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Asking whether the registry is there.
    Ping,
    /// Finding out who we are there.
    FindCredentials,
    /// Fetching a token.
    FetchToken,
    /// Looking a manifest up.
    HeadManifest,
    /// Reading a manifest.
    GetManifest,
    /// Writing a manifest.
    PutManifest,
    /// Deleting a manifest.
    DeleteManifest,
    /// Listing what is in a repository.
    ListTags,
    /// Listing what refers to a manifest.
    ListReferrers,
    /// Looking a blob up.
    HeadBlob,
    /// Reading a blob.
    GetBlob,
    /// Reading a foreign layer from where its owner keeps it.
    GetForeignBlob,
    /// Mounting a blob from another repository.
    MountBlob,
    /// Opening an upload.
    StartUpload,
    /// Writing a blob.
    PutBlob,
    /// Asking how far an upload is.
    UploadStatus,
    /// Giving an upload up.
    CancelUpload,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ping => "ping",
            Self::FindCredentials => "find the credentials",
            Self::FetchToken => "fetch a token",
            Self::HeadManifest => "look up the manifest",
            Self::GetManifest => "read the manifest",
            Self::PutManifest => "write the manifest",
            Self::DeleteManifest => "delete the manifest",
            Self::ListTags => "list the tags",
            Self::ListReferrers => "list the referrers of",
            Self::HeadBlob => "look up the blob",
            Self::GetBlob => "read the blob",
            Self::GetForeignBlob => "read the foreign layer",
            Self::MountBlob => "mount the blob",
            Self::StartUpload => "open an upload",
            Self::PutBlob => "write the blob",
            Self::UploadStatus => "ask how far the upload is",
            Self::CancelUpload => "give up the upload",
        })
    }
}

/// The kind of an error: what a program decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such repository, manifest or blob.
    NotFound,
    /// Our own credentials cannot be found, so the registry was not asked.
    NoCredentials,
    /// The registry wants credentials, or other ones.
    Unauthorized,
    /// The registry knows us and says no.
    Denied,
    /// Too many requests.
    RateLimited,
    /// No connection, or it broke.
    Unreachable,
    /// Silence for longer than the idle timeout.
    Timeout,
    /// An answer that makes no sense, or a request that made none to the registry.
    Malformed,
    /// The bytes are not those that the digest names.
    DigestMismatch,
    /// Larger than a limit, ours or the registry's.
    TooLarge,
    /// Something that the registry or we do not do.
    Unsupported,
    /// The registry failed.
    Server,
}

/// Whether the same request can go well later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not unless somebody changes something.
    Never,
    /// Perhaps, but not before `after`; zero where the registry named no time.
    Later {
        /// The time that the registry asked for, capped.
        after: Duration,
    },
}

/// What went wrong. Cheap to clone: tokens that many wait for fail for all of them.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: ErrorKind,
    operation: Operation,
    registry: Registry,
    url: Option<String>,
    status: Option<StatusCode>,
    codes: Vec<String>,
    message: String,
    retry_after: Option<Duration>,
    anonymous: bool,
    stale_token: bool,
    chunks_to_try: bool,
}

impl Error {
    /// An error without an answer; `message` is for people.
    pub(crate) fn new(
        kind: ErrorKind,
        operation: Operation,
        registry: &Registry,
        message: impl AsRef<str>,
    ) -> Self {
        Self(Box::new(Details {
            kind,
            operation,
            registry: registry.clone(),
            url: None,
            status: None,
            codes: Vec::new(),
            message: presentable(message.as_ref()),
            retry_after: None,
            anonymous: false,
            stale_token: false,
            chunks_to_try: false,
        }))
    }

    /// The error that an answer with a status outside the expected ones is.
    pub(crate) fn from_answer(
        operation: Operation,
        registry: &Registry,
        status: StatusCode,
        body: &[u8],
    ) -> Self {
        let (codes, message) = read_envelope(body);
        let kind = kind_of(status, &codes);
        let mut error = Self::new(kind, operation, registry, message);
        error.0.status = Some(status);
        error.0.codes = codes;
        error
    }

    #[must_use]
    pub(crate) fn at(mut self, url: &Url) -> Self {
        self.0.url = Some(redacted(url));
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.0.retry_after = after;
        self
    }

    #[must_use]
    pub(crate) fn anonymously(mut self, anonymous: bool) -> Self {
        self.0.anonymous = anonymous;
        self
    }

    /// Marks a refusal of a token that had been kept: a fresh one may do.
    #[must_use]
    pub(crate) fn with_stale_token(mut self, stale: bool) -> Self {
        self.0.stale_token = stale;
        self
    }

    /// Marks a refusal of what can be sent in chunks, or in smaller ones.
    #[must_use]
    pub(crate) fn with_chunks_to_try(mut self) -> Self {
        self.0.chunks_to_try = true;
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The registry that was asked.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The HTTP status, where an answer came.
    pub fn status(&self) -> Option<u16> {
        self.0.status.map(|status| status.as_u16())
    }

    /// The registry's error codes (distribution-spec, "Error Codes").
    pub fn codes(&self) -> &[String] {
        &self.0.codes
    }

    /// The registry's or the system's own words, capped.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The URL without query and user, where one was asked.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Whether the request went out without credentials, since none are known.
    pub fn is_anonymous(&self) -> bool {
        self.0.anonymous
    }

    /// Whether the same request can go well later.
    pub fn retry(&self) -> Retry {
        match self.0.kind {
            _ if self.0.stale_token || self.0.chunks_to_try => {
                Retry::Later { after: Duration::ZERO }
            }
            ErrorKind::RateLimited
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::DigestMismatch
            | ErrorKind::Server => Retry::Later { after: self.0.retry_after.unwrap_or_default() },
            ErrorKind::NoCredentials => {
                self.0.retry_after.map_or(Retry::Never, |after| Retry::Later { after })
            }
            ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::Malformed
            | ErrorKind::TooLarge
            | ErrorKind::Unsupported => Retry::Never,
        }
    }
}

/// `cannot read the manifest at r.example (429 TOOMANYREQUESTS): slow down [https://r.example/…]`
impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} at {}", self.operation, self.registry)?;
        if let Some(status) = self.status {
            write!(f, " ({}", status.as_u16())?;
            self.codes.iter().try_for_each(|code| write!(f, " {code}"))?;
            f.write_str(")")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.url {
            Some(url) => write!(f, " [{url}]"),
            None => Ok(()),
        }
    }
}

/// Scheme, host and path alone: signed URLs and tokens live in the query.
pub(crate) fn redacted(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_query(None);
    plain.set_fragment(None);
    // These fail only for URLs that cannot have a user at all.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    plain.to_string()
}

/// What a stranger said, as one line without control characters; what is beyond 300 characters is
/// an ellipsis. For messages.
pub fn presentable(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String =
        line.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect();
    if line.chars().count() > MAX_MESSAGE_CHARS {
        shown.push('…');
    }
    shown
}

/// The error envelope of the distribution-spec; unknown codes and other fields are let be.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<EnvelopeError>,
}

#[derive(Deserialize)]
struct EnvelopeError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Codes and message of an error body; a body that is no envelope is itself the message.
fn read_envelope(body: &[u8]) -> (Vec<String>, String) {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return (Vec::new(), String::from_utf8_lossy(body).into_owned());
    };
    let message =
        envelope.errors.iter().map(|error| error.message.as_str()).find(|m| !m.is_empty());
    let message = message.unwrap_or_default().to_owned();
    let is_code = |code: &str| {
        !code.is_empty()
            && code.len() <= 64
            && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let codes = envelope.errors.into_iter().map(|error| error.code).filter(|code| is_code(code));
    (codes.take(MAX_ERROR_CODES).collect(), message)
}

/// The kind of a refused request. A code says more than the status: some registries answer
/// 400 or 401 with every code.
fn kind_of(status: StatusCode, codes: &[String]) -> ErrorKind {
    let by_code = codes.iter().find_map(|code| match code.as_str() {
        "TOOMANYREQUESTS" => Some(ErrorKind::RateLimited),
        "DENIED" => Some(ErrorKind::Denied),
        "UNSUPPORTED" => Some(ErrorKind::Unsupported),
        "NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_BLOB_UNKNOWN" => {
            Some(ErrorKind::NotFound)
        }
        "DIGEST_INVALID" => Some(ErrorKind::DigestMismatch),
        _ => None,
    });
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        429 => ErrorKind::RateLimited,
        500..=599 if status != StatusCode::NOT_IMPLEMENTED => ErrorKind::Server,
        _ if by_code.is_some() => by_code.unwrap_or(ErrorKind::Malformed),
        403 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        413 => ErrorKind::TooLarge,
        405 | 415 | 416 | 501 => ErrorKind::Unsupported,
        _ => ErrorKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        "r.example:5000".parse().unwrap()
    }

    fn refused(status: u16, body: &[u8]) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::from_answer(Operation::GetManifest, &registry(), status, body)
    }

    #[test]
    fn an_envelope_gives_codes_and_message() {
        let error = refused(
            404,
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.codes(), ["MANIFEST_UNKNOWN"]);
        assert_eq!(
            error.to_string(),
            "cannot read the manifest at r.example:5000 (404 MANIFEST_UNKNOWN): manifest unknown"
        );
    }

    #[test]
    fn plain_text_is_cut_and_stays_one_line() {
        let error = refused(429, "slow\r\n\u{1b}[31m down ".repeat(100).as_bytes());
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.message().starts_with("slow [31m down"));
        assert_eq!(error.message().chars().count(), MAX_MESSAGE_CHARS + 1);
    }

    #[test]
    fn a_url_loses_its_secrets() {
        let url = "https://user:pw@s3.example/blob?X-Amz-Signature=abc#f".parse().unwrap();
        assert_eq!(redacted(&url), "https://s3.example/blob");
    }

    #[test]
    fn the_status_and_then_the_code_decide_the_kind() {
        let denied = br#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let lacking = br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
        for (status, body, kind) in [
            (401, denied.as_slice(), ErrorKind::Unauthorized),
            (400, denied, ErrorKind::Denied),
            (400, lacking, ErrorKind::NotFound),
            (403, b"", ErrorKind::Denied),
            (400, b"", ErrorKind::Malformed),
            (500, b"", ErrorKind::Server),
            (501, b"", ErrorKind::Unsupported),
        ] {
            assert_eq!(refused(status, body).kind(), kind, "{status}");
        }
    }
}
