//! Takes replicas away: from those who would be told that they are there, then from the target,
//! then from the ledger. One run at a time, over all replicators; copies come first.

use std::sync::{Arc, Mutex, PoisonError};

use copy::{RemovalError, Remover};
use protocol::TargetRoot;
use tokio_util::sync::CancellationToken;

use super::lot::{DELETION_TIME, PACE};
use super::plan::{Group, Planner};
use super::{Blind, UnusedFor, check};
use crate::audit::Audit;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;

/// Records that are leaving at a time: these are copied again if the process dies just then, and
/// who asks for one meanwhile waits until it is.
const TAKEN_AT_ONCE: usize = 200;

/// Takes replicas away. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pruner {
    /// What is known of them.
    pub(crate) ledger: Ledger,
    /// Where they live.
    pub(crate) target: Arc<TargetRoot>,
    /// Deletes at the target.
    pub(crate) remover: Remover,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What is kept of each deletion.
    pub(crate) audit: Audit,
    /// Cancelled once nothing new is to be begun.
    pub(crate) stop: CancellationToken,
    /// The run that is under way here, or was at last.
    pub(crate) report: Arc<Mutex<Option<RunReport>>>,
    /// Held by who makes a plan for a person: it reads the whole ledger.
    pub(crate) looking: Arc<tokio::sync::Mutex<()>>,
}

/// A run, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunReport {
    /// When it began.
    pub(crate) began_at: Option<Timestamp>,
    /// When it ended; None while it is under way.
    pub(crate) ended_at: Option<Timestamp>,
    /// Sources that were forgotten, with their replicas.
    pub(crate) removed: u64,
    /// Sources that stayed: somebody came to use them, or a part of them.
    pub(crate) kept: u64,
    /// Manifests that were deleted.
    pub(crate) manifests: u64,
    /// Why it ended early, or what it could not do in some repository.
    pub(crate) error: Option<String>,
}

/// Why a run did not begin, or ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    /// Too little is known.
    #[error("nothing is taken away: {0}")]
    Blind(#[from] Blind),
    /// The ledger.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// One runs here.
    #[error("a run is under way already; GET /api/v1/prune tells how far it is")]
    Running,
    /// A replicator that is gone, or cut off.
    #[error(
        "a replicator has said nothing for long, and may go on telling that replicas are there; \
         it is taken for gone a day after its last word"
    )]
    Silent,
    /// The target.
    #[error("{0}")]
    Refused(RemovalError),
    /// The process ends.
    #[error("the replicator ends")]
    Ending,
    /// The target again.
    #[error("the target takes longer for a deletion than {} s", DELETION_TIME.as_secs())]
    Slow,
    /// The lease ran out.
    #[error("the ledger has not heard of this replicator for too long")]
    LeaseLost,
}

impl Pruner {
    /// The run that is under way here, or was at last.
    pub(crate) fn last_run(&self) -> Option<RunReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a run could begin now.
    pub(crate) async fn can_begin(&self) -> Result<(), PruneError> {
        Ok(check(self.ledger.picture().await?, self.ledger.now())?)
    }

    /// Begins a run in the background; [`Pruner::last_run`] tells how far it is.
    pub(crate) async fn begin(&self, unused_for: UnusedFor) -> Result<(), PruneError> {
        self.can_begin().await?;
        self.enter()?;
        let pruner = self.clone();
        tokio::spawn(async move { pruner.finish(unused_for).await });
        Ok(())
    }

    /// The same, and waits for its end. Tells whether it went well.
    pub(crate) async fn run(&self, unused_for: UnusedFor) -> Result<(), PruneError> {
        self.can_begin().await?;
        self.enter()?;
        self.finish(unused_for).await;
        Ok(())
    }

    /// Waits until no run is under way here.
    pub(crate) async fn ended(&self) {
        while self.last_run().is_some_and(|report| report.ended_at.is_none()) {
            tokio::time::sleep(PACE).await;
        }
    }

    fn enter(&self) -> Result<(), PruneError> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.as_ref().is_some_and(|report| report.ended_at.is_none()) {
            return Err(PruneError::Running);
        }
        *report = Some(RunReport { began_at: Some(self.ledger.now()), ..RunReport::default() });
        Ok(())
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut RunReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(report.get_or_insert_default());
    }

    async fn finish(&self, unused_for: UnusedFor) {
        let result = match self.ledger.begin_prune().await {
            Ok(()) => {
                let result = self.take_all(unused_for).await;
                // Where that cannot be written, the lease ends by itself.
                let _ = self.ledger.end_prune().await;
                result
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &result {
            self.metrics.prune_failed();
            tracing::warn!("pruning ended early: {error}");
        }
        let now = self.ledger.now();
        self.note(|report| {
            report.ended_at = Some(now);
            report.error = result.err().map(|error| error.to_string()).or(report.error.take());
            let RunReport { removed, kept, manifests, .. } = report;
            tracing::info!(removed, kept, manifests, "pruning ended");
        });
    }

    async fn take_all(&self, unused_for: UnusedFor) -> Result<(), PruneError> {
        let cutoff = unused_for.cutoff(self.ledger.now());
        let mut planner = Planner::new(&self.ledger, &self.target, cutoff).await?;
        let mut waiting: Vec<Group> = Vec::new();
        while let Some(page) = planner.next().await? {
            waiting.extend(page.unused);
            while waiting.iter().map(|group| group.records.len()).sum::<usize>() >= TAKEN_AT_ONCE {
                let mut taken = 0;
                let some = waiting.iter().take_while(|group| {
                    taken += group.records.len();
                    taken <= TAKEN_AT_ONCE
                });
                let some = some.count().max(1);
                self.take(waiting.drain(..some).collect(), cutoff).await?;
            }
        }
        if waiting.is_empty() { Ok(()) } else { self.take(waiting, cutoff).await }
    }
}
