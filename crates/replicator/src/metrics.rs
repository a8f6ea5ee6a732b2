//! What is counted, by the names that are shown at `/metrics` (Prometheus conventions).

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

use crate::clock::Timestamp;
use crate::ledger::Figures;
use crate::ledger::record::State;
use crate::ledger::work::Priority;

/// The metrics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    triggers: Family<TriggerLabels, Counter>,
    trigger_seconds: Histogram,
    copies: Family<CopyLabels, Counter>,
    copy_seconds: Histogram,
    copied_bytes: Counter,
    copies_running: Gauge,
    replicas: Family<StateLabels, Gauge>,
    queue_length: Family<PriorityLabels, Gauge>,
    queue_age_seconds: Family<PriorityLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TriggerLabels {
    verb: &'static str,
    result: &'static str,
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
        let shared = Shared {
            registry,
            triggers,
            trigger_seconds,
            copies,
            copy_seconds,
            copied_bytes,
            copies_running,
            replicas,
            queue_length,
            queue_age_seconds,
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

    /// The text of `/metrics`, with the ledger's figures of the moment `now`.
    pub(crate) fn render(&self, figures: &Figures, now: Timestamp) -> String {
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
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, registry);
        text
    }
}

/// Gauges are signed.
fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_and_its_queue_are_shown_with_what_there_is_none_of() {
        let now = Timestamp::from_ms(100_000);
        let figures = Figures {
            states: vec![(State::Stale, 2), (State::Wanted, 7)],
            waiting: vec![(Priority::Soon, 7, Timestamp::from_ms(40_000))],
        };
        let metrics = Metrics::default();
        metrics.render(&figures, now);
        let later = Figures { states: vec![(State::Stale, 1)], ..figures };
        let text = metrics.render(&later, now);
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
}
