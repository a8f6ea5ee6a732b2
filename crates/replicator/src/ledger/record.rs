//! What is remembered of one source, and the legal moves of it: pure, no storage.
//!
//! ```text
//!            want            claim             copied
//!  (nothing) ----> wanted ---------> copying ---------> present <---+
//!                    ^                 | |                  |       | copied
//!                    |   hand back     | |           failed v       |
//!                    +-----------------+ |                stale ----+
//!                                        | failed, may pass   --> failed  --claim when due-->
//!                                        | failed, will not   --> refused --want, claim-->
//! ```
//!
//! A replica that is there is looked after by the same claim and settlement, while its state
//! stays present or stale: it is served all the time. What is due when is its [`Work`].
//!
//! One that is to be deleted is *leaving*: wanted under a lease, so that it is not served. Where
//! nobody asks meanwhile nothing is left of it; else it waits to be copied once that has ended.

use std::time::Duration;

use protocol::{Digest, ImageReference, Namespace, RefusalCode, Side};
use serde::{Deserialize, Serialize};

use super::charge::Charge;
use super::contents::Contents;
use super::work::{Ask, Owner, Priority, Ticket, Wish, Work};
use crate::clock::Timestamp;

/// How long after a failure that will not pass asking again leads to another try. Long enough
/// that a Deployment's retries do not hammer a registry, short enough that a mended secret is
/// seen soon.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The delay before a failed copy is tried again: doubled each time, from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// How urgent it is what a person wants to be tried again: somebody looks on.
pub(crate) const RETRIED: Priority = Priority::Now;

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Asked for; no worker has it yet.
    Wanted,
    /// A worker copies it for the first time, or once more after a failure.
    Copying,
    /// Whole at the target.
    Present,
    /// Whole at the target; what the source holds now could not be found out, or not be copied.
    Stale,
    /// The last copy failed, and will be tried again by itself.
    Failed,
    /// The last copy failed in a way that trying again does not mend; asking again retries.
    Refused,
}

impl State {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Wanted, Self::Copying, Self::Present, Self::Stale, Self::Failed, Self::Refused];

    /// The word in the ledger and in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Copying => "copying",
            Self::Present => "present",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// The inverse of [`State::as_str`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether pods can run from the replica.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Self::Present | Self::Stale)
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
    /// The replica is whole, and what the source is.
    Copied {
        /// Of its manifest.
        digest: Digest,
        /// Of all its blobs and manifests; zero where it was current, so that nobody counted.
        size_bytes: u64,
        /// What of it was copied; None where it was current.
        contents: Option<Contents>,
        /// What the replica counts from now on, and for whom; None where that stays as it was.
        charge: Option<Charge>,
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

impl Settlement {
    /// The word in the ledger's history and in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Copied { size_bytes: 0, .. } => "current",
            Self::Copied { .. } => "copied",
            Self::Failed { failure, .. } if failure.is_lasting => "refused",
            Self::Failed { .. } => "failed",
            Self::HandedBack => "handed-back",
        }
    }
}

/// How a removal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The replica is not there any more.
    Gone,
    /// Nothing was deleted.
    Kept,
    /// Something may have been deleted.
    Unknown,
}

/// What a removal leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: the source is as one that nobody ever asked for.
    Nothing,
    /// This.
    Stays(Box<Record>),
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
    /// What it counts, and for whom, once copied.
    pub(crate) charge: Option<Charge>,
    /// Copies that failed since the last that did not.
    pub(crate) attempts: u32,
    /// Why the last of them failed. Kept until one succeeds.
    pub(crate) failure: Option<Failure>,
    /// What is to be done.
    pub(crate) work: Work,
    /// How urgent that is, or was.
    pub(crate) priority: Priority,
    /// On whose behalf it is copied, and whose turn that takes.
    pub(crate) namespace: Namespace,
    /// How often a worker took it.
    pub(crate) claims: u64,
    /// When the source was last found to be what the replica is.
    pub(crate) checked_at: Option<Timestamp>,
    /// When the state was last set.
    pub(crate) changed_at: Timestamp,
    /// Grows with each change, so that of two readings the newer one is known.
    pub(crate) revision: u64,
}

/// What a wish changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It was copied to another place than the one in force now.
    Anew,
    /// It waits already, with less urgency.
    Sooner,
    /// It rests, and the time has come to look again.
    Again(Priority),
    /// It rests, since another namespace has no right to it; this one may have.
    Instead,
    /// Its replica is about to be deleted.
    Meanwhile,
}

impl Record {
    /// A source that nobody has asked for before.
    pub(crate) fn wanted(ask: Ask, turn: i64, now: Timestamp) -> Self {
        let Ask { source, wish, asker } = ask;
        Self {
            source,
            target: wish.target,
            state: State::Wanted,
            digest: None,
            size_bytes: None,
            charge: None,
            attempts: 0,
            failure: None,
            work: Work::Waiting { turn, since: now },
            priority: wish.priority,
            namespace: asker.namespace,
            claims: 0,
            checked_at: None,
            changed_at: now,
            // What was forgotten and comes again is newer than what anybody remembers of it.
            revision: now.as_ms().unsigned_abs(),
        }
    }

