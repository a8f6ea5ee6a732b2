//! Figures as people read them.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};

use crate::ledger::record::State;
use crate::ledger::work::Priority;

/// What is not known, or not there.
pub(super) const NOTHING: &str = "–";

/// A size, as in `1.20 MiB`.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A duration, as in `3 minutes`.
pub(super) fn duration(ms: u64) -> String {
    HumanDuration(Duration::from_millis(ms)).to_string()
}

/// How long ago something was. Told by the minute, so that a page does not change all the time.
pub(super) fn ago(then_ms: i64, now_ms: i64) -> String {
    match u64::try_from(now_ms - then_ms).unwrap_or(0) {
        0..60_000 => "just now".to_owned(),
        ms => format!("{} ago", duration(ms)),
    }
}

/// In what time something will be, likewise.
pub(super) fn ahead(then_ms: i64, now_ms: i64) -> String {
    match u64::try_from(then_ms - now_ms).unwrap_or(0) {
        0..60_000 => "within a minute".to_owned(),
        ms => format!("in {}", duration(ms)),
    }
}

/// What a state means.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Wanted => "waits for its first copy",
        State::Copying => "is being copied",
        State::Present => "is there and current",
        State::Stale => "is there, maybe not current",
        State::Failed => "failed, tried again by itself",
        State::Refused => "failed, tried again when asked for",
    }
}

/// Why something is in the queue.
pub(super) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Now => "a pod waits for it",
        Priority::Soon => "wanted soon",
        Priority::Refresh => "to be looked at again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_the_minute() {
        assert_eq!(ago(0, 59_999), "just now");
        assert_eq!(ago(0, 180_000), "3 minutes ago");
        // A clock that differs.
        assert_eq!(ago(5_000, 0), "just now");
        assert_eq!(ahead(59_000, 0), "within a minute");
        assert_eq!(ahead(300_000, 0), "in 5 minutes");
        assert_eq!(ahead(0, 5_000), "within a minute");
    }
}
