//! The one writer: takes what waits, makes it one transaction, and answers when it is on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::action::{Action, Done, Reply, Terms};
use super::batch;
use super::latency::Operation;
use super::{LedgerError, Shared};

/// Changes in one transaction. Enough to make a burst cheap, few enough that the first in it
/// does not wait long.
const BATCH: usize = 256;

/// How often a transaction is tried that met one of another replicator.
const TRIES: usize = 5;

/// A transaction that takes longer is given up: the database has stopped in the middle of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A change that somebody waits for.
pub(super) struct Command {
    pub(super) action: Action,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Runs until the last [`super::Ledger`] is dropped.
pub(super) async fn run(
    mut waiting: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    mut terms: Terms,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let (actions, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|command| (command.action, command.reply)).unzip();
        terms.room = terms.max_waiting.saturating_sub(shared.waiting.load(Ordering::Relaxed));
        let begun = shared.store.local_now();
        let written = write(&shared, &terms, &actions);
        match shared.latency.of(Operation::Write, written).await {
            Ok(done) => {
                if let Some(until) = done.signed_until {
                    // By this process' clock, and not later than by the database's.
                    let until = begun + (until - done.now);
                    shared.signed_until_ms.store(until.as_ms(), Ordering::Relaxed);
                }
                publish(&shared, &mut terms, &actions, done, replies);
            }
            Err(error) => {
                if shared.writable.swap(false, Ordering::Relaxed) {
                    tracing::error!(%error, "the ledger cannot be written: what is remembered is answered, the rest refused");
                }
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn write(shared: &Shared, terms: &Terms, actions: &[Action]) -> Result<Done, LedgerError> {
    let mut tries = 1;
    loop {
        let write = batch::write(&shared.store, terms, actions);
        match tokio::time::timeout(WRITE_TIMEOUT, write).await {
            Ok(Err(LedgerError::Conflict)) if tries < TRIES => tries += 1,
            Ok(result) => return result,
            Err(_) => return Err(LedgerError::Busy),
        }
    }
}

/// Tells memory, workers and callers what is on disk now.
fn publish(
    shared: &Shared,
    terms: &mut Terms,
    actions: &[Action],
    done: Done,
    replies: Vec<oneshot::Sender<Reply>>,
) {
    // Reading alone says nothing of a full disk.
    let has_written = !done.changed.is_empty()
        || !done.forgotten.is_empty()
        || !done.learned.is_empty()
        || done.signed_until.is_some();
    if has_written && !shared.writable.swap(true, Ordering::Relaxed) {
        tracing::info!("the ledger can be written again");
    }
    let now = shared.store.local_now();
    shared.waiting.store(
        shared.waiting.load(Ordering::Relaxed).saturating_add_signed(done.growth),
        Ordering::Relaxed,
    );
    // A file goes by the clock of this process.
    if shared.store.is_shared() {
        shared.ahead_ms.store(done.now.as_ms() - now.as_ms(), Ordering::Relaxed);
    }
    terms.signed_until = done.signed_until.unwrap_or(terms.signed_until);
    done.learned.iter().for_each(|source| shared.grants.forget(source));
    done.forgotten.iter().for_each(|source| shared.memory.forget(source));
    for record in &done.changed {
        shared.memory.remember(record, now);
    }
    for _ in 0..done.new_work {
        shared.work.notify_one();
    }
    for ((action, answer), reply) in actions.iter().zip(done.replies).zip(replies) {
        let claimed = match (action, &answer) {
            // Unchanged perhaps, but read just now.
            (Action::Want(_) | Action::Retry(_), Ok(Some(record))) => {
                shared.memory.remember(record, now);
                None
            }
            (Action::Settle { ticket, .. } | Action::EndRemoval { ticket, .. }, _) => {
                terms.held.remove(&(ticket.source.clone(), ticket.claim));
                None
            }
            (Action::Claim { .. } | Action::Retire { .. }, Ok(Some(record))) => {
                Some((record.source.clone(), record.claims))
            }
            _ => None,
        };
        // A caller that has given up finds the change in the ledger when it asks again. A claim
        // that nobody has is handed back with the next sign of life.
        if reply.send(answer).is_ok() {
            terms.held.extend(claimed);
        }
    }
}
