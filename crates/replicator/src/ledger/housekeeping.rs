//! What the ledger does by itself: gives signs of life, writes down what was counted in memory,
//! looks at what other replicators wrote, and lets old history go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::action::Action;
use super::writer::Command;
use super::{LedgerError, Shared, queue};
use crate::clock::Timestamp;

/// Signs of life in the time that one holds: two may be lost.
const SIGNS_IN_A_LEASE: u32 = 3;

/// How often history is pruned.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until the last [`super::Ledger`] is dropped.
pub(super) async fn run(
    commands: mpsc::WeakSender<Command>,
    shared: Arc<Shared>,
    lease: Duration,
    mut places_seen: Timestamp,
) {
    let period = lease / SIGNS_IN_A_LEASE;
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned_at = shared.store.local_now();
    loop {
        ticks.tick().await;
        let Some(commands) = commands.upgrade() else { return };
        live(&shared, &commands).await;
        if shared.store.is_shared() {
            match look_around(&shared, places_seen).await {
                Ok(seen) => places_seen = seen,
                Err(error) => tracing::debug!(%error, "the ledger could not be looked at"),
            }
        }
        let now = shared.store.local_now();
        if now - pruned_at >= PRUNE_INTERVAL {
            pruned_at = now;
            send(&commands, Action::Prune).await;
        }
    }
}

/// Gives a sign of life, and writes down what was counted. Lost where it cannot be written, since
/// memory has its limit; then that is written down as soon as something can be.
pub(super) async fn live(shared: &Shared, commands: &mpsc::Sender<Command>) {
    let has_lost = shared.requests.take_lost();
    let requests = shared.requests.take();
    let places = shared.places.take_new();
    if !send(commands, Action::Live { requests, has_lost, places }).await {
        shared.requests.lose();
    }
}

/// Waits for the answer, so that not more than one of them is on its way. Whether it was done; the
/// writer has logged what went wrong.
pub(super) async fn send(commands: &mpsc::Sender<Command>, action: Action) -> bool {
    let (reply, answer) = oneshot::channel();
    let is_sent = commands.send(Command { action, reply }).await.is_ok();
    is_sent && matches!(answer.await, Ok(Ok(_)))
}

/// How long the queue is by the work of all, and where blobs were seen by others.
async fn look_around(shared: &Shared, places_seen: Timestamp) -> Result<Timestamp, LedgerError> {
    let mut connection = shared.store.readers().acquire().await?;
    shared.waiting.store(queue::length(&mut connection).await?, Ordering::Relaxed);
    shared.places.read_since(shared.store.readers(), places_seen).await
}
