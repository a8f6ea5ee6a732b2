//! One transaction: actions applied to records by their own rules, and what became of it.
//!
//! What is named is read first, in one order, so that two replicators never wait for each other
//! crosswise; then wishes and settlements in memory, and their rows in one statement; claims
//! last, which pass over rows that somebody else holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use protocol::{ImageReference, Registry};
use sqlx::AnyConnection;

use super::action::{Action, Done, Reply, Terms};
use super::contents::{self, Contents};
use super::grant::{Finding, SourceName};
use super::history::{self, Copied, Tallies};
use super::moments::Moment;
use super::places;
use super::queue::{self, Turns};
use super::record::{self, Demand, Left, Record, Removal, Settlement};
use super::store::Store;
use super::uses::{self, Use};
use super::work::{Ask, Ticket, Work};
use super::{LedgerError, grants, moments, removals, rows};
use crate::clock::Timestamp;

/// Records that come back into the queue in one transaction.
const RETURNED_AT_ONCE: u32 = 64;

/// How long the name of a replicator that is gone is kept.
pub(super) const SILENT_MS: i64 = 24 * 60 * 60 * 1000;

/// Applies `actions` in one transaction.
pub(super) async fn write(
    store: &Store,
    terms: &Terms,
    actions: &[Action],
) -> Result<Done, LedgerError> {
    let mut transaction = store.begin().await?;
    let now = store.now(&mut transaction).await?;
    let mut batch = Batch {
        store,
        terms,
        now,
        connection: &mut transaction,
        records: HashMap::new(),
        claims_before: HashMap::new(),
        unwritten: BTreeMap::new(),
        forgotten: Vec::new(),
        turns: Turns::default(),
        requests: Tallies::default(),
        copies: Vec::new(),
        contents: Vec::new(),
        done: Done::nothing(now),
    };
    batch.apply(actions).await?;
    let done = batch.done;
    transaction.commit().await?;
    Ok(done)
}

struct Batch<'a> {
    store: &'a Store,
    terms: &'a Terms,
    now: Timestamp,
    connection: &'a mut AnyConnection,
    records: HashMap<ImageReference, Record>,
    /// How often sources without a record were claimed before.
    claims_before: HashMap<ImageReference, u64>,
    unwritten: BTreeMap<ImageReference, Record>,
    forgotten: Vec<ImageReference>,
    turns: Turns,
    requests: Tallies,
    copies: Vec<Copied>,
    contents: Vec<(String, Contents)>,
    done: Done,
}

