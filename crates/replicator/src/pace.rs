//! How fast a copy goes, smoothed, and when it ends at that: pure, no clock.

use std::time::Duration;

use protocol::Progress;

/// Looks that are closer together count as one: what passes in less says little.
const MIN_STEP: Duration = Duration::from_millis(500);

/// How much of the past counts: of what was a time ago as long as this, a third.
const SMOOTHED_OVER: Duration = Duration::from_secs(5);

/// A rate below this is standing still: the end cannot be told.
const STANDSTILL_PER_SECOND: f64 = 1.0;

/// How fast a copy goes. The default is that of one which begins.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    /// The last look, as the time since the copy began.
    at: Duration,
    /// What was done by then.
    bytes_done: u64,
    per_second: Option<f64>,
}

impl Pace {
    /// The pace after a look `at` which so much was done. It may be less than before: what was
    /// sent in vain counts no more.
    #[must_use]
    pub(crate) fn seen(self, bytes_done: u64, at: Duration) -> Self {
        let step = at.saturating_sub(self.at);
        if step < MIN_STEP {
            return self;
        }
        let moved = bytes_done.saturating_sub(self.bytes_done) as f64;
        let now = moved / step.as_secs_f64();
        let per_second = match self.per_second {
            None => now,
            Some(before) => {
                let kept = (-step.as_secs_f64() / SMOOTHED_OVER.as_secs_f64()).exp();
                before * kept + now * (1.0 - kept)
            }
        };
        Self { at, bytes_done, per_second: Some(per_second) }
    }

    /// Bytes a second; None until there is something to tell it by.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.per_second.map(|per_second| per_second as u64)
    }

    /// How long it takes yet; None where that cannot be told.
    pub(crate) fn left(&self, progress: &Progress) -> Option<Duration> {
        let per_second = self.per_second.filter(|rate| *rate >= STANDSTILL_PER_SECOND)?;
        let left = progress.bytes_total.saturating_sub(progress.bytes_done);
        (progress.bytes_total > 0).then(|| Duration::from_secs_f64(left as f64 / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(looks: &[(u64, u64)]) -> Pace {
        let seen =
            |pace: Pace, (ms, bytes): &(u64, u64)| pace.seen(*bytes, Duration::from_millis(*ms));
        looks.iter().fold(Pace::default(), seen)
    }

    fn progress(bytes_done: u64, bytes_total: u64) -> Progress {
        Progress { bytes_done, bytes_total, ..Progress::default() }
    }

    #[test]
    fn a_steady_copy_has_its_rate_and_an_end() {
        let pace = after(&[(1_000, 100), (2_000, 200), (3_000, 300)]);
        assert_eq!(pace.bytes_per_second(), Some(100));
        assert_eq!(pace.left(&progress(300, 1_300)), Some(Duration::from_secs(10)));
    }

    #[test]
    fn looks_that_come_together_do_not_shake_it() {
        let pace = after(&[(1_000, 100), (1_001, 100), (1_100, 100), (2_000, 200)]);
        assert_eq!(pace.bytes_per_second(), Some(100));
    }

    #[test]
    fn a_change_is_followed_and_not_at_once() {
        let slow = [(1_000, 100), (2_000, 200)];
        let soon = after(&[&slow[..], &[(3_000, 1_200)]].concat()).bytes_per_second().unwrap();
        assert!((101..500).contains(&soon), "{soon}");
        let late = after(&[&slow[..], &[(42_000, 40_200)]].concat()).bytes_per_second().unwrap();
        assert!((990..=1_000).contains(&late), "{late}");
    }

    #[test]
    fn nothing_is_told_of_what_has_just_begun_stands_still_or_has_no_size() {
        assert_eq!(after(&[(100, 50)]).bytes_per_second(), None);
        assert_eq!(after(&[(1_000, 0)]).left(&progress(0, 100)), None);
        assert_eq!(after(&[(1_000, 10)]).left(&progress(0, 0)), None);
        // What was sent in vain is no negative rate.
        assert_eq!(after(&[(1_000, 100), (60_000, 40)]).bytes_per_second(), Some(0));
    }
}