    /// What `wish` changes; None where all that it needs is on its way, or there.
    pub(crate) fn demand(
        &self,
        wish: &Wish,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Option<Demand> {
        if self.is_leaving() {
            return Some(Demand::Meanwhile);
        }
        if self.target != wish.target {
            return (!matches!(self.work, Work::Leased { .. })).then_some(Demand::Anew);
        }
        let has_rested = || now.apart(self.changed_at) >= REFUSED_RETRY;
        let was_set_back = || self.changed_at - now >= REFUSED_RETRY;
        match (&self.work, self.state) {
            (Work::Leased { .. }, _) => None,
            // What was due in seconds would be due in an hour, say.
            (Work::Later(_), state) if was_set_back() => {
                let is_there = state.is_there();
                Some(Demand::Again(if is_there { Priority::Refresh } else { wish.priority }))
            }
            (Work::Waiting { .. } | Work::Later(_), State::Present | State::Stale) => None,
            (Work::Waiting { .. } | Work::Later(_), _) => {
                (wish.priority < self.priority).then_some(Demand::Sooner)
            }
            (Work::Idle, State::Present) => {
                self.is_older_than(wish.max_age?, now).then_some(Demand::Again(Priority::Refresh))
            }
            (Work::Idle, State::Refused)
                if self.namespace != *namespace && self.lacks_the_right() =>
            {
                Some(Demand::Instead)
            }
            (Work::Idle, State::Stale) => has_rested().then_some(Demand::Again(Priority::Refresh)),
            (Work::Idle, _) => has_rested().then_some(Demand::Again(wish.priority)),
        }
    }

    /// Asked for, at `turn` if it has to wait. A refused source keeps its state and reason until
    /// the new try ends, so that what people are told does not flicker.
    #[must_use]
    pub(crate) fn want(self, ask: Ask, turn: i64, now: Timestamp) -> Self {
        let record = match self.demand(&ask.wish, &ask.asker.namespace, now) {
            None => return self,
            Some(Demand::Anew) => {
                let (claims, revision) = (self.claims, self.revision);
                Self { claims, revision, ..Self::wanted(ask, turn, now) }
            }
            Some(Demand::Sooner) => {
                let work = match self.work {
                    Work::Waiting { since, .. } => Work::Waiting { turn, since },
                    work => work,
                };
                Self { work, priority: ask.wish.priority, ..self }
            }
            Some(Demand::Again(priority)) => {
                let (work, namespace) = (Work::Waiting { turn, since: now }, ask.asker.namespace);
                Self { work, priority, namespace, ..self }
            }
            // It may be deleted at this moment: it is copied once that has ended.
            Some(Demand::Meanwhile) => Self {
                target: ask.wish.target,
                state: State::Copying,
                priority: ask.wish.priority,
                namespace: ask.asker.namespace,
                checked_at: None,
                changed_at: now,
                ..self
            },
            // What the other one was told is not what this one is to hear.
            Some(Demand::Instead) => Self {
                state: State::Wanted,
                attempts: 0,
                failure: None,
                work: Work::Waiting { turn, since: now },
                priority: ask.wish.priority,
                namespace: ask.asker.namespace,
                changed_at: now,
                ..self
            },
        };
        record.changed()
    }

    /// The time has come to try again: it joins the queue. None where that is not a legal move.
    pub(crate) fn join(self, turn: i64, now: Timestamp) -> Option<Self> {
        let is_due = matches!(self.work, Work::Later(at) if at <= now);
        is_due.then(|| Self { work: Work::Waiting { turn, since: now }, ..self }.changed())
    }

    /// A person wants it to be tried again: it joins the queue. None where it is there already, or
    /// worked on.
    pub(crate) fn retry(self, turn: i64, now: Timestamp) -> Option<Self> {
        let rests = matches!(self.work, Work::Idle | Work::Later(_));
        let work = Work::Waiting { turn, since: now };
        rests.then(|| Self { work, priority: RETRIED, ..self }.changed())
    }

    /// A worker takes it. None where that is not a legal move.
    pub(crate) fn claim(self, owner: Owner, now: Timestamp) -> Option<Self> {
        let (state, changed_at) = match self.state {
            State::Present | State::Stale => (self.state, self.changed_at),
            State::Wanted | State::Copying | State::Failed | State::Refused => {
                (State::Copying, now)
            }
        };
        matches!(self.work, Work::Waiting { .. }).then(|| {
            let work = Work::Leased { owner, since: now };
            Self { state, changed_at, work, claims: self.claims + 1, ..self }.changed()
        })
    }

    /// What lets the worker that has it settle it; None where none has it.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        let Work::Leased { owner, .. } = &self.work else { return None };
        Some(Ticket { source: self.source.clone(), owner: owner.clone(), claim: self.claims })
    }

