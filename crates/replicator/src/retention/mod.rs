//! Retention: takes away the replicas that nobody uses, and never one that is in use.
//!
//! ```text
//! in_use    what pods run, as repositories at the target have it; pure
//! plan      which replicas nobody uses, and why others stay; reads the ledger alone
//! run       takes them away, one run at a time
//!   lot       some of them: ledger, target, ledger
//! schedule  does so now and then
//! ```
//!
//! A replica is unused when nobody has asked for it and no pod has run it for a set time, by
//! whatever reference, and the same holds for all that shares its manifest. What a plan says is a
//! proposal: each replica is looked at once more when it has been taken from those who would be
//! told that it is there.

mod in_use;
mod lot;
mod plan;
mod run;
mod schedule;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ledger::removal::Picture;

pub(crate) use plan::{Group, Planner, Why};
pub(crate) use run::{PruneError, Pruner, RunReport};
pub(crate) use schedule::Schedule;

/// The shortest time after which an image may count as unused. An answer is believed by the policy
/// server's host for 60 s, requests are written down every 10 s, a pod is made within seconds of
/// its admission and seen by the watch within minutes: an hour is well beyond all of these together.
pub(crate) const LEAST_UNUSED: Duration = Duration::from_secs(60 * 60);

/// The longest: what pods ran is remembered a little longer than this.
pub(crate) const MOST_UNUSED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The usual one: a CronJob that runs once in a quarter is on the safe side.
pub(crate) const USUAL_UNUSED: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// How old the picture of what runs may be. The watch hears from the API server every minute at
/// least; who starts from it what nobody asked about is seen within that time.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// How long an image has to be unused until its replica may go: between an hour and a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnusedFor(Duration);

impl UnusedFor {
    /// None where it is too short or too long.
    pub(crate) fn new(time: Duration) -> Option<Self> {
        (LEAST_UNUSED..=MOST_UNUSED).contains(&time).then_some(Self(time))
    }

    /// Since when nobody must have used it.
    pub(crate) fn cutoff(self, now: Timestamp) -> Timestamp {
        let ms = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_ms(now.as_ms().saturating_sub(ms))
    }

    /// The time.
    pub(crate) fn time(self) -> Duration {
        self.0
    }
}

impl Default for UnusedFor {
    fn default() -> Self {
        Self(USUAL_UNUSED)
    }
}

/// Why nothing may be taken away at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Blind {
    /// Nobody watches pods.
    #[error(
        "it is not known what runs in the cluster: turn on `inventory.watch_pods`, for all namespaces"
    )]
    NoWatch,
    /// The watch has said nothing for long.
    #[error(
        "what runs in the cluster was known {} s ago at last: see why the watch on pods stands still (the log says so), or turn it on again",
        .0.as_secs()
    )]
    OldPicture(Duration),
    /// Requests were lost.
    #[error(
        "some of what was asked for {} s ago is not on record, since a replicator was killed or \
         could not write: an hour after that it counts no more",
        .0.as_secs()
    )]
    RequestsLost(Duration),
}

/// Whether decisions can stand on what is known.
pub(crate) fn check(picture: Picture, now: Timestamp) -> Result<(), Blind> {
    let known_until = picture.pods_known_until.ok_or(Blind::NoWatch)?;
    // One in the future is one of a clock that was wrong.
    let age = now.apart(known_until);
    if age > FRESH {
        return Err(Blind::OldPicture(age));
    }
    match picture.requests_lost_at.map(|at| now.apart(at)) {
        Some(age) if age < LEAST_UNUSED => Err(Blind::RequestsLost(age)),
        _ => Ok(()),
    }
}
