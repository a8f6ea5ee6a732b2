//! What is remembered of one source, and the legal moves of it: pure, no storage.
//!
//! ```text
//!            want            claim             settle
//!  (nothing) ----> wanted ---------> copying ---------> present
//!                    ^                 | |
//!                    |   hand back     | | failed, may pass   --> failed  --claim when due-->
//!                    +-----------------+ | failed, will not   --> refused --want--> (due now)
//! ```

use std::time::Duration;

use protocol::{Digest, ImageReference, RefusalCode, Side};

use crate::clock::Timestamp;

/// How long after a refusal asking again leads to another try. Long enough that a Deployment's
/// retries do not hammer a registry, short enough that a mended secret is seen soon.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The delay before a failed copy is tried again: doubled each time, from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Asked for; no worker has it yet.
    Wanted,
    /// A worker copies it.
    Copying,
    /// Whole at the target.
    Present,
    /// The last copy failed, and will be tried again by itself.
    Failed,
    /// The last copy failed in a way that trying again does not mend; asking again retries.
    Refused,
}

impl State {
    /// The word in the ledger and in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Copying => "copying",
            Self::Present => "present",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// The inverse of [`State::as_str`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Wanted, Self::Copying, Self::Present, Self::Failed, Self::Refused]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// Why the last copy failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind, as the policy is told it.
    pub(crate) code: RefusalCode,
    /// Where.
    pub(crate) side: Side,
    /// For people.
    pub(crate) message: String,
    /// Whether trying again does not mend it, unless somebody changes something.
    pub(crate) is_lasting: bool,
}

/// How a copy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The replica is whole.
    Copied {
        /// Of its manifest.
        digest: Digest,
        /// Of all its blobs and manifests.
        size_bytes: u64,
    },
    /// It failed, for now or lastingly.
    Failed {
        /// Why.
        failure: Failure,
        /// The time that a registry asked for; zero where it named none.
        not_before: Duration,
    },
    /// The worker was stopped; nothing is known.
    HandedBack,
}

/// What is remembered of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The image as it was asked for.
    pub(crate) source: ImageReference,
    /// Where its replica is, or will be.
    pub(crate) target: ImageReference,
    /// Where it is in its life.
    pub(crate) state: State,
    /// Of the replica's manifest, once copied.
    pub(crate) digest: Option<Digest>,
    /// Of the replica, once copied.
    pub(crate) size_bytes: Option<u64>,
    /// Copies that failed since the last that did not.
    pub(crate) attempts: u32,
    /// Why the last of them failed. Kept until one succeeds.
    pub(crate) failure: Option<Failure>,
    /// When a worker may take it; None where none shall.
    pub(crate) due_at: Option<Timestamp>,
    /// When the state last changed.
    pub(crate) changed_at: Timestamp,
    /// Grows with each change, so that of two readings the newer one is known.
    pub(crate) revision: u64,
}

impl Record {
    /// A source that nobody has asked for before.
    pub(crate) fn wanted(source: ImageReference, target: ImageReference, now: Timestamp) -> Self {
        Self {
            source,
            target,
            state: State::Wanted,
            digest: None,
            size_bytes: None,
            attempts: 0,
            failure: None,
            due_at: Some(now),
            changed_at: now,
            revision: 1,
        }
    }

    /// Whether asking for the replica at `target` changes anything: it is refused and time has
    /// passed, or it was copied to another place than the one in force now.
    pub(crate) fn needs_want(&self, target: &ImageReference, now: Timestamp) -> bool {
        let retry = self.state == State::Refused
            && self.due_at.is_none()
            && now - self.changed_at >= REFUSED_RETRY;
        retry || (self.target != *target && self.state != State::Copying)
    }

    /// Asked for. A refused source keeps its state and reason until the new try ends, so that
    /// what people are told does not flicker.
    #[must_use]
    pub(crate) fn want(self, target: &ImageReference, now: Timestamp) -> Self {
        if !self.needs_want(target, now) {
            return self;
        }
        if self.target == *target {
            return Self { due_at: Some(now), ..self }.changed();
        }
        let revision = self.revision;
        Self { revision, ..Self::wanted(self.source, target.clone(), now) }.changed()
    }

    /// A worker takes it. None where that is not a legal move.
    pub(crate) fn claim(self, now: Timestamp) -> Option<Self> {
        let due = self.due_at.is_some_and(|due_at| due_at <= now);
        let legal = matches!(self.state, State::Wanted | State::Failed | State::Refused);
        (due && legal).then(|| {
            Self { state: State::Copying, due_at: None, changed_at: now, ..self }.changed()
        })
    }

    /// A copy ended. None where none was under way.
    pub(crate) fn settle(self, settlement: Settlement, now: Timestamp) -> Option<Self> {
        if self.state != State::Copying {
            return None;
        }
        let record = Self { changed_at: now, ..self };
        let record = match settlement {
            Settlement::Copied { digest, size_bytes } => Self {
                state: State::Present,
                digest: Some(digest),
                size_bytes: Some(size_bytes),
                attempts: 0,
                failure: None,
                due_at: None,
                ..record
            },
            Settlement::Failed { failure, not_before } => {
                let (state, due_at) = if failure.is_lasting {
                    (State::Refused, None)
                } else {
                    (State::Failed, Some(now + retry_delay(record.attempts).max(not_before)))
                };
                let attempts = record.attempts.saturating_add(1);
                Self { state, attempts, failure: Some(failure), due_at, ..record }
            }
            Settlement::HandedBack => Self { state: State::Wanted, due_at: Some(now), ..record },
        };
        Some(record.changed())
    }

    fn changed(self) -> Self {
        Self { revision: self.revision + 1, ..self }
    }
}

/// The delay after `attempts` failed tries. No jitter: the workers take one at a time anyway.
fn retry_delay(attempts: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << attempts.min(16)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests;