    /// A copy ended. None where `ticket` is not that of the claim in force: its lease ran out, or
    /// it was settled before. One that is handed back waits at `turn`.
    pub(crate) fn settle(
        self,
        ticket: &Ticket,
        settlement: Settlement,
        turn: i64,
        now: Timestamp,
    ) -> Option<Self> {
        if self.ticket().as_ref() != Some(ticket) {
            return None;
        }
        let record = match settlement {
            Settlement::HandedBack => return self.hand_back(turn, now),
            Settlement::Copied { digest, size_bytes, charge, .. } => Self {
                state: State::Present,
                charge: charge.or(self.charge),
                size_bytes: if size_bytes == 0 { self.size_bytes } else { Some(size_bytes) },
                digest: Some(digest),
                attempts: 0,
                failure: None,
                work: Work::Idle,
                checked_at: Some(now),
                ..self
            },
            Settlement::Failed { failure, not_before } => Self {
                state: match (self.state.is_there(), failure.is_lasting) {
                    (true, _) => State::Stale,
                    (false, true) => State::Refused,
                    (false, false) => State::Failed,
                },
                work: if failure.is_lasting {
                    Work::Idle
                } else {
                    Work::Later(now + retry_delay(self.attempts).max(not_before))
                },
                attempts: self.attempts.saturating_add(1),
                failure: Some(failure),
                ..self
            },
        };
        Some(Self { changed_at: now, ..record }.changed())
    }

    /// Whether its replica is about to be deleted, and nobody has asked for it since. That is a
    /// lease on what is only wanted: claims make of that something that is copied.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state == State::Wanted && matches!(self.work, Work::Leased { .. })
    }

    /// Its replica is to be deleted: from now on it is not told to be there. None where it waits,
    /// or is worked on.
    pub(crate) fn retire(self, owner: Owner, now: Timestamp) -> Option<Self> {
        matches!(self.work, Work::Idle | Work::Later(_)).then(|| {
            let work = Work::Leased { owner, since: now };
            let (state, claims) = (State::Wanted, self.claims + 1);
            Self { state, changed_at: now, work, claims, ..self }.changed()
        })
    }

    /// A removal ended. None where `ticket` is not that of the claim in force. What was asked for
    /// meanwhile waits at `turn`, and so does what nobody can tell of.
    pub(crate) fn end_removal(
        self,
        ticket: &Ticket,
        removal: Removal,
        turn: i64,
        now: Timestamp,
    ) -> Option<Left> {
        if self.ticket().as_ref() != Some(ticket) {
            return None;
        }
        let record = match (removal, self.is_leaving(), self.checked_at) {
            (Removal::Gone, true, _) => return Some(Left::Nothing),
            (Removal::Gone, false, _) => {
                Self { digest: None, size_bytes: None, charge: None, ..self }
            }
            (Removal::Kept, true, Some(_)) => {
                let is_stale = self.failure.is_some();
                let state = if is_stale { State::Stale } else { State::Present };
                let record = Self { state, changed_at: now, work: Work::Idle, ..self };
                return Some(Left::Stays(Box::new(record.changed())));
            }
            (Removal::Kept | Removal::Unknown, ..) => self,
        };
        record.hand_back(turn, now).map(Box::new).map(Left::Stays)
    }

    /// Nobody works on it any more, and how far it came is not known: it waits again, at `turn`.
    /// None where nobody did.
    pub(crate) fn hand_back(self, turn: i64, now: Timestamp) -> Option<Self> {
        // Of what was leaving nobody knows whether it is there.
        let checked_at = self.checked_at.filter(|_| !self.is_leaving());
        let (state, changed_at) = match self.state {
            State::Copying => (State::Wanted, now),
            state => (state, self.changed_at),
        };
        matches!(self.work, Work::Leased { .. }).then(|| {
            let work = Work::Waiting { turn, since: now };
            Self { state, changed_at, checked_at, work, ..self }.changed()
        })
    }

    /// When it will be tried again by itself; None where it waits, is worked on, or rests.
    pub(crate) fn next_try(&self) -> Option<Timestamp> {
        match self.work {
            Work::Later(at) => Some(at),
            Work::Idle | Work::Waiting { .. } | Work::Leased { .. } => None,
        }
    }

    /// Why the last try failed, as far as `namespace` may know: what another one was denied is
    /// that one's own matter.
    pub(crate) fn failure_for(&self, namespace: &Namespace) -> Option<&Failure> {
        let is_of_another = self.lacks_the_right() && self.namespace != *namespace;
        self.failure.as_ref().filter(|_| !is_of_another)
    }

    /// Whether the last try failed for who it was made for: by a rule, for want of room, or at
    /// the source.
    fn lacks_the_right(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.code == RefusalCode::Denied)
    }

    /// A time in the future is one of a clock that was wrong.
    fn is_older_than(&self, max_age: Duration, now: Timestamp) -> bool {
        self.checked_at.is_none_or(|at| now.apart(at) >= max_age)
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
