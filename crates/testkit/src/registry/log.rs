//! What was asked, for tests that count.

use http::Method;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/v2/`
    Ping,
    /// The token endpoint.
    Token,
    /// A manifest.
    Manifest,
    /// A blob.
    Blob,
    /// An upload, or a mount.
    Upload,
    /// The referrers of a manifest.
    Referrers,
    /// The tags of a repository.
    Tags,
    /// None of these.
    Other,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// What it is about.
    pub kind: Kind,
    /// Path and query.
    pub path: String,
    /// The secret that came with it.
    pub authorization: Option<String>,
    /// The range that was asked for.
    pub range: Option<String>,
    /// The range of what came with it.
    pub content_range: Option<String>,
    /// The length of what came with it.
    pub content_length: Option<u64>,
}
