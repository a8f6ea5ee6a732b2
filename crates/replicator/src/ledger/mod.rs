//! The ledger: what was asked for, what became of it, and what is to be done next.
//!
//! ```text
//! record      one source: its state, and the legal moves; pure
//!   work        its place in the queue, leases, wishes; pure
//! grant       what sources said of who may read them, and what follows; pure
//! memory      what this process remembers, and how long it believes that
//! gate        how many triggers may wait for the database at once, and for how long
//! writer      the one writer of this process: what waits becomes one transaction
//!   action      what it is asked to do, and what it answers
//!   batch       that transaction
//!     rows, queue, history, places, grants, uses, moments    its SQL
//!       store       SQLite or PostgreSQL
//!     removals                                which repositories nothing is copied into
//! unused        which replicas nobody has asked for
//! removal       how replicas are taken away so that nobody is told that they are there
//! charge        on whose behalf replicas are kept, and how much that is
//! looks         what people ask, past memory
//!   overview      how things stand
//!   inventory     every image that ever entered
//!     usage, contents    what pods run of them, and what copies saw of them
//! latency       how long the database takes
//! checkup       how a ledger looks from outside, for a person
//! housekeeping  signs of life, and what else happens by itself
//! ```
//!
//! Reads go to memory first, then to SQL. All changes of a process go through its one writer: a
//! burst of first-seen images costs one fsync. What a worker has claimed is its own as long as
//! its process gives signs of life; then another takes it over, and what the first one says of
//! it counts no more. Knows neither HTTP nor how to copy.

mod action;
mod batch;
pub(crate) mod charge;
mod checkup;
pub(crate) mod contents;
mod error;
mod gate;
pub(crate) mod grant;
mod grants;
mod history;
mod housekeeping;
pub(crate) mod inventory;
mod latency;
mod looks;
mod memory;
mod moments;
pub(crate) mod overview;
mod places;
mod queue;
pub(crate) mod record;
pub(crate) mod removal;
mod removals;
mod rows;
mod store;
pub(crate) mod unused;
mod url;
pub(crate) mod usage;
pub(crate) mod uses;
pub(crate) mod work;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use protocol::ImageReference;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use action::{Action, Reply, Terms};
use gate::Gate;
use grant::{Finding, Grants, SourceName};
use latency::Operation;
use memory::{Memory, Recalled};
use moments::Moment;
use record::{Record, Settlement};
use store::Store;
use work::{Ask, Asker, Owner, Ticket};
use writer::Command;

pub(crate) use checkup::Checkup;
pub(crate) use error::LedgerError;
pub(crate) use latency::Latency;
pub(crate) use places::BlobPlaces;
pub(crate) use queue::Figures;
pub(crate) use url::{LedgerUrl, LedgerUrlError};

/// Changes that may wait for the writer. It takes them by the hundred, so a full queue means
/// that the disk has stopped; more waiting would help nobody.
const WAITING_CHANGES: usize = 4_096;

/// How long a trigger waits for a record to be read: then memory answers, if it can.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a trigger waits for its change to be on disk. With the time for reading it stays well
/// below the policy server's 2 s. Workers wait without limit: what they hold must be settled.
const WANT_TIMEOUT: Duration = Duration::from_millis(900);

/// How long a sign of life holds. A replicator that is killed holds up its copies for so long;
/// one whose database is away for less keeps them.
const LEASE: Duration = Duration::from_secs(30);

/// Sources that may wait, unless set: a cluster of 10,000 nodes has fewer images. In the ledger
/// they take 100 MiB, and at ten copies a second three hours.
const DEFAULT_MAX_WAITING: u64 = 100_000;

/// How long it is believed what a source said of a right, unless set: a right that was taken away
/// is seen within an hour, and an image in constant use costs two requests an hour.
const DEFAULT_REMEMBER: Duration = Duration::from_secs(60 * 60);

/// How long after its last sign of life has ended a replicator goes on answering from memory: an
/// hour less than others remember its name, and until then nothing is deleted.
const LOST_MS: i64 = batch::SILENT_MS - 60 * 60 * 1000;

/// How the ledger is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where it is.
    pub(crate) url: LedgerUrl,
    /// Sources that may wait.
    pub(crate) max_waiting: u64,
    /// How long a sign of life holds.
    pub(crate) lease: Duration,
    /// How long it is believed what a source said of a right.
    pub(crate) remember: Duration,
}

