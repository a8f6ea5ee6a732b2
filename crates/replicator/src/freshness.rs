//! Freshness: how long what a source said is believed, by rule. Pure.
//!
//! A replica that is older is answered for all the same, and looked after in the background: one
//! request asks the source for the tag's digest, one the target whether the replica is there.
//! Of a source by digest the target alone is asked, since a digest cannot move.

use std::str::FromStr;
use std::time::Duration;

use protocol::{ImagePattern, ImageReference};
use serde::Deserialize;

/// How long a source is believed where no rule says otherwise: a moving tag is behind by an hour
/// at most, and an image in constant use costs 24 requests a day.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What `always` means: a burst of pods with one image shall not be a burst at its registry.
const ALWAYS_MAX_AGE: Duration = Duration::from_secs(10);

/// Rules that are read at most: each trigger looks through them.
const MAX_RULES: usize = 1_000;

/// The rules; the first that fits an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    rules: Vec<Rule>,
}

/// How long the sources that a pattern has are believed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    source: ImagePattern,
    check: Check,
}

/// When a source is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Check {
    Never,
    Always,
    After(Duration),
}

impl Freshness {
    /// The rules in their order.
    pub(crate) fn new(rules: Vec<Rule>) -> Result<Self, FreshnessError> {
        if rules.len() > MAX_RULES {
            return Err(FreshnessError::TooMany(rules.len()));
        }
        Ok(Self { rules })
    }

    /// How old what `source` said may be; None where it is never asked again.
    pub(crate) fn max_age(&self, source: &ImageReference) -> Option<Duration> {
        let rule = self.rules.iter().find(|rule| rule.source.matches(source));
        match rule.map(|rule| rule.check) {
            None => Some(DEFAULT_MAX_AGE),
            Some(Check::Never) => None,
            Some(Check::Always) => Some(ALWAYS_MAX_AGE),
            Some(Check::After(max_age)) => Some(max_age.max(ALWAYS_MAX_AGE)),
        }
    }
}

impl FromStr for Check {
    type Err = FreshnessError;

    fn from_str(text: &str) -> Result<Self, FreshnessError> {
        match text {
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            _ => parse_duration(text)
                .map(Self::After)
                .ok_or_else(|| FreshnessError::Check(text.chars().take(32).collect())),
        }
    }
}

impl TryFrom<String> for Check {
    type Error = FreshnessError;

    fn try_from(text: String) -> Result<Self, FreshnessError> {
        text.parse()
    }
}

/// A whole number and a unit: 90s, 15m, 1h, 7d. Not zero.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = is_number.then(|| number.parse().ok()).flatten()?;
    (number > 0).then(|| Duration::from_secs(u64::from(number) * unit_s))
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FreshnessError {
    /// Not a word or a duration.
    #[error("'{0}' says not when to check: `never`, `always`, or a time such as 90s, 15m, 1h, 7d")]
    Check(String),
    /// More than are read.
    #[error("there are {0} rules, at most {MAX_RULES} are read")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freshness(rules: &[(&str, &str)]) -> Freshness {
        let rule = |(source, check): &(&str, &str)| Rule {
            source: source.parse().unwrap(),
            check: check.parse().unwrap(),
        };
        Freshness::new(rules.iter().map(rule).collect()).unwrap()
    }

    #[test]
    fn case_19_the_first_rule_that_fits_says_when_a_tag_is_asked_for_again() {
        let freshness = freshness(&[
            ("docker.io/library/*:latest", "always"),
            ("docker.io/**", "90s"),
            ("registry.corp/releases/**", "never"),
            ("registry.corp/**", "7d"),
        ]);
        let max_age = |image: &str| freshness.max_age(&image.parse().unwrap());
        assert_eq!(max_age("nginx:latest"), Some(ALWAYS_MAX_AGE));
        assert_eq!(max_age("nginx:1.27"), Some(Duration::from_secs(90)));
        assert_eq!(max_age("registry.corp/releases/app:1"), None);
        assert_eq!(max_age("registry.corp/app:1"), Some(Duration::from_secs(7 * 24 * 60 * 60)));
        assert_eq!(max_age("ghcr.io/a/b:1"), Some(DEFAULT_MAX_AGE));
    }

    #[test]
    fn nothing_is_asked_for_more_often_than_always() {
        let max_age = freshness(&[("**", "1s")]).max_age(&"nginx:1".parse().unwrap());
        assert_eq!(max_age, Some(ALWAYS_MAX_AGE));
    }

    #[test]
    fn what_says_not_when_to_check_is_an_error() {
        for text in ["", "h", "0s", "1", "-1h", "1.5h", "1h30m", "1 h", "5000000000s", "+1h", "é"]
        {
            let error = text.parse::<Check>().unwrap_err();
            assert_eq!(error, FreshnessError::Check(text.to_owned()));
        }
    }
}
