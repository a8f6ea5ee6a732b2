//! One lot of replicas, from the record to the target and back: nobody is told any more that they
//! are there, then they are looked at once more, then deleted, then forgotten.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use copy::Unwanted;
use protocol::{Digest, ImageReference, ReplicaRepository};
use tokio::time::Instant;

use super::in_use::{self, InUse};
use super::plan::Group;
use super::run::{PruneError, Pruner};
use super::{Blind, check};
use crate::audit::entry::Removed;
use crate::clock::Timestamp;
use crate::ledger::LedgerError;
use crate::ledger::record::{Record, Removal};
use crate::ledger::work::Ticket;

/// The pause between two deletions: twenty a second at most, so that a registry has time for
/// copies and pulls.
pub(super) const PACE: Duration = Duration::from_millis(50);

/// What a lease must have left for one more deletion: more than a registry takes for it.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How long one deletion may take: it must have ended before anybody takes the lease for lost.
pub(super) const DELETION_TIME: Duration = Duration::from_secs(8);

/// How long the watch on pods may take to say something new.
const NEWS_LIMIT: Duration = Duration::from_secs(3 * 60);

/// How often it is looked whether it has.
const NEWS_LOOK: Duration = Duration::from_millis(500);

/// How long to wait after the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// A group that is leaving.
struct Taken {
    group: Group,
    tickets: Vec<Ticket>,
}

impl Pruner {
    /// Takes some groups away. Whatever goes wrong, none of them is leaving afterwards.
    pub(super) async fn take(
        &self,
        groups: Vec<Group>,
        cutoff: Timestamp,
    ) -> Result<(), PruneError> {
        let mut taken = Vec::new();
        let result = self.take_into(&mut taken, groups, cutoff).await;
        self.keep(taken).await;
        result
    }

    async fn take_into(
        &self,
        taken: &mut Vec<Taken>,
        groups: Vec<Group>,
        cutoff: Timestamp,
    ) -> Result<(), PruneError> {
        for group in groups {
            self.retire(taken, group).await?;
        }
        if taken.is_empty() {
            return Ok(());
        }
        let begun = self.ledger.now();
        tokio::select! {
            is_sure = self.wait(begun) => is_sure?,
            () = self.stop.cancelled() => return Err(PruneError::Ending),
        }
        let in_use = InUse::new(&self.target, self.ledger.ran().await?);
        let used = self.used(taken, &in_use, cutoff).await?;
        let is_used = |one: &Taken| one.tickets.iter().any(|ticket| used.contains(&ticket.source));
        let (used, unused): (Vec<_>, Vec<_>) = taken.drain(..).partition(is_used);
        self.keep(used).await;
        let mut by_repository = BTreeMap::<_, Vec<Taken>>::new();
        for one in unused {
            match one.group.at.clone() {
                Some((repository, _)) => by_repository.entry(repository).or_default().push(one),
                // Nothing of it is at the target.
                None => self.end(&one, Removal::Gone).await,
            }
        }
        let mut result = Ok(());
        for (repository, some) in by_repository {
            if result.is_err() {
                taken.extend(some);
                continue;
            }
            let in_use = in_use.digests(&repository.to_string(), cutoff);
            result = self.clear(&repository, some, in_use).await;
            // Where it cannot be written, the lease ends by itself.
            let _ = self.ledger.release(&repository).await;
        }
        result
    }

    /// All records of a group are leaving, or none.
    async fn retire(&self, taken: &mut Vec<Taken>, group: Group) -> Result<(), PruneError> {
        let mut one = Taken { group, tickets: Vec::new() };
        for asked in &one.group.records {
            let retired = self.ledger.retire(&asked.record).await;
            match retired {
                Ok(Some(record)) => one.tickets.extend(record.ticket()),
                other => {
                    self.keep(vec![one]).await;
                    return Ok(other.map(drop)?);
                }
            }
        }
        taken.push(one);
        Ok(())
    }

    /// Waits until all replicators have heard, and the watch on pods has told what ran at `begun`.
    async fn wait(&self, begun: Timestamp) -> Result<(), PruneError> {
        if !self.ledger.grace().await? {
            return Err(PruneError::Silent);
        }
        let waited = Instant::now();
        loop {
            let (picture, now) = (self.ledger.picture().await?, self.ledger.now());
            check(picture, now)?;
            if picture.pods_known_until.is_some_and(|until| until >= begun) {
                return Ok(());
            }
            if waited.elapsed() >= NEWS_LIMIT {
                return Err(Blind::OldPicture(now - begun).into());
            }
            tokio::time::sleep(NEWS_LOOK).await;
        }
    }

