//! The ledger: what was asked for, what became of it, and what is to be done next.
//!
//! Reads go to memory first, then to SQL. All changes go through one writer (see [`writer`]),
//! which puts whatever waits into one transaction: a burst of first-seen images costs one
//! fsync, and no two changes ever meet. Knows neither HTTP nor how to copy.

pub(crate) mod record;
mod store;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::ops::compute::Op;
use protocol::ImageReference;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use record::{Record, Settlement, State};
use store::Store;
use writer::{Action, Command};

/// Records kept in memory. About 600 bytes each, so 12 MiB at the most.
const REMEMBERED_RECORDS: u64 = 20_000;

/// Changes that may wait for the writer. It takes them by the hundred, so a full queue means
/// that the disk has stopped; more waiting would help nobody.
const WAITING_CHANGES: usize = 4_096;

/// How long a trigger waits for its change to be on disk. The policy's whole budget is 2 s.
/// Workers wait without limit: what they hold must be settled.
const WANT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// What was asked for, and what became of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct Shared {
    readers: SqlitePool,
    known: moka::sync::Cache<ImageReference, Arc<Record>>,
    work: Notify,
    writable: AtomicBool,
}

impl Shared {
    /// Keeps the newer one of what is remembered and `record`.
    fn remember(&self, record: &Arc<Record>) {
        self.known.entry(record.source.clone()).and_compute_with(|known| match known {
            Some(known) if known.value().revision >= record.revision => Op::Nop,
            _ => Op::Put(Arc::clone(record)),
        });
    }
}

impl Ledger {
    /// Opens the ledger at an SQL URL such as `sqlite:/var/lib/image-replicator/ledger.db`.
    /// Copies that were under way when the last process ended are wanted again.
    pub(crate) async fn open(url: &str, clock: Clock) -> Result<Self, LedgerError> {
        let Store { mut writer, readers } = Store::open(url).await?;
        for record in store::copying(&mut writer).await? {
            if let Some(record) = record.settle(Settlement::HandedBack, clock.now()) {
                store::put(&mut writer, &record).await?;
            }
        }
        let shared = Arc::new(Shared {
            readers,
            known: moka::sync::Cache::new(REMEMBERED_RECORDS),
            work: Notify::new(),
            writable: AtomicBool::new(true),
        });
        let (commands, waiting) = mpsc::channel(WAITING_CHANGES);
        tokio::spawn(writer::run(writer, waiting, Arc::clone(&shared), clock));
        Ok(Self { shared, commands })
    }

    /// What is remembered of `source`.
    pub(crate) async fn find(
        &self,
        source: &ImageReference,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        if let Some(record) = self.shared.known.get(source) {
            return Ok(Some(record));
        }
        let mut connection = self.shared.readers.acquire().await?;
        let record = store::find(&mut connection, source).await?.map(Arc::new);
        if let Some(record) = &record {
            self.shared.remember(record);
        }
        Ok(record)
    }

    /// Sees to it that `source` will be at `target`, and returns what is known of it now.
    pub(crate) async fn want(
        &self,
        source: ImageReference,
        target: ImageReference,
    ) -> Result<Arc<Record>, LedgerError> {
        let change = self.change(Action::Want { source, target });
        match tokio::time::timeout(WANT_TIMEOUT, change).await {
            Ok(record) => record?.ok_or(LedgerError::Closed),
            Err(_) => Err(LedgerError::Busy),
        }
    }

    /// Takes the source that is due longest, of a registry of which less than
    /// `most_of_one_registry` copies are under way; None where none is due. The caller must
    /// settle it.
    pub(crate) async fn claim(
        &self,
        most_of_one_registry: usize,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.change(Action::Claim { most_of_one_registry }).await
    }

    /// Writes down how a claimed copy ended. None where none was under way.
    pub(crate) async fn settle(
        &self,
        source: ImageReference,
        settlement: Settlement,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.change(Action::Settle { source, settlement }).await
    }

    /// Waits until a source was wanted that was not before, or `limit` has passed.
    pub(crate) async fn wait_for_work(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.shared.work.notified()).await;
    }

    /// How many sources there are in each state.
    pub(crate) async fn count_by_state(&self) -> Result<Vec<(State, u64)>, LedgerError> {
        store::count_by_state(&self.shared.readers).await
    }

    /// Whether the last change could be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.shared.writable.load(Ordering::Relaxed)
    }

    async fn change(&self, action: Action) -> Result<Option<Arc<Record>>, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command { action, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
        })?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }
}

/// Why the ledger could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The database says no.
    #[error("the ledger's database failed: {0}")]
    Storage(Arc<sqlx::Error>),
    /// The schema could not be brought up to date.
    #[error("the ledger's schema does not fit this release: {0}")]
    Schema(Arc<sqlx::migrate::MigrateError>),
    /// A row holds what no release wrote.
    #[error("the ledger is damaged: {column} holds '{value}'")]
    Damaged {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// The writer is behind.
    #[error("the ledger's disk is too slow: a change could not be queued, or was not written within {} ms", WANT_TIMEOUT.as_millis())]
    Busy,
    /// The writer has ended.
    #[error("the ledger is closed")]
    Closed,
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for LedgerError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Schema(Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
