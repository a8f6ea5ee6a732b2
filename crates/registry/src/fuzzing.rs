//! Doors for the fuzz targets (`fuzz/`) to what reads strangers' words and is private otherwise.
//! No part of the API.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

use crate::auth::challenge::Challenge;
use crate::auth::token;
use crate::{blobs, referrers, upload};

/// Realm and service of the Bearer challenge in `WWW-Authenticate`, of which each line is one.
pub fn bearer_challenge(lines: &[u8]) -> Option<(String, Option<String>)> {
    let lines = lines.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (header::WWW_AUTHENTICATE, value)).collect();
    match Challenge::of(&headers, false)? {
        Challenge::Bearer(realm) => Some((realm.url, realm.service)),
        Challenge::Basic => None,
    }
}

/// The token in a reply, as a header, and how long it is to be used.
pub fn token_reply(body: &[u8], answered: SystemTime) -> Option<(HeaderValue, Duration)> {
    token::read(body, answered)
}

/// Bytes that an upload's `Range` names.
pub fn range(value: &str) -> Option<u64> {
    upload::status::parse_range(value)
}

/// First and last byte of a `Content-Range`.
pub fn content_range(value: &str) -> Option<(u64, u64)> {
    blobs::parse_content_range(value)
}

/// The next page of a `Link`.
pub fn next_link(value: &str) -> Option<&str> {
    referrers::parse_next(value)
}
