//! How long the database takes. Metrics show it; nothing is decided by it.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Metric;

/// What the database was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// One source was looked up; a trigger waits for it.
    Read,
    /// One transaction of changes was written; triggers and workers wait for it.
    Write,
}

/// One operation under way. It is counted when it ends, however it does: who waits too long for a
/// slow database gives up, and that must be seen most of all.
struct Watch<'a> {
    latency: &'a Latency,
    operation: Operation,
    begin: Instant,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let operation = match self.operation {
            Operation::Read => "read",
            Operation::Write => "write",
        };
        let took_s = self.begin.elapsed().as_secs_f64();
        self.latency.histograms.get_or_create(&Labels { operation }).observe(took_s);
    }
}

/// By operation.
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
}

/// How long the database took, failures and what was given up included.
#[derive(Debug)]
pub(crate) struct Latency {
    histograms: Histograms,
}

impl Default for Latency {
    fn default() -> Self {
        // 0.1 ms to 6.6 s: SQLite in memory, to a database that is about to be given up.
        let new = || Histogram::new(exponential_buckets(0.000_1, 2.0, 17));
        Self { histograms: Family::new_with_constructor(new) }
    }
}

impl Latency {
    /// Does something, and counts how long it took, or until nobody waited for it any more.
    pub(super) async fn of<T>(&self, operation: Operation, work: impl Future<Output = T>) -> T {
        let _watch = Watch { latency: self, operation, begin: Instant::now() };
        work.await
    }

    /// What was counted, for metrics.
    pub(crate) fn histograms(&self) -> impl Metric + use<> {
        self.histograms.clone()
    }
}
