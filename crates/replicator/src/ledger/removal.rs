//! How replicas are taken away so that nobody is told that they are there.
//!
//! 1. [`Ledger::retire`]: a record is leaving. Whoever asks now hears that it is not there, and it
//!    is copied again once the removal has ended.
//! 2. [`Ledger::grace`]: until all replicators have heard of that, and what they answered before
//!    is on disk.
//! 3. [`Ledger::hold`]: nothing is copied into the repository any more, and nothing is under way.
//! 4. [`Ledger::leaving`] and [`Ledger::ran`]: has anybody asked meanwhile, or run it?
//! 5. The caller deletes, as long as [`Ledger::lease_left`] holds.
//! 6. [`Ledger::end_removal`] and [`Ledger::release`].
//!
//! Who dies in between leaves leases that run out: what it had is copied again, which finds out
//! what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::ReplicaRepository;
use sqlx::{Any, Row};
use tokio::time::Instant;

use super::action::Action;
use super::moments::{self, Moment};
use super::record::{Record, Removal};
use super::removals::PRUNE;
use super::work::Ticket;
use super::{Ledger, LedgerError, rows};
use crate::clock::Timestamp;

/// How often a replicator writes down what it counted until it is sure that it has heard of what
/// was on disk before: the first may have begun before that, the second brings it to its memory,
/// and the third writes down what it answered until then.
const SIGNS_OF_GRACE: i64 = 3;

/// How long that may take: three times ten seconds, and as much again for a slow database.
const GRACE_LIMIT: Duration = Duration::from_secs(120);

/// How often it is looked at.
const GRACE_LOOK: Duration = Duration::from_millis(250);

/// What is known of what runs, and of what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Until when it is known what runs in the cluster; None where nobody watches.
    pub(crate) pods_known_until: Option<Timestamp>,
    /// When requests were answered and not written down, at last.
    pub(crate) requests_lost_at: Option<Timestamp>,
}

impl Ledger {
    /// What decisions about what is unused can stand on.
    pub(crate) async fn picture(&self) -> Result<Picture, LedgerError> {
        let mut connection = self.shared.store.readers().acquire().await?;
        Ok(Picture {
            pods_known_until: moments::find(&mut connection, Moment::PodsKnown).await?,
            requests_lost_at: moments::find(&mut connection, Moment::RequestsLost).await?,
        })
    }

    /// When a scheduled prune ended at last, by any replicator.
    pub(crate) async fn pruned_at(&self) -> Result<Option<Timestamp>, LedgerError> {
        let mut connection = self.shared.store.readers().acquire().await?;
        moments::find(&mut connection, Moment::Pruned).await
    }

    /// A scheduled prune has ended.
    pub(crate) async fn note_pruned(&self) -> Result<(), LedgerError> {
        self.change(Action::Note(Moment::Pruned)).await.map(drop)
    }

    /// Takes a record whose replica is to be deleted. None where it has changed since it was read,
    /// or does not rest. The caller must end the removal.
    pub(crate) async fn retire(&self, record: &Record) -> Result<Option<Arc<Record>>, LedgerError> {
        let (source, revision) = (record.source.clone(), record.revision);
        self.change(Action::Retire { source, revision }).await
    }

    /// Writes down how a removal ended. Where the lease was lost it changes nothing.
    pub(crate) async fn end_removal(
        &self,
        ticket: Ticket,
        removal: Removal,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.change(Action::EndRemoval { ticket, removal }).await
    }

    /// Becomes the one replicator that prunes; an error where another one is.
    pub(crate) async fn begin_prune(&self) -> Result<(), LedgerError> {
        self.change(Action::Hold { name: PRUNE.to_owned() }).await.map(drop)
    }

    /// Is that no more.
    pub(crate) async fn end_prune(&self) -> Result<(), LedgerError> {
        self.change(Action::Release { name: PRUNE.to_owned() }).await.map(drop)
    }

    /// Keeps copies away from a repository until it is released. False where one is under way.
    pub(crate) async fn hold(&self, repository: &ReplicaRepository) -> Result<bool, LedgerError> {
        let name = repository.to_string();
        self.change(Action::Hold { name: name.clone() }).await?;
        let mut connection = self.shared.store.readers().acquire().await?;
        Ok(!rows::is_copied_into(&mut connection, &name).await?)
    }

    /// Lets copies into a repository again.
    pub(crate) async fn release(&self, repository: &ReplicaRepository) -> Result<(), LedgerError> {
        self.change(Action::Release { name: repository.to_string() }).await.map(drop)
    }

    /// Of these records, those that are still leaving: nobody has asked for them.
    pub(crate) async fn leaving(&self, tickets: &[Ticket]) -> Result<Vec<Ticket>, LedgerError> {
        let mut connection = self.shared.store.readers().acquire().await?;
        let leaving = rows::leaving(&mut connection).await?;
        let leaving: Vec<_> = leaving.iter().filter_map(Record::ticket).collect();
        Ok(tickets.iter().filter(|ticket| leaving.contains(ticket)).cloned().collect())
    }

    /// How long what this replicator holds is its own at least.
    pub(crate) fn lease_left(&self) -> Duration {
        let until = Timestamp::from_ms(self.shared.signed_until_ms.load(Ordering::Relaxed));
        until - self.shared.store.local_now()
    }

    /// Waits until all replicators know what is on disk now, and have written down what they
    /// answered before that. False where one says nothing: it may go on answering from memory
    /// until it is forgotten, a day after its last word.
    pub(crate) async fn grace(&self) -> Result<bool, LedgerError> {
        let before = self.lives().await?;
        let begun = Instant::now();
        loop {
            let now = self.lives().await?;
            // One that is there no more has ended in order, or was silent for a day.
            let has_heard = |(id, lives): (&String, &i64)| {
                now.get(id).is_none_or(|now| *now >= lives + SIGNS_OF_GRACE)
            };
            if before.iter().all(has_heard) {
                return Ok(true);
            }
            if begun.elapsed() >= GRACE_LIMIT {
                return Ok(false);
            }
            tokio::time::sleep(GRACE_LOOK).await;
        }
    }

    async fn lives(&self) -> Result<BTreeMap<String, i64>, LedgerError> {
        let sql = "SELECT id, lives FROM replicators";
        let rows = sqlx::query::<Any>(sql).fetch_all(self.shared.store.readers()).await?;
        let read = |row: &sqlx::any::AnyRow| Ok((row.try_get("id")?, row.try_get("lives")?));
        rows.iter().map(read).collect()
    }
}
