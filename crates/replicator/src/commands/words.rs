//! What stands in documents, in words for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstyle::{AnsiColor, Effects, Style};
use indicatif::{HumanBytes, HumanDuration};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::table::{Cell, printable};
use crate::ledger::record::State;

/// Where nothing is known, or there is nothing.
const NOTHING: &str = "-";

/// What people should look at.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);

/// What is no harm yet.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();

/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();

/// What is on its way.
const MOVING: Style = AnsiColor::Cyan.on_default();

/// Heads of lists.
pub(crate) const HEAD: Style = Style::new().effects(Effects::BOLD);

/// A state, in its colour.
pub(crate) fn state(state: State) -> Cell {
    let style = match state {
        State::Present => GOOD,
        State::Copying => MOVING,
        State::Wanted => Style::new(),
        State::Stale => DOUBTFUL,
        State::Failed | State::Refused => BAD,
    };
    Cell::from(state.as_str()).styled(style)
}

/// A time as in `2026-11-25T16:38:07Z`.
pub(crate) fn moment(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| NOTHING.to_owned())
}

/// How long ago, as in `3m`. What is yet to come, by a clock that differs, is now.
pub(crate) fn ago(ms: i64, now_ms: i64) -> String {
    duration(Duration::from_millis(u64::try_from(now_ms - ms).unwrap_or(0)))
}

/// A duration, as in `3m`.
pub(crate) fn duration(duration: Duration) -> String {
    format!("{:#}", HumanDuration(duration))
}

/// A size, as in `1.20 MiB`.
pub(crate) fn size(size_bytes: u64) -> String {
    HumanBytes(size_bytes).to_string()
}

/// What may not be known.
pub(crate) fn or_nothing(known: Option<impl ToString>) -> String {
    known.map_or_else(|| NOTHING.to_owned(), |known| known.to_string())
}

/// Names after each other.
pub(crate) fn list(names: &[String]) -> String {
    if names.is_empty() { NOTHING.to_owned() } else { printable(&names.join(", ")) }
}

/// The time by the clock of this machine, for ages.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