impl Batch<'_> {
    async fn apply(&mut self, actions: &[Action]) -> Result<(), LedgerError> {
        self.read_named(actions).await?;
        let mut replies = Vec::with_capacity(actions.len());
        for action in actions {
            replies.push(match action {
                Action::Want(ask) => self.want(ask).await?,
                Action::Retry(source) => self.retry(source).await?,
                Action::Settle { ticket, settlement, bytes_moved, .. } => {
                    self.settle(ticket, settlement, *bytes_moved).await?
                }
                Action::Retire { source, revision } => Ok(self.retire(source, *revision)),
                Action::EndRemoval { ticket, removal } => {
                    self.end_removal(ticket, *removal).await?
                }
                _ => Ok(None),
            });
        }
        self.write_down().await?;
        let mut is_swept = false;
        let mut at_work = None;
        for (action, reply) in actions.iter().zip(&mut replies) {
            match action {
                Action::Want(_)
                | Action::Retry(_)
                | Action::Retire { .. }
                | Action::EndRemoval { .. }
                | Action::Settle { finding: None, .. } => {}
                Action::Settle { ticket, finding: Some(finding), .. } => {
                    self.learn(&(&ticket.source).into(), finding.clone()).await?;
                }
                Action::Claim { most_of_one_registry } => {
                    if !std::mem::replace(&mut is_swept, true) {
                        self.sign_if_due().await?;
                        self.return_to_queue().await?;
                    }
                    *reply = Ok(self.claim(*most_of_one_registry, &mut at_work).await?);
                }
                Action::Learn { source, finding } => self.learn(source, finding.clone()).await?,
                Action::See { changes, known_until } => self.see(changes, *known_until).await?,
                Action::Live { requests, has_lost, places } => {
                    history::put_requests(self.connection, requests).await?;
                    if *has_lost {
                        moments::put(self.connection, Moment::RequestsLost, self.now).await?;
                    }
                    places::put_places(self.connection, places, self.now).await?;
                    self.sign(1).await?;
                    self.hand_back_unheld().await?;
                    let leaving = rows::leaving(self.connection).await?;
                    self.done.changed.extend(leaving.into_iter().map(Arc::new));
                }
                Action::Hold { name } => {
                    let lock = self.store.for_update();
                    let owner = &self.terms.owner;
                    if !removals::hold(self.connection, name, owner, self.now, lock).await? {
                        *reply = Err(LedgerError::Held);
                    }
                }
                Action::Release { name } => {
                    removals::release(self.connection, name, &self.terms.owner).await?;
                }
                Action::Note(moment) => moments::put(self.connection, *moment, self.now).await?,
                Action::Leave => {
                    let owner = &self.terms.owner;
                    queue::take_back_signs(self.connection, Some(owner)).await?;
                }
                Action::Prune => history::prune(self.connection, self.now).await?,
            }
        }
        self.done.replies = replies;
        Ok(())
    }

    /// Reads the records that actions name, and locks them in one order.
    async fn read_named(&mut self, actions: &[Action]) -> Result<(), LedgerError> {
        let mut sources: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Want(ask) => Some(ask.source.clone()),
                Action::Retry(source) => Some(source.clone()),
                Action::Settle { ticket, .. } | Action::EndRemoval { ticket, .. } => {
                    Some(ticket.source.clone())
                }
                Action::Retire { source, .. } => Some(source.clone()),
                _ => None,
            })
            .collect();
        sources.sort_unstable();
        sources.dedup();
        let records = rows::find_all(self.connection, &sources, self.store.for_update()).await?;
        self.records = records.into_iter().map(|record| (record.source.clone(), record)).collect();
        sources.retain(|source| !self.records.contains_key(source));
        self.claims_before = history::claims(self.connection, &sources).await?;
        Ok(())
    }

    async fn want(&mut self, ask: &Ask) -> Result<Reply, LedgerError> {
        let before = self.records.get(&ask.source).cloned();
        let demand = match &before {
            Some(record) => record.demand(&ask.wish, &ask.asker.namespace, self.now),
            None => Some(Demand::Anew),
        };
        let was_ahead = before.as_ref().is_some_and(|record| record.work.is_ahead());
        let is_full = !was_ahead && self.room() == 0;
        if before.is_some() || !is_full {
            self.requests.add(&ask.source, &ask.asker, self.now);
        }
        let (priority, namespace) = match (demand, &before) {
            (Some(Demand::Anew), _) if is_full => {
                return Ok(Err(LedgerError::TooMany { limit: self.terms.max_waiting }));
            }
            // What is there serves on, and what was refused stays so, until there is room.
            (Some(Demand::Again(_) | Demand::Instead), _) if is_full => {
                return Ok(Ok(before.map(Arc::new)));
            }
            (None, _) => return Ok(Ok(before.map(Arc::new))),
            (Some(Demand::Sooner), Some(record)) => (ask.wish.priority, &record.namespace),
            (Some(Demand::Again(priority)), _) => (priority, &ask.asker.namespace),
            (Some(_), _) => (ask.wish.priority, &ask.asker.namespace),
        };
        let registry = ask.source.registry();
        let turn = self.turns.next(self.connection, priority, registry, namespace).await?;
        let after = match before.clone() {
            Some(record) => record.want(ask.clone(), turn, self.now),
            None => {
                // One that was forgotten counts on, so that each of its copies is on record once.
                let claims = self.claims_before.get(&ask.source).copied().unwrap_or(0);
                Record { claims, ..Record::wanted(ask.clone(), turn, self.now) }
            }
        };
        self.change(before.as_ref(), after.clone());
        Ok(Ok(Some(Arc::new(after))))
    }

    async fn retry(&mut self, source: &ImageReference) -> Result<Reply, LedgerError> {
        let Some(before) = self.records.get(source).cloned() else { return Ok(Ok(None)) };
        let was_ahead = before.work.is_ahead();
        if !was_ahead && self.room() == 0 {
            return Ok(Err(LedgerError::TooMany { limit: self.terms.max_waiting }));
        }
        let (priority, registry) = (record::RETRIED, source.registry());
        let namespace = &before.namespace;
        let turn = self.turns.next(self.connection, priority, registry, namespace).await?;
        match before.clone().retry(turn, self.now) {
            None => Ok(Ok(Some(Arc::new(before)))),
            Some(after) => {
                self.change(Some(&before), after.clone());
                Ok(Ok(Some(Arc::new(after))))
            }
        }
    }

    async fn settle(
        &mut self,
        ticket: &Ticket,
        settlement: &Settlement,
        bytes_moved: u64,
    ) -> Result<Reply, LedgerError> {
        let Some(before) = self.records.get(&ticket.source).cloned() else { return Ok(Ok(None)) };
        let Work::Leased { since, .. } = before.work else { return Ok(Ok(None)) };
        let turn = match settlement {
            Settlement::HandedBack => self.turns.front(self.connection, before.priority).await?,
            Settlement::Copied { .. } | Settlement::Failed { .. } => 0,
        };
        let after = before.clone().settle(ticket, settlement.clone(), turn, self.now);
        let Some(after) = after else { return Ok(Ok(None)) };
        let copied = Copied::new(ticket.clone(), settlement, bytes_moved, since, self.now);
        self.copies.push(copied);
        if let Settlement::Copied { contents: Some(contents), .. } = settlement {
            self.contents.push((ticket.source.to_string(), contents.clone()));
        }
        self.change(Some(&before), after.clone());
        Ok(Ok(Some(Arc::new(after))))
    }

    /// None where something has changed since it was looked at.
    fn retire(&mut self, source: &ImageReference, revision: u64) -> Option<Arc<Record>> {
        let before = self.records.get(source).cloned()?;
        let is_unchanged = before.revision == revision;
        let owner = self.terms.owner.clone();
        let after = before.clone().retire(owner, self.now).filter(|_| is_unchanged)?;
        self.change(Some(&before), after.clone());
        Some(Arc::new(after))
    }

    async fn end_removal(
        &mut self,
        ticket: &Ticket,
        removal: Removal,
    ) -> Result<Reply, LedgerError> {
        let Some(before) = self.records.get(&ticket.source).cloned() else { return Ok(Ok(None)) };
        let turn = self.turns.front(self.connection, before.priority).await?;
        match before.clone().end_removal(ticket, removal, turn, self.now) {
            None => Ok(Ok(None)),
            Some(Left::Stays(after)) => {
                self.change(Some(&before), Record::clone(&after));
                Ok(Ok(Some(Arc::from(after))))
            }
            Some(Left::Nothing) => {
                self.records.remove(&ticket.source);
                self.unwritten.remove(&ticket.source);
                self.forgotten.push(ticket.source.clone());
                Ok(Ok(None))
            }
        }
    }

    /// Takes what comes first, of a registry that has not its share yet.
    async fn claim(
        &mut self,
        most_of_one_registry: usize,
        at_work: &mut Option<Vec<Registry>>,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        if at_work.is_none() {
            let owner = &self.terms.owner;
            *at_work = Some(queue::registries_at_work(self.connection, owner).await?);
        }
        let at_work = at_work.get_or_insert_default();
        let count = |registry: &Registry| at_work.iter().filter(|other| *other == registry).count();
        let with_their_share: HashSet<&Registry> =
            at_work.iter().filter(|registry| count(registry) >= most_of_one_registry).collect();
        let left_out: Vec<_> = with_their_share.into_iter().collect();
        let held = removals::held(self.connection, self.now, self.store.for_share()).await?;
        let lock = self.store.for_update_skip_locked();
        let next = rows::next(self.connection, &left_out, &held, lock).await?;
        let Some(before) = next else { return Ok(None) };
        let after = before.clone().claim(self.terms.owner.clone(), self.now);
        let Some(after) = after else { return Ok(None) };
        at_work.push(after.source.registry().clone());
        self.change(Some(&before), after.clone());
        self.write_down().await?;
        Ok(Some(Arc::new(after)))
    }

    /// What has become due, and what somebody left behind, joins the queue.
    async fn return_to_queue(&mut self) -> Result<(), LedgerError> {
        let lock = self.store.for_update_skip_locked();
        let (now, owner) = (self.now, &self.terms.owner);
        for record in rows::due(self.connection, now, RETURNED_AT_ONCE, lock).await? {
            let (priority, registry) = (record.priority, record.source.registry());
            let namespace = &record.namespace;
            let turn = self.turns.next(self.connection, priority, registry, namespace).await?;
            if let Some(after) = record.clone().join(turn, now) {
                self.change(Some(&record), after);
            }
        }
        let abandoned =
            rows::abandoned(self.connection, owner, now, RETURNED_AT_ONCE, lock).await?;
        for record in abandoned {
            tracing::warn!(source = %record.source, "a replicator that is gone had this copy: it is taken over");
            self.hand_back(record).await?;
        }
        self.write_down().await
    }

    /// Claims of this process that no worker knows of: the answer to one was lost, since the
    /// database failed in the moment of its commit or nobody listened any more.
    async fn hand_back_unheld(&mut self) -> Result<(), LedgerError> {
        let lock = self.store.for_update_skip_locked();
        for record in rows::leased_to(self.connection, &self.terms.owner, lock).await? {
            if !self.terms.held.contains(&(record.source.clone(), record.claims)) {
                self.hand_back(record).await?;
            }
        }
        self.write_down().await
    }

    async fn hand_back(&mut self, record: Record) -> Result<(), LedgerError> {
        let turn = self.turns.front(self.connection, record.priority).await?;
        if let Some(after) = record.clone().hand_back(turn, self.now) {
            self.change(Some(&record), after);
        }
        Ok(())
    }

    /// A claim needs a sign of life that holds for a while, whenever the last one was.
    async fn sign_if_due(&mut self) -> Result<(), LedgerError> {
        if self.terms.signed_until - self.now >= self.terms.lease / 2 {
            return Ok(());
        }
        self.sign(0).await
    }

    async fn sign(&mut self, lives: i64) -> Result<(), LedgerError> {
        let until = self.now + self.terms.lease;
        queue::give_sign(self.connection, &self.terms.owner, until, lives).await?;
        let silent_since = Timestamp::from_ms(self.now.as_ms() - SILENT_MS);
        queue::forget_silent(self.connection, silent_since).await?;
        removals::forget_lost(self.connection).await?;
        self.done.signed_until = Some(until);
        Ok(())
    }

    async fn learn(&mut self, source: &SourceName, finding: Finding) -> Result<(), LedgerError> {
        let mut grants = grants::find(self.connection, source).await?;
        grants.learn(finding, self.now, self.terms.remember);
        grants::put(self.connection, source, &grants).await?;
        self.done.learned.push(source.clone());
        Ok(())
    }

    async fn see(
        &mut self,
        changes: &[(Use, u64)],
        known_until: Option<Timestamp>,
    ) -> Result<(), LedgerError> {
        uses::put(self.connection, changes, self.now).await?;
        match known_until {
            // A clock that runs ahead must not tell of what nobody can have seen yet.
            Some(at) => moments::put(self.connection, Moment::PodsKnown, at.min(self.now)).await,
            None => Ok(()),
        }
    }

    fn room(&self) -> u64 {
        self.terms.room.saturating_add_signed(-self.done.growth)
    }

    /// Keeps a change until it is written.
    fn change(&mut self, before: Option<&Record>, after: Record) {
        let was_ahead = before.is_some_and(|record| record.work.is_ahead());
        self.done.growth += i64::from(after.work.is_ahead()) - i64::from(was_ahead);
        let waits = |record: &Record| matches!(record.work, Work::Waiting { .. });
        self.done.new_work += usize::from(waits(&after) && !before.is_some_and(waits));
        self.records.insert(after.source.clone(), after.clone());
        self.unwritten.insert(after.source.clone(), after);
    }

    async fn write_down(&mut self) -> Result<(), LedgerError> {
        let forgotten = std::mem::take(&mut self.forgotten);
        rows::forget(self.connection, &forgotten).await?;
        self.done.forgotten.extend(forgotten);
        let records = std::mem::take(&mut self.unwritten);
        rows::put(self.connection, &records.values().collect::<Vec<_>>()).await?;
        self.done.changed.extend(records.into_values().map(Arc::new));
        history::put_requests(self.connection, &std::mem::take(&mut self.requests)).await?;
        history::put_copies(self.connection, &std::mem::take(&mut self.copies)).await?;
        contents::put(self.connection, &std::mem::take(&mut self.contents)).await
    }
}
