//! The clock as a port: `main` picks the real one, tests turn one by hand.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment: milliseconds since 1970 (UTC), as the ledger stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// A moment from its milliseconds.
    pub(crate) const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Its milliseconds.
    pub(crate) const fn as_ms(self) -> i64 {
        self.0
    }

    /// The time between two moments, whichever is the later one.
    pub(crate) fn apart(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// As in logs: RFC 3339, to the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000));
        let text = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("a time that is none"))
    }
}

/// The time between two moments; zero where the second is the later one.
impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Tells the time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock, read once; from then on it runs by the time that has passed. So a
    /// clock that is set, or jumps, changes nothing for a process that runs.
    pub(crate) fn system() -> Self {
        Self::steady(SystemTime::now(), Instant::now)
    }

    /// The machine's clock as it is set, jumps and all: for what others hold against theirs.
    pub(crate) fn wall() -> Self {
        Self::of(|| Timestamp(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn steady(wall: SystemTime, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let begin = Timestamp(0) + wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = now();
        Self::of(move || begin + now().duration_since(started))
    }

    /// A clock that tells what `now` says.
    pub(crate) fn of(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_wall_clock_is_read_once_and_the_time_that_passes_counts() {
        let passed_ms = Arc::new(AtomicU64::new(0));
        let (begin, passed) = (Instant::now(), Arc::clone(&passed_ms));
        let wall = UNIX_EPOCH + Duration::from_millis(5_000);
        let clock = Clock::steady(wall, move || {
            begin + Duration::from_millis(passed.load(Ordering::Relaxed))
        });
        assert_eq!(clock.now(), Timestamp::from_ms(5_000));
        passed_ms.store(70, Ordering::Relaxed);
        assert_eq!(clock.now(), Timestamp::from_ms(5_070));
    }

    #[test]
    fn a_moment_is_shown_as_in_logs() {
        assert_eq!(Timestamp::from_ms(1_700_000_000_999).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Timestamp::from_ms(i64::MAX).to_string(), "a time that is none");
    }

    #[test]
    fn moments_are_apart_in_both_directions() {
        let (early, late) = (Timestamp::from_ms(10), Timestamp::from_ms(25));
        assert_eq!((late - early, early - late), (Duration::from_millis(15), Duration::ZERO));
        assert_eq!(early.apart(late), late.apart(early));
    }
}