impl Settings {
    /// The usual ones, for a ledger at `url`.
    pub(crate) fn new(url: LedgerUrl) -> Self {
        let (max_waiting, lease, remember) = (DEFAULT_MAX_WAITING, LEASE, DEFAULT_REMEMBER);
        Self { url, max_waiting, lease, remember }
    }
}

/// What was asked for, and what became of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    latency: Latency,
    memory: Memory,
    grants: grants::Memory,
    remember: Duration,
    reading: Gate,
    wanting: Gate,
    /// For people's questions.
    looking: Semaphore,
    owner: Owner,
    requests: history::Requests,
    places: Arc<BlobPlaces>,
    work: Notify,
    writable: AtomicBool,
    /// Until when the last sign of life holds, by this process' clock.
    signed_until_ms: AtomicI64,
    /// Sources that wait, or will: by what this process did, and by a count now and then.
    waiting: AtomicU64,
    /// By how much the database's clock is ahead of this process'.
    ahead_ms: AtomicI64,
}

impl Ledger {
    /// Opens the ledger. In a file, what was under way when the last process ended waits again.
    pub(crate) async fn open(settings: Settings, clock: Clock) -> Result<Self, LedgerError> {
        let store = Store::open(&settings.url, clock).await?;
        let places = Arc::new(BlobPlaces::default());
        let places_seen = places.read_newest(store.readers()).await?;
        let mut connection = store.begin().await?;
        if !store.is_shared() && queue::take_back_signs(&mut connection, None).await? > 0 {
            // The last process did not end in order, and what it had counted is lost.
            let now = store.now(&mut connection).await?;
            moments::put(&mut connection, Moment::RequestsLost, now).await?;
        }
        let waiting = queue::length(&mut connection).await?;
        connection.commit().await?;
        let terms = Terms {
            owner: Owner::random(),
            lease: settings.lease,
            signed_until: Timestamp::from_ms(0),
            held: HashSet::new(),
            room: 0,
            max_waiting: settings.max_waiting,
            remember: settings.remember,
        };
        let shared = Arc::new(Shared {
            memory: Memory::new(store.is_shared()),
            grants: grants::Memory::new(store.is_shared()),
            remember: settings.remember,
            reading: Gate::new(READ_TIMEOUT),
            wanting: Gate::new(WANT_TIMEOUT),
            looking: Semaphore::new(looks::LOOKS_AT_ONCE),
            owner: terms.owner.clone(),
            store,
            latency: Latency::default(),
            requests: history::Requests::default(),
            places,
            work: Notify::new(),
            writable: AtomicBool::new(true),
            signed_until_ms: AtomicI64::new(0),
            waiting: AtomicU64::new(waiting),
            ahead_ms: AtomicI64::new(0),
        });
        let (commands, received) = mpsc::channel(WAITING_CHANGES);
        tokio::spawn(writer::run(received, Arc::clone(&shared), terms));
        housekeeping::live(&shared, &commands).await;
        let housekeeping = housekeeping::run(
            commands.downgrade(),
            Arc::clone(&shared),
            settings.lease,
            places_seen,
        );
        tokio::spawn(housekeeping);
        Ok(Self { shared, commands })
    }

    /// The time that the ledger goes by: on PostgreSQL the database's.
    pub(crate) fn now(&self) -> Timestamp {
        let ahead_ms = self.shared.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_ms(self.shared.store.local_now().as_ms().saturating_add(ahead_ms))
    }

