//! The one writer: takes what waits, makes it one transaction, and answers when it is on disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{ImageReference, Registry};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::record::{Record, Settlement, State};
use super::{LedgerError, Shared, store};
use crate::clock::{Clock, Timestamp};

/// Changes in one transaction. Enough to make a burst cheap, few enough that the first in it
/// does not wait long.
const BATCH: usize = 256;

/// A change that somebody waits for.
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) reply: oneshot::Sender<Result<Option<Arc<Record>>, LedgerError>>,
}

/// What to change.
pub(super) enum Action {
    /// A source is asked for.
    Want { source: ImageReference, target: ImageReference },
    /// A worker is free. It takes nothing of a registry of which so many copies are under way.
    Claim { most_of_one_registry: usize },
    /// A copy ended.
    Settle { source: ImageReference, settlement: Settlement },
}

/// Copies under way, by source registry.
#[derive(Clone, Default)]
struct UnderWay(HashMap<Registry, usize>);

impl UnderWay {
    /// The registries of which there are `most` or more.
    fn full(&self, most: usize) -> impl Iterator<Item = &Registry> {
        self.0.iter().filter(move |(_, count)| **count >= most).map(|(registry, _)| registry)
    }

    fn note(&mut self, before: Option<&Record>, after: &Record) {
        let was_copying = before.is_some_and(|before| before.state == State::Copying);
        let registry = after.source.registry();
        match (was_copying, after.state == State::Copying) {
            (false, true) => *self.0.entry(registry.clone()).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.0.get_mut(registry) {
                    *count -= 1;
                }
                self.0.retain(|_, count| *count > 0);
            }
            _ => {}
        }
    }
}

/// Runs until the last [`super::Ledger`] is dropped.
pub(super) async fn run(
    mut connection: SqliteConnection,
    mut waiting: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    clock: Clock,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // Nothing is, at first: what the last process left was handed back.
    let mut under_way = UnderWay::default();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let (actions, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|command| (command.action, command.reply)).unzip();
        let mut then = under_way.clone();
        let result = write(&mut connection, &mut then, actions, clock.now()).await;
        shared.writable.store(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(changes) => {
                under_way = then;
                publish(&shared, changes, replies);
            }
            Err(error) => {
                tracing::error!(%error, "the ledger could not be written");
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// What became of one action.
struct Change {
    record: Option<Arc<Record>>,
    is_new_work: bool,
}

async fn write(
    connection: &mut SqliteConnection,
    under_way: &mut UnderWay,
    actions: Vec<Action>,
    now: Timestamp,
) -> Result<Vec<Change>, LedgerError> {
    let mut transaction = connection.begin().await?;
    let mut changes = Vec::with_capacity(actions.len());
    for action in actions {
        changes.push(apply(&mut transaction, under_way, action, now).await?);
    }
    transaction.commit().await?;
    Ok(changes)
}

async fn apply(
    connection: &mut SqliteConnection,
    under_way: &mut UnderWay,
    action: Action,
    now: Timestamp,
) -> Result<Change, LedgerError> {
    let (before, after) = match action {
        Action::Want { source, target } => {
            let before = store::find(connection, &source).await?;
            let after = match before.clone() {
                Some(record) => record.want(&target, now),
                None => Record::wanted(source, target, now),
            };
            (before, Some(after))
        }
        Action::Claim { most_of_one_registry } => {
            let full = under_way.full(most_of_one_registry);
            let before = store::first_due(connection, now, full).await?;
            let after = before.clone().and_then(|record| record.claim(now));
            (before, after)
        }
        Action::Settle { source, settlement } => {
            let before = store::find(connection, &source).await?;
            let after = before.clone().and_then(|record| record.settle(settlement, now));
            (before, after)
        }
    };
    let is_changed = after.is_some() && after != before;
    if let Some(record) = &after
        && is_changed
    {
        store::put(connection, record).await?;
        under_way.note(before.as_ref(), record);
    }
    let is_due = after.as_ref().is_some_and(|record| record.due_at.is_some_and(|at| at <= now));
    Ok(Change { record: after.map(Arc::new), is_new_work: is_changed && is_due })
}

/// Tells memory, workers and callers what is on disk now.
fn publish(
    shared: &Shared,
    changes: Vec<Change>,
    replies: Vec<oneshot::Sender<Result<Option<Arc<Record>>, LedgerError>>>,
) {
    for (change, reply) in changes.into_iter().zip(replies) {
        if let Some(record) = &change.record {
            shared.remember(record);
        }
        if change.is_new_work {
            shared.work.notify_one();
        }
        // A caller that has given up finds the change in the ledger when it asks again.
        let _ = reply.send(Ok(change.record));
    }
}
