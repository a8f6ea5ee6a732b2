//! What is counted, by the names that are shown at `/metrics` (Prometheus conventions).

mod files;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use registry::{CircuitState, RegistryStatus};

use crate::clock::Timestamp;
use crate::ledger::Figures;
use crate::ledger::record::State;
use crate::ledger::work::Priority;
use files::FileMetrics;

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
    copy_seconds: Histogram,
    copied_bytes: Counter,
    copies_running: Gauge,
    audit_missed: Counter,
    replicas: Family<StateLabels, Gauge>,
    queue_length: Family<PriorityLabels, Gauge>,
    queue_age_seconds: Family<PriorityLabels, Gauge>,
    registries: Registries,
    callers_refused: Family<RefusedLabels, Counter>,
    files: FileMetrics,
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
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PriorityLabels {
    priority: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RegistryLabels {
    registry: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

/// How things stand with each registry. The client remembers a bounded number of them.
#[derive(Default)]
struct Registries {
    in_flight: Family<RegistryLabels, Gauge>,
    allowed: Family<RegistryLabels, Gauge>,
    paused_seconds: Family<RegistryLabels, Gauge>,
    circuit_open: Family<RegistryLabels, Gauge>,
    ratelimit_limit: Family<RegistryLabels, Gauge>,
    ratelimit_remaining: Family<RegistryLabels, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("image_replicator");
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
        let replicas = Family::default();
        registry.register("replicas", "Sources in the ledger, by state", replicas.clone());
        let queue_length = Family::default();
        registry.register(
            "queue_length",
            "Sources that wait for a worker, by priority",
            queue_length.clone(),
        );
        let queue_age_seconds = Family::default();
        registry.register(
            "queue_age_seconds",
            "How long the one has waited that has waited longest, by priority",
            queue_age_seconds.clone(),
        );
        let registries = Registries::default();
        registries.register(&mut registry);
        let callers_refused = Family::default();
        registry.register(
            "callers_refused",
            "Requests whose caller gave a wrong name or password, or was made to wait",
            callers_refused.clone(),
        );
        let files = FileMetrics::default();
        files.register(&mut registry);
        let shared = Shared {
            registry,
            triggers,
            trigger_seconds,
            shed,
            copies,
            copy_seconds,
            copied_bytes,
            copies_running,
            audit_missed,
            replicas,
            queue_length,
            queue_age_seconds,
            registries,
            callers_refused,
            files,
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

    /// A connection or a trigger was turned away or given up, for want of `reason`: connections,
    /// ledger or time.
    pub(crate) fn shed(&self, reason: &'static str) {
        self.shared.shed.get_or_create(&ShedLabels { reason }).inc();
    }

    /// A copy begins.
    pub(crate) fn copy_begins(&self) {
        self.shared.copies_running.inc();
    }

    /// A copy ended.
    pub(crate) fn copy_ends(&self, result: &'static str, took: Duration, bytes_moved: u64) {
        self.shared.copies_running.dec();
        self.shared.copies.get_or_create(&CopyLabels { result }).inc();
        self.shared.copy_seconds.observe(took.as_secs_f64());
        self.shared.copied_bytes.inc_by(bytes_moved);
    }

    /// Lines of the audit record could not be written.
    pub(crate) fn audit_missed(&self, lines: u64) {
        self.shared.audit_missed.inc_by(lines);
    }

    /// The text of `/metrics`, with the ledger's and the client's figures of the moment `now`.
    pub(crate) fn render(
        &self,
        figures: &Figures,
        now: Timestamp,
        registries: &[RegistryStatus],
    ) -> String {
        let Shared { replicas, queue_length, queue_age_seconds, registry, .. } = &*self.shared;
        for state in State::ALL {
            let count = figures.states.iter().find(|(other, _)| *other == state);
            let labels = StateLabels { state: state.as_str() };
            replicas.get_or_create(&labels).set(signed(count.map_or(0, |(_, count)| *count)));
        }
        for priority in Priority::ALL {
            let waiting = figures.waiting.iter().find(|(other, ..)| *other == priority);
            let (length, age_s) =
                waiting.map_or((0, 0), |(_, length, since)| (*length, (now - *since).as_secs()));
            let labels = PriorityLabels { priority: priority.as_str() };
            queue_length.get_or_create(&labels).set(signed(length));
            queue_age_seconds.get_or_create(&labels).set(signed(age_s));
        }
        self.shared.registries.set(registries);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, registry);
        text
    }
}

impl Registries {
    fn register(&self, registry: &mut Registry) {
        let figures = [
            ("registry_requests_in_flight", "Requests under way", &self.in_flight),
            (
                "registry_requests_allowed",
                "Requests that a registry gets at once, reads and writes each",
                &self.allowed,
            ),
            (
                "registry_paused_seconds",
                "How long a registry that asked for it is left alone yet",
                &self.paused_seconds,
            ),
            (
                "registry_circuit_open",
                "1 while a registry does not answer and is left alone",
                &self.circuit_open,
            ),
            (
                "registry_ratelimit_limit",
                "Requests in one window of a registry's rate limit, as it says",
                &self.ratelimit_limit,
            ),
            (
                "registry_ratelimit_remaining",
                "Requests left of them, as it says",
                &self.ratelimit_remaining,
            ),
        ];
        for (name, help, family) in figures {
            registry.register(name, help, family.clone());
        }
    }

    fn set(&self, all: &[RegistryStatus]) {
        for family in [
            &self.in_flight,
            &self.allowed,
            &self.paused_seconds,
            &self.circuit_open,
            &self.ratelimit_limit,
            &self.ratelimit_remaining,
        ] {
            family.clear();
        }
        for status in all {
            let labels = RegistryLabels { registry: status.registry.to_string() };
            let set = |family: &Family<RegistryLabels, Gauge>, value: u64| {
                family.get_or_create(&labels).set(signed(value));
            };
            set(&self.in_flight, status.in_flight as u64);
            set(&self.allowed, status.allowed as u64);
            set(&self.paused_seconds, status.paused_for.unwrap_or_default().as_secs());
            set(&self.circuit_open, u64::from(status.circuit != CircuitState::Closed));
            let Some(quota) = &status.quota else { continue };
            set(&self.ratelimit_remaining, quota.remaining);
            if let Some(limit) = quota.limit {
                set(&self.ratelimit_limit, limit);
            }
        }
    }
}

/// Gauges are signed.
fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::Method;
    use registry::{Client, ClientConfig, ManifestRef, RegistryConfig};
    use testkit::{Fault, Kind, ScriptedRegistry, When};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(100_000);

    #[test]
    fn the_ledger_and_its_queue_are_shown_with_what_there_is_none_of() {
        let figures = Figures {
            states: vec![(State::Stale, 2), (State::Wanted, 7)],
            waiting: vec![(Priority::Soon, 7, Timestamp::from_ms(40_000))],
        };
        let metrics = Metrics::default();
        metrics.render(&figures, NOW, &[]);
        let later = Figures { states: vec![(State::Stale, 1)], ..figures };
        let text = metrics.render(&later, NOW, &[]);
        for line in [
            "image_replicator_replicas{state=\"stale\"} 1",
            "image_replicator_replicas{state=\"wanted\"} 0",
            "image_replicator_queue_length{priority=\"soon\"} 7",
            "image_replicator_queue_age_seconds{priority=\"soon\"} 60",
            "image_replicator_queue_length{priority=\"now\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[tokio::test]
    async fn the_rate_limit_of_a_registry_is_shown() {
        let server = ScriptedRegistry::start().await;
        for (name, value) in [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "7")] {
            let each = When::each(Method::HEAD, Kind::Manifest);
            server.script(each, Fault::With(name, value.to_owned()));
        }
        let host: protocol::Registry = server.host().parse().unwrap();
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        let registries = HashMap::from([(host.clone(), plain)]);
        let client = Client::new(ClientConfig { registries, ..ClientConfig::default() }).unwrap();
        let tag = ManifestRef::Tag("v1".parse().unwrap());
        client.head_manifest(&host, &"app".parse().unwrap(), &tag).await.unwrap();

        let metrics = Metrics::default();
        let figures = Figures::default();
        let text = metrics.render(&figures, NOW, &client.registries());
        for line in [
            format!("image_replicator_registry_ratelimit_limit{{registry=\"{host}\"}} 100"),
            format!("image_replicator_registry_ratelimit_remaining{{registry=\"{host}\"}} 7"),
            format!("image_replicator_registry_requests_allowed{{registry=\"{host}\"}} 16"),
            format!("image_replicator_registry_circuit_open{{registry=\"{host}\"}} 0"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!metrics.render(&figures, NOW, &[]).contains(host.as_str()));
    }
}