    /// What is known of `source`. While the database is away, what is remembered.
    pub(crate) async fn find(
        &self,
        source: &ImageReference,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        let shared = &self.shared;
        let old = match shared.memory.recall(source, shared.store.local_now()) {
            // Somebody may have taken it for dead, and deleted what it remembers.
            Some(_) if self.is_lost() => None,
            Some(Recalled::Fresh(record)) => return Ok(Some(record)),
            Some(Recalled::Old(record)) if !self.is_writable() => return Ok(Some(record)),
            Some(Recalled::Old(record)) => Some(record),
            None => None,
        };
        match (shared.reading.pass(self.read(source)).await, old) {
            (Ok(record), _) => Ok(record),
            (Err(error), Some(old)) => {
                tracing::warn!(%source, %error, "answered from memory, which may be out of date");
                Ok(Some(old))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read(&self, source: &ImageReference) -> Result<Option<Arc<Record>>, LedgerError> {
        let find = async {
            let mut connection = self.shared.store.readers().acquire().await?;
            rows::find(&mut connection, source).await
        };
        let record = self.shared.latency.of(Operation::Read, find).await?.map(Arc::new);
        match &record {
            Some(record) => self.shared.memory.remember(record, self.shared.store.local_now()),
            None => self.shared.memory.forget(source),
        }
        Ok(record)
    }

    /// What is known of who may read `source`. While the database is away, what is remembered.
    pub(crate) async fn grants(&self, source: &SourceName) -> Result<Arc<Grants>, LedgerError> {
        let shared = &self.shared;
        let now = shared.store.local_now();
        let old = match shared.grants.recall(source, now) {
            Some((grants, is_believed)) if is_believed || !self.is_writable() => return Ok(grants),
            old => old.map(|(grants, _)| grants),
        };
        let changes = shared.grants.changes();
        let read = async {
            let mut connection = shared.store.readers().acquire().await?;
            grants::find(&mut connection, source).await
        };
        match (read.await, old) {
            (Ok(grants), _) => {
                let grants = Arc::new(grants);
                shared.grants.remember(source, &grants, now, changes);
                Ok(grants)
            }
            (Err(_), Some(old)) => Ok(old),
            (Err(error), None) => Err(error),
        }
    }

    /// Writes down what a source said of who may read it.
    pub(crate) async fn learn(
        &self,
        source: SourceName,
        finding: Finding,
    ) -> Result<(), LedgerError> {
        self.change(Action::Learn { source, finding }).await.map(drop)
    }

    /// How long it is believed what a source said of a right.
    pub(crate) fn remember(&self) -> Duration {
        self.shared.remember
    }

    /// Sees to it that the wish is fulfilled, and returns what is known of the source now.
    pub(crate) async fn want(&self, ask: Ask) -> Result<Arc<Record>, LedgerError> {
        let record = self.shared.wanting.pass(self.change(Action::Want(ask))).await?;
        record.ok_or(LedgerError::Closed)
    }

    /// Counts a request that changed nothing. Costs no more than memory.
    pub(crate) fn note(&self, source: &ImageReference, asker: &Asker) {
        self.shared.requests.add(source, asker, self.now());
    }

    /// Takes what comes first in the queue, of a registry of which this replicator has less than
    /// `most_of_one_registry` copies under way; None where no such thing waits. The caller must
    /// settle it.
    pub(crate) async fn claim(
        &self,
        most_of_one_registry: usize,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.change(Action::Claim { most_of_one_registry }).await
    }

    /// Writes down how a claimed copy ended, and what its source said to who read it. None where it is this replicator's no more: then
    /// another one has taken it over, and what became of it here does not count.
    pub(crate) async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        bytes_moved: u64,
        finding: Option<Finding>,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.change(Action::Settle { ticket, settlement, bytes_moved, finding }).await
    }

    /// Puts `source` into the queue at once, whatever it rests for, and returns what is known of
    /// it now; None where nobody asked for it before.
    pub(crate) async fn retry(
        &self,
        source: &ImageReference,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        self.shared.wanting.pass(self.change(Action::Retry(source.clone()))).await
    }

    /// This replicator, as leases name it.
    pub(crate) fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    /// Waits until a source was wanted that was not before, or `limit` has passed.
    pub(crate) async fn wait_for_work(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.shared.work.notified()).await;
    }

    /// The ledger in figures.
    pub(crate) async fn figures(&self) -> Result<Figures, LedgerError> {
        let mut connection = self.shared.store.readers().acquire().await?;
        queue::figures(&mut connection, self.now()).await
    }

    /// Whether the database has heard nothing of this process for so long that others may have
    /// forgotten it.
    fn is_lost(&self) -> bool {
        let until_ms = self.shared.signed_until_ms.load(Ordering::Relaxed);
        let silent_ms = self.shared.store.local_now().as_ms() - until_ms;
        self.shared.store.is_shared() && until_ms > 0 && silent_ms >= LOST_MS
    }

    /// Whether the last change could be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.shared.writable.load(Ordering::Relaxed)
    }

    /// How long its database took so far.
    pub(crate) fn latency(&self) -> &Latency {
        &self.shared.latency
    }

    /// Where at targets blobs are, for the copy engine.
    pub(crate) fn places(&self) -> Arc<BlobPlaces> {
        Arc::clone(&self.shared.places)
    }

    /// Writes down what was counted, and lets go of what this process still holds.
    pub(crate) async fn close(&self) {
        housekeeping::live(&self.shared, &self.commands).await;
        housekeeping::send(&self.commands, Action::Leave).await;
    }

    async fn change(&self, action: Action) -> Reply {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command { action, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
        })?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
