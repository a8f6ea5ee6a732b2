//! What is counted, by the names that are shown at `/metrics` (Prometheus conventions).
//! `docs/metrics.md` lists them all.
//!
//! What happens is counted here when it happens; how things stand is put together anew for each
//! scrape, in [`moment`].

mod cluster;
mod files;
mod moment;
mod notifications;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use protocol::Side;

use cluster::ClusterMetrics;
use files::FileMetrics;
pub(crate) use moment::Moment;
use notifications::NotificationMetrics;

/// What each name begins with.
const PREFIX: &str = "image_replicator";

/// The metrics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    triggers: Family<TriggerLabels, Counter>,
    trigger_seconds: Histogram,
    shed: Family<ShedLabels, Counter>,
    copies: Family<CopyLabels, Counter>,
    copy_failures: Family<SideLabels, Counter>,
    copy_seconds: Histogram,
    copied_bytes: Counter,
    copies_running: Gauge,
    audit_missed: Counter,
    callers_refused: Family<RefusedLabels, Counter>,
    pruned_replicas: Counter,
    pruned_manifests: Counter,
    prune_failures: Counter,
    files: FileMetrics,
    cluster: ClusterMetrics,
    notifications: NotificationMetrics,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TriggerLabels {
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ShedLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CopyLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SideLabels {
    side: &'static str,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs here", build);
        let triggers = Family::default();
        registry.register("triggers", "Triggers answered, by verb and result", triggers.clone());
        // 50 µs to 1.6 s: an answer belongs into the first buckets.
        let trigger_seconds = Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        registry.register(
            "trigger_duration_seconds",
            "Time from a trigger's head to its answer",
            trigger_seconds.clone(),
        );
        let shed = Family::default();
        registry.register(
            "shed",
            "Connections and triggers turned away or given up, by what there was too little of",
            shed.clone(),
        );
        let copies = Family::default();
        registry.register("copies", "Copies ended, by result", copies.clone());
        let copy_failures = Family::<SideLabels, Counter>::default();
        registry.register(
            "copy_failures",
            "Copies that failed, by the side where it went wrong",
            copy_failures.clone(),
        );
        // From the start on there is a zero that can rise.
        for side in [Side::Source, Side::Target, Side::Replicator] {
            drop(copy_failures.get_or_create(&SideLabels { side: side.as_str() }));
        }
        // 100 ms to 54 min.
        let copy_seconds = Histogram::new(exponential_buckets(0.1, 2.0, 16));
        registry.register("copy_duration_seconds", "Time that a copy took", copy_seconds.clone());
        let copied_bytes = Counter::default();
        registry.register(
            "copied_bytes",
            "Bytes of blobs moved to the target",
            copied_bytes.clone(),
        );
        let copies_running = Gauge::default();
        registry.register("copies_running", "Copies under way", copies_running.clone());
        let audit_missed = Counter::default();
        registry.register(
            "audit_lines_missed",
            "Lines that are missing in the audit record",
            audit_missed.clone(),
        );
        let callers_refused = Family::default();
        registry.register(
            "callers_refused",
            "Requests whose caller gave a wrong name or password, or was made to wait",
            callers_refused.clone(),
        );
        let pruned_replicas = Counter::default();
        registry.register(
            "pruned_replicas",
            "Sources that were forgotten with their replicas, since nobody used them",
            pruned_replicas.clone(),
        );
        let pruned_manifests = Counter::default();
        registry.register(
            "pruned_manifests",
            "Manifests that were deleted at the target",
            pruned_manifests.clone(),
        );
        let prune_failures = Counter::default();
        registry.register(
            "prune_failures",
            "Runs of retention that ended early, and repositories that it could not look at",
            prune_failures.clone(),
        );
        let files = FileMetrics::default();
        files.register(&mut registry);
        let cluster = ClusterMetrics::default();
        cluster.register(&mut registry);
        let notifications = NotificationMetrics::default();
        notifications.register(&mut registry);
        let shared = Shared {
            registry,
            triggers,
            trigger_seconds,
            shed,
            copies,
            copy_failures,
            copy_seconds,
            copied_bytes,
            copies_running,
            audit_missed,
            callers_refused,
            pruned_replicas,
            pruned_manifests,
            prune_failures,
            files,
            cluster,
            notifications,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Metrics {
    /// A trigger was answered.
    pub(crate) fn trigger(&self, verb: &'static str, result: &'static str, took: Duration) {
        self.shared.triggers.get_or_create(&TriggerLabels { verb, result }).inc();
        self.shared.trigger_seconds.observe(took.as_secs_f64());
    }

    /// A caller was refused.
    pub(crate) fn caller_is_refused(&self, reason: &'static str) {
        self.shared.callers_refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// What is counted of files that may change.
    pub(crate) fn files(&self) -> &FileMetrics {
        &self.shared.files
    }

    /// What is counted of the watches at the Kubernetes API.
    pub(crate) fn cluster(&self) -> &ClusterMetrics {
        &self.shared.cluster
    }

    /// What is counted of notifications.
    pub(crate) fn notifications(&self) -> &NotificationMetrics {
        &self.shared.notifications
    }

    /// A connection or a trigger was turned away or given up, for want of `reason`: connections,
    /// ledger, queue or time.
    pub(crate) fn shed(&self, reason: &'static str) {
        self.shared.shed.get_or_create(&ShedLabels { reason }).inc();
    }

    /// A copy begins.
    pub(crate) fn copy_begins(&self) {
        self.shared.copies_running.inc();
    }

    /// A copy ended; `failed` is where, if it did.
    pub(crate) fn copy_ends(
        &self,
        result: &'static str,
        failed: Option<Side>,
        took: Duration,
        bytes_moved: u64,
    ) {
        self.shared.copies_running.dec();
        self.shared.copies.get_or_create(&CopyLabels { result }).inc();
        if let Some(side) = failed {
            self.shared.copy_failures.get_or_create(&SideLabels { side: side.as_str() }).inc();
        }
        self.shared.copy_seconds.observe(took.as_secs_f64());
        self.shared.copied_bytes.inc_by(bytes_moved);
    }

    /// A replica was removed.
    pub(crate) fn pruned_replica(&self) {
        self.shared.pruned_replicas.inc();
    }

    /// A manifest was deleted.
    pub(crate) fn pruned_manifest(&self) {
        self.shared.pruned_manifests.inc();
    }

    /// Retention could not do what it should.
    pub(crate) fn prune_failed(&self) {
        self.shared.prune_failures.inc();
    }

    /// Lines of the audit record could not be written.
    pub(crate) fn audit_missed(&self, lines: u64) {
        self.shared.audit_missed.inc_by(lines);
    }

    /// What happened, without how things stand: for tests of who counts.
    #[cfg(test)]
    pub(crate) fn counted(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.shared.registry).unwrap();
        text
    }

    /// The text of `/metrics`, with how things stand at the `moment`.
    pub(crate) fn render(&self, moment: &Moment<'_>) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode_registry(&mut text, &self.shared.registry);
        let _ = encode(&mut text, &moment.registry());
        text
    }
}

#[cfg(test)]
mod tests;
