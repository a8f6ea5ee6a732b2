//! What was found of one thing, and what is to be done about it.

use std::fmt;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::super::table::printable;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should.
    Ok,
    /// It works, and will not for ever, or not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// What kind of thing was looked at.
    pub(super) check: &'static str,
    /// Which of them.
    pub(super) subject: String,
    /// How it stands.
    pub(super) found: String,
    /// What is to be done; None where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// Whether a failure may pass by itself.
    #[serde(skip)]
    pub(super) may_pass: bool,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(
        check: &'static str,
        subject: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        let (subject, found) = (subject.to_string(), found.to_string());
        Self { verdict: Verdict::Ok, check, subject, found, next: None, may_pass: false }
    }

    /// Something is to be seen to.
    pub(super) fn warn(
        check: &'static str,
        subject: impl fmt::Display,
        found: impl fmt::Display,
        next: impl fmt::Display,
    ) -> Self {
        let next = Some(next.to_string());
        Self { verdict: Verdict::Warn, next, ..Self::ok(check, subject, found) }
    }

    /// Something is to be mended.
    pub(super) fn fail(
        check: &'static str,
        subject: impl fmt::Display,
        found: impl fmt::Display,
        next: impl fmt::Display,
    ) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(check, subject, found, next) }
    }

    /// Something gives no answer, and may do so later.
    pub(super) fn away(
        check: &'static str,
        subject: impl fmt::Display,
        found: impl fmt::Display,
        next: impl fmt::Display,
    ) -> Self {
        Self { may_pass: true, ..Self::fail(check, subject, found, next) }
    }
}

impl Verdict {
    fn style(self) -> Style {
        let color = match self {
            Self::Ok => AnsiColor::Green,
            Self::Warn => AnsiColor::Yellow,
            Self::Fail => AnsiColor::Red,
        };
        color.on_default()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// `fail  login        registry.corp as push: …`, and what is to be done on a line of its own.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, check, subject, found, next, .. } = self;
        let (style, word) = (verdict.style(), verdict.as_str());
        let (subject, found) = (printable(subject), printable(found));
        write!(f, "{style}{word:<4}{style:#}  {check:<13}  {subject}: {found}")?;
        match next {
            Some(next) => write!(f, "\n      {:<13}  -> {}", "", printable(next)),
            None => Ok(()),
        }
    }
}