    /// What somebody has asked for or run since it was chosen.
    async fn used(
        &self,
        taken: &[Taken],
        in_use: &InUse,
        cutoff: Timestamp,
    ) -> Result<HashSet<ImageReference>, PruneError> {
        let tickets: Vec<_> = taken.iter().flat_map(|one| one.tickets.clone()).collect();
        let leaving = self.ledger.leaving(&tickets).await?;
        let sources: Vec<_> = tickets.iter().map(|ticket| &ticket.source).collect();
        let mut used = self.ledger.asked_since(&sources, cutoff).await?;
        let wanted = tickets.iter().filter(|ticket| !leaving.contains(ticket));
        used.extend(wanted.map(|ticket| ticket.source.clone()));
        let runs =
            |record: &Record| in_use.of(&self.target, record).is_some_and(|run| run.is_use(cutoff));
        let records = taken.iter().flat_map(|one| &one.group.records).map(|asked| &asked.record);
        used.extend(records.filter(|record| runs(record)).map(|record| record.source.clone()));
        Ok(used)
    }

    /// Deletes from one repository. An error where going on with others is no use.
    async fn clear(
        &self,
        repository: &ReplicaRepository,
        taken: Vec<Taken>,
        in_use: BTreeSet<Digest>,
    ) -> Result<(), PruneError> {
        match self.ledger.hold(repository).await {
            Ok(true) => {}
            // Who copies there comes first.
            held => {
                self.keep(taken).await;
                return Ok(held.map(drop)?);
            }
        }
        let mut unwanted = Unwanted { roots: BTreeMap::new(), in_use };
        for one in &taken {
            let Some((_, digest)) = &one.group.at else { continue };
            let tags: &mut BTreeSet<_> = unwanted.roots.entry(digest.clone()).or_default();
            for asked in &one.group.records {
                tags.extend(in_use::tags(&self.target, &asked.record));
            }
        }
        let survey = match self.remover.survey(repository, &unwanted).await {
            Ok(survey) => survey,
            Err(error) => {
                // Another repository may be well.
                tracing::warn!("{error}");
                self.note(|report| report.error = Some(error.to_string()));
                self.metrics.prune_failed();
                self.keep(taken).await;
                return Ok(());
            }
        };
        let (held, mut going): (Vec<_>, Vec<_>) = taken.into_iter().partition(|one| {
            let reason = one.group.at.as_ref().and_then(|(_, digest)| survey.held_back.get(digest));
            if let Some(reason) = reason {
                let source = &one.tickets[0].source;
                tracing::info!(%source, %repository, "a replica is kept: {reason}");
            }
            reason.is_some()
        });
        self.keep(held).await;
        for digest in &survey.delete {
            let deleted = self.delete(repository, digest).await;
            // Roots come first, so that a record's own manifest says what became of it.
            let own = going
                .iter()
                .position(|one| one.group.at.as_ref().is_some_and(|(_, root)| root == digest));
            let own = own.map(|at| going.swap_remove(at));
            match (deleted, own) {
                (Ok(()), Some(own)) => self.end(&own, Removal::Gone).await,
                (Ok(()), None) => {}
                (Err(error), own) => {
                    for one in own.into_iter().chain(going) {
                        self.end(&one, Removal::Unknown).await;
                    }
                    return Err(error);
                }
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    async fn delete(
        &self,
        repository: &ReplicaRepository,
        digest: &Digest,
    ) -> Result<(), PruneError> {
        if self.stop.is_cancelled() {
            return Err(PruneError::Ending);
        }
        if self.ledger.lease_left() < LEASE_MARGIN {
            return Err(PruneError::LeaseLost);
        }
        let deletion = self.remover.delete(repository, digest);
        match tokio::time::timeout(DELETION_TIME, deletion).await {
            Ok(Ok(_)) => {
                self.metrics.pruned_manifest();
                self.note(|report| report.manifests += 1);
                Ok(())
            }
            Ok(Err(error)) => Err(PruneError::Refused(error)),
            Err(_) => Err(PruneError::Slow),
        }
    }

    /// Nothing of these was deleted.
    async fn keep(&self, taken: Vec<Taken>) {
        for one in taken {
            self.end(&one, Removal::Kept).await;
        }
    }

    async fn end(&self, taken: &Taken, removal: Removal) {
        for (ticket, asked) in taken.tickets.iter().zip(&taken.group.records) {
            let Some(left) = self.end_one(ticket, removal).await else { continue };
            if removal != Removal::Gone {
                self.note(|report| report.kept += 1);
                continue;
            }
            let record = &asked.record;
            let is_wanted_again = left.is_some();
            tracing::info!(source = %record.source, target = %record.target, is_wanted_again, "replica removed");
            self.metrics.pruned_replica();
            self.note(|report| report.removed += 1);
            let removed = Removed::new(record, asked.last_at, taken.group.last_run);
            self.audit.record(self.ledger.now(), removed);
        }
    }

    /// What is leaving must not stay so: while this process lives, nobody else takes it over. None
    /// where its end cannot be written before that of the process.
    async fn end_one(&self, ticket: &Ticket, removal: Removal) -> Option<Option<Arc<Record>>> {
        loop {
            let error = match self.ledger.end_removal(ticket.clone(), removal).await {
                Ok(left) => return Some(left),
                Err(error) => error,
            };
            tracing::warn!(source = %ticket.source, %error, "the end of a removal could not be written");
            if self.stop.is_cancelled() || matches!(error, LedgerError::Closed) {
                return None;
            }
            tokio::time::sleep(LEDGER_PAUSE).await;
        }
    }
}
