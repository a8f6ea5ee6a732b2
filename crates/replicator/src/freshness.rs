//! Freshness: how long what a source said is believed. Pure; a rule says it for its sources.
//!
//! A replica that is older is answered for all the same, and looked after in the background: one
//! request asks the source for the tag's digest, one the target whether the replica is there.
//! Of a source by digest the target alone is asked, since a digest cannot move.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// How long a source is believed where no rule says otherwise: a moving tag is behind by an hour
/// at most, and an image in constant use costs 24 requests a day.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What `always` means: a burst of pods with one image shall not be a burst at its registry.
const ALWAYS_MAX_AGE: Duration = Duration::from_secs(10);

/// The units of time, in seconds.
const UNITS: [(u64, &str); 4] = [(1, "s"), (60, "m"), (60 * 60, "h"), (24 * 60 * 60, "d")];

/// When a source is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Check {
    /// Never.
    Never,
    /// As often as somebody asks for it, more or less.
    Always,
    /// When what it said is so old.
    After(Duration),
}

impl Check {
    /// How old what a source said may be; None where it is never asked again.
    pub(crate) fn max_age(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Always => Some(ALWAYS_MAX_AGE),
            Self::After(max_age) => Some(max_age.max(ALWAYS_MAX_AGE)),
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self::After(DEFAULT_MAX_AGE)
    }
}

impl FromStr for Check {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        match text {
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            _ => parse_duration(text)
                .map(Self::After)
                .ok_or_else(|| CheckError(text.chars().take(32).collect())),
        }
    }
}

impl TryFrom<String> for Check {
    type Error = CheckError;

    fn try_from(text: String) -> Result<Self, CheckError> {
        text.parse()
    }
}

/// A whole number and a unit: 90s, 15m, 1h, 7d. Not zero.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let (unit_s, _) = UNITS.into_iter().find(|(_, name)| *name == unit)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| number.parse().ok()).flatten()?;
    (number > 0).then(|| Duration::from_secs(u64::from(number) * unit_s))
}

/// `never`, `always`, or a time as it is written.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Always => f.write_str("always"),
            Self::After(max_age) => Period(*max_age).fmt(f),
        }
    }
}

/// A time as it is written: 90s, 15m, 1h, 7d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Period(pub(crate) Duration);

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        parse_duration(text).map(Self).ok_or_else(|| PeriodError(text.chars().take(32).collect()))
    }
}

/// As it is written, in the largest unit that it is a whole number of.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        let (unit_s, unit) =
            UNITS.into_iter().rfind(|(unit_s, _)| s.is_multiple_of(*unit_s)).unwrap_or(UNITS[0]);
        write!(f, "{}{unit}", s / unit_s)
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

/// Not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no time such as 90s, 15m, 1h, 7d")]
pub(crate) struct PeriodError(String);

/// Not a word or a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' says not when to check: `never`, `always`, or a time such as 90s, 15m, 1h, 7d")]
pub(crate) struct CheckError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn max_age(text: &str) -> Option<Duration> {
        text.parse::<Check>().unwrap().max_age()
    }

    #[test]
    fn case_19_a_check_says_how_long_a_source_is_believed() {
        assert_eq!(Check::default().max_age(), Some(DEFAULT_MAX_AGE));
        assert_eq!(max_age("always"), Some(ALWAYS_MAX_AGE));
        assert_eq!(max_age("90s"), Some(Duration::from_secs(90)));
        assert_eq!(max_age("7d"), Some(Duration::from_secs(7 * 24 * 60 * 60)));
        assert_eq!(max_age("never"), None);
    }

    #[test]
    fn nothing_is_asked_for_more_often_than_always() {
        assert_eq!(max_age("1s"), Some(ALWAYS_MAX_AGE));
    }

    #[test]
    fn a_check_is_shown_as_it_is_written() {
        for text in ["never", "always", "90s", "15m", "1h", "7d"] {
            assert_eq!(text.parse::<Check>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_says_not_when_to_check_is_an_error() {
        for text in ["", "h", "0s", "1", "-1h", "1.5h", "1h30m", "1 h", "5000000000s", "+1h", "é"]
        {
            let error = text.parse::<Check>().unwrap_err();
            assert_eq!(error, CheckError(text.to_owned()));
        }
    }
}
