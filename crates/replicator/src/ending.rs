//! How a copy ended: told in one place to all who count it, keep it, or tell others.

use std::time::Duration;

use crate::audit::Audit;
use crate::audit::entry::CopyEnded;
use crate::clock::Timestamp;
use crate::label::Label;
use crate::ledger::record::{Record, Settlement};
use crate::metrics::Metrics;
use crate::notify::Notifier;

/// The end of a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    /// When, by the ledger's clock.
    pub(crate) at: Timestamp,
    /// The source as it was claimed.
    pub(crate) before: &'a Record,
    /// The source since then; None where another replicator had taken it over, and this end does
    /// not count.
    pub(crate) after: Option<&'a Record>,
    /// The rule by which it was copied, if there still was one.
    pub(crate) rule: Option<&'a Label>,
    /// What came of it.
    pub(crate) settlement: &'a Settlement,
    /// How long it took.
    pub(crate) took: Duration,
    /// Bytes of blobs that went to the target.
    pub(crate) bytes_moved: u64,
}

impl Ending<'_> {
    /// The word in metrics and in the audit record.
    pub(crate) fn result(&self) -> &'static str {
        self.after.map_or("lost", |_| self.settlement.as_str())
    }
}

/// Who wants to know. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Observers {
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What is kept.
    pub(crate) audit: Audit,
    /// Who else is told.
    pub(crate) notifier: Notifier,
}

impl Observers {
    /// A copy begins.
    pub(crate) fn begins(&self) {
        self.metrics.copy_begins();
    }

    /// A copy ended. Returns at once: nobody who listens holds up a worker.
    pub(crate) fn ended(&self, ending: &Ending<'_>) {
        let failed = match (ending.after, ending.settlement) {
            (Some(_), Settlement::Failed { failure, .. }) => Some(failure.side),
            _ => None,
        };
        self.metrics.copy_ends(ending.result(), failed, ending.took, ending.bytes_moved);
        self.audit.record(ending.at, CopyEnded::new(ending));
        self.notifier.tell(ending);
    }
}
