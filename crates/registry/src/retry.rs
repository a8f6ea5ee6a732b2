//! Again, later, or not at all: exponential pauses with full jitter, and the registry's own
//! `Retry-After` where it names one. For requests that can be sent twice.

use std::future::Future;
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};

use crate::error::Retry;
use crate::limits;

/// How often and how soon a request is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How often it is tried in all; 1 is never again.
    pub attempts: usize,
    /// The longest first pause.
    pub min_backoff: Duration,
    /// The longest pause of all.
    pub max_backoff: Duration,
    /// The longest `Retry-After` that is waited out here; a longer one is the caller's matter.
    pub max_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: limits::ATTEMPTS,
            min_backoff: limits::MIN_BACKOFF,
            max_backoff: limits::MAX_BACKOFF,
            max_wait: limits::MAX_WAIT_INLINE,
        }
    }
}

impl RetryPolicy {
    /// Runs `attempt` until it succeeds, fails for good, or was tried often enough. `retry` looks
    /// at the caller's own error type; `notice` is told before each pause.
    pub(crate) async fn run<T, E, F, Fut>(
        &self,
        attempt: F,
        retry: impl Fn(&E) -> Retry,
        notice: impl Fn(&E, Duration),
    ) -> Result<T, E>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.min_backoff)
            .with_max_delay(self.max_backoff)
            .with_max_times(self.attempts.saturating_sub(1));
        attempt
            .retry(pauses)
            .when(|error| match retry(error) {
                Retry::Never => false,
                Retry::Later { after } => after <= self.max_wait,
            })
            .adjust(|error, pause| pause.map(|pause| self.pause(retry(error), pause)))
            .notify(notice)
            .await
    }

    /// Full jitter: many who failed together do not come back together.
    fn pause(&self, retry: Retry, longest: Duration) -> Duration {
        let jittered = longest.mul_f64(fastrand::f64());
        match retry {
            Retry::Later { after } => after.min(self.max_wait) + jittered,
            Retry::Never => jittered,
        }
    }
}

/// The time that a `Retry-After` names, in seconds or as a date (RFC 9110, section 10.2.3).
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let after = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(after.min(limits::MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_comes_in_seconds_or_as_a_date_and_is_capped() {
        let now = SystemTime::UNIX_EPOCH;
        let parse = |value| parse_retry_after(value, now);
        assert_eq!(parse(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(parse("Thu, 01 Jan 1970 00:01:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(parse("99999999999"), Some(limits::MAX_RETRY_AFTER));
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn the_jitter_is_full() {
        let policy = RetryPolicy::default();
        let later = Retry::Later { after: Duration::ZERO };
        let pauses: Vec<_> =
            (0..200).map(|_| policy.pause(later, Duration::from_secs(1))).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)));
        assert!(pauses.iter().any(|pause| *pause < Duration::from_millis(200)));
        assert!(pauses.iter().any(|pause| *pause > Duration::from_millis(800)));
    }

    #[test]
    fn a_pause_is_never_shorter_than_the_registry_asked() {
        let policy = RetryPolicy::default();
        let after = Duration::from_secs(3);
        let pause = policy.pause(Retry::Later { after }, Duration::from_secs(1));
        assert!(pause >= after && pause <= after + Duration::from_secs(1));
    }
}
