//! How many requests a registry says are left: Docker Hub's `RateLimit-*` headers, as in
//! `100;w=21600`. What makes no sense is as if it were not there.

use std::time::Duration;

use http::HeaderMap;

/// The longest source that is kept; Docker Hub's is an address or a UUID.
const MAX_SOURCE_CHARS: usize = 64;

/// What a registry last said of its rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests left.
    pub remaining: u64,
    /// Of how many.
    pub limit: Option<u64>,
    /// In what time.
    pub window: Option<Duration>,
    /// Whom it counts: an address or an account (`Docker-RateLimit-Source`).
    pub source: Option<String>,
}

impl Quota {
    /// None where the registry does not say how many are left.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name)?.to_str().ok();
        let (remaining, window) = parse(text("ratelimit-remaining")?)?;
        let limit = text("ratelimit-limit").and_then(parse);
        let source = text("docker-ratelimit-source");
        Some(Self {
            remaining,
            limit: limit.map(|(limit, _)| limit),
            window: limit.and_then(|(_, window)| window).or(window),
            source: source.map(|source| source.chars().take(MAX_SOURCE_CHARS).collect()),
        })
    }

    /// Less than a tenth is left.
    pub(crate) fn is_low(&self) -> bool {
        self.limit.is_some_and(|limit| self.remaining < limit.div_ceil(10))
    }
}

/// `100;w=21600`: a number, and the seconds for which it holds. Of a list the first counts.
fn parse(value: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = value.split(',').next()?.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let seconds = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, seconds.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(headers: &[(&'static str, &str)]) -> Option<Quota> {
        let parsed = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        Quota::of(&parsed.collect())
    }

    #[test]
    fn docker_hubs_headers_are_read() {
        let read = quota(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "9;w=21600"),
            ("docker-ratelimit-source", "192.0.2.7"),
        ]);
        let expected = Quota {
            remaining: 9,
            limit: Some(100),
            window: Some(Duration::from_secs(21_600)),
            source: Some("192.0.2.7".to_owned()),
        };
        assert!(expected.is_low());
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn nonsense_is_tolerated() {
        for value in ["", "many", "-1", "99999999999999999999", ";w=1", "1.5", "1 2"] {
            assert_eq!(quota(&[("ratelimit-remaining", value)]), None, "{value}");
        }
        let alone = quota(&[("ratelimit-remaining", " 5 ; w=x ,7"), ("ratelimit-limit", "-")]);
        let alone = alone.unwrap();
        assert_eq!((alone.remaining, alone.limit, alone.window), (5, None, None));
        assert!(!alone.is_low());
        let odd = [("ratelimit-remaining", "7"), ("ratelimit-limit", "0")];
        assert!(!quota(&odd).unwrap().is_low());
        assert_eq!(quota(&[("ratelimit-limit", "100")]), None);
    }
}
