//! What went between us and one registry, counted where it happens: [`Meter`] inside the client,
//! [`Traffic`] for who wants to know.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// How a request ended, as far as it can be told from its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 2xx.
    Success,
    /// 3xx: we were sent on.
    Redirect,
    /// 4xx but 429. Usual: a first question is often answered so, and so is one for a blob that
    /// is not there yet.
    Refusal,
    /// 429.
    TooMany,
    /// 5xx.
    Failure,
    /// No answer came.
    Silence,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Redirect, Self::Refusal, Self::TooMany, Self::Failure, Self::Silence];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::Refusal => "4xx",
            Self::TooMany => "429",
            Self::Failure => "5xx",
            Self::Silence => "none",
        }
    }

    fn of(status: Option<StatusCode>) -> Self {
        match status.map(|status| status.as_u16()) {
            None => Self::Silence,
            Some(429) => Self::TooMany,
            Some(500..) => Self::Failure,
            Some(400..) => Self::Refusal,
            Some(300..) => Self::Redirect,
            Some(_) => Self::Success,
        }
    }
}

/// What went between us and a registry, and whom it sent us to, since it was first asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    requests: [u64; Ending::ALL.len()],
    /// Bytes of the bodies that it sent.
    pub read_bytes: u64,
    /// Bytes of the bodies that it was sent.
    pub written_bytes: u64,
    /// Requests, and blobs to be sent, that were tried again after a failure.
    pub retries: u64,
    /// Tokens that were fetched for it.
    pub tokens_fetched: u64,
    /// Tokens that could not be fetched.
    pub tokens_failed: u64,
}

impl Traffic {
    /// Requests that ended so, each try and each redirect for itself.
    pub fn requests(&self, ending: Ending) -> u64 {
        self.requests[ending as usize]
    }
}

/// Counts. All figures only grow.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: [AtomicU64; Ending::ALL.len()],
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    retries: AtomicU64,
    tokens_fetched: AtomicU64,
    tokens_failed: AtomicU64,
}

impl Meter {
    /// A request ended; None where no answer came.
    pub(crate) fn answered(&self, status: Option<StatusCode>) {
        add(&self.requests[Ending::of(status) as usize], 1);
    }

    pub(crate) fn read(&self, bytes: usize) {
        add(&self.read_bytes, bytes as u64);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        add(&self.written_bytes, bytes as u64);
    }

    pub(crate) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(crate) fn fetched_token(&self, went_well: bool) {
        add(if went_well { &self.tokens_fetched } else { &self.tokens_failed }, 1);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Traffic {
            requests: self.requests.each_ref().map(read),
            read_bytes: read(&self.read_bytes),
            written_bytes: read(&self.written_bytes),
            retries: read(&self.retries),
            tokens_fetched: read(&self.tokens_fetched),
            tokens_failed: read(&self.tokens_failed),
        }
    }
}

fn add(figure: &AtomicU64, number: u64) {
    figure.fetch_add(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_one_word() {
        for (status, word) in [(201, "2xx"), (307, "3xx"), (404, "4xx"), (429, "429"), (503, "5xx")]
        {
            let meter = Meter::default();
            meter.answered(StatusCode::from_u16(status).ok());
            let counted: Vec<_> = Ending::ALL
                .into_iter()
                .filter(|ending| meter.traffic().requests(*ending) == 1)
                .map(Ending::as_str)
                .collect();
            assert_eq!(counted, [word], "{status}");
        }
        assert_eq!(Ending::of(None).as_str(), "none");
    }
}
