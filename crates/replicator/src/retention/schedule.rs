//! Prunes now and then, where the configuration says so; of several replicators one does it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::UnusedFor;
use super::run::{PruneError, Pruner};

/// How often it is looked whether it is time.
const LOOK: Duration = Duration::from_secs(60);

/// When replicas are taken away by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How long an image has to be unused.
    pub(crate) unused_for: UnusedFor,
    /// How often; None where only a person has it done.
    pub(crate) every: Option<Duration>,
}

impl Schedule {
    /// Runs until `stop`.
    pub(crate) async fn run(self, pruner: Pruner, stop: CancellationToken) {
        let Some(every) = self.every else { return };
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.prune_if_due(&pruner, every).await {
                tracing::warn!("scheduled pruning: {error}");
            }
        }
    }

    async fn prune_if_due(self, pruner: &Pruner, every: Duration) -> Result<(), PruneError> {
        let pruned_at = pruner.ledger.pruned_at().await?;
        if pruned_at.is_some_and(|at| pruner.ledger.now().apart(at) < every) {
            return Ok(());
        }
        pruner.run(self.unused_for).await?;
        // One that could not do all tries again at the next time, and not each minute.
        Ok(pruner.ledger.note_pruned().await?)
    }
}
