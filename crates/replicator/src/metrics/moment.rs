//! How things stand when somebody looks: the ledger, its queue, and each registry. Made anew for
//! each scrape, so that what is gone is not shown, and two scrapes do not meet.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use registry::{CircuitState, Ending, RegistryStatus};

use super::PREFIX;
use crate::clock::Timestamp;
use crate::ledger::record::State;
use crate::ledger::work::Priority;
use crate::ledger::{Figures, Latency};

/// How things stand.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    /// When, by the ledger's time.
    pub(crate) now: Timestamp,
    /// What the ledger holds; None while it cannot be read.
    pub(crate) figures: Option<Figures>,
    /// Whether the last change of the ledger could be written.
    pub(crate) is_writable: bool,
    /// How long the ledger's database took.
    pub(crate) latency: &'a Latency,
    /// The registries that the client remembers, which are bounded.
    pub(crate) registries: &'a [RegistryStatus],
}

/// The labels of one sample.
type Labels<const N: usize> = [(&'static str, String); N];

impl Moment<'_> {
    pub(super) fn registry(&self) -> Registry {
        let mut shown = Registry::with_prefix(PREFIX);
        let writable: Gauge = Gauge::default();
        writable.set(i64::from(self.is_writable));
        shown.register(
            "ledger_writable",
            "1 while the ledger's last change could be written",
            writable,
        );
        shown.register(
            "ledger_duration_seconds",
            "Time that the ledger's database took, by operation: a source looked up, or a \
             transaction of changes",
            self.latency.histograms(),
        );
        if let Some(figures) = &self.figures {
            show_ledger(&mut shown, figures, self.now);
        }
        show_registries(&mut shown, self.registries);
        show_traffic(&mut shown, self.registries);
        shown
    }
}

fn show_ledger(shown: &mut Registry, figures: &Figures, now: Timestamp) {
    let states = State::ALL.map(|state| {
        let count = figures.states.iter().find(|(other, _)| *other == state);
        ([("state", state.as_str().to_owned())], count.map_or(0, |(_, count)| *count))
    });
    gauges(shown, "replicas", "Sources in the ledger, by state", states);
    let stale_age: Gauge = Gauge::default();
    stale_age.set(signed(figures.stale_since.map_or(0, |since| (now - since).as_secs())));
    shown.register(
        "stale_age_seconds",
        "How long ago the source of the oldest stale replica was last found to be what the \
         replica is, of those asked for within a day; 0 where none is stale",
        stale_age,
    );
    let queue = Priority::ALL.map(|priority| {
        let waiting = figures.waiting.iter().find(|(other, ..)| *other == priority);
        let (length, age) =
            waiting.map_or((0, Duration::ZERO), |(_, length, since)| (*length, now - *since));
        ([("priority", priority.as_str().to_owned())], length, age.as_secs())
    });
    gauges(
        shown,
        "queue_length",
        "Sources that wait for a worker, by priority",
        queue.clone().map(|(labels, length, _)| (labels, length)),
    );
    gauges(
        shown,
        "queue_age_seconds",
        "How long the one has waited that has waited longest, by priority",
        queue.map(|(labels, _, age_s)| (labels, age_s)),
    );
}

fn show_registries(shown: &mut Registry, all: &[RegistryStatus]) {
    let mut show = |name, help, value: fn(&RegistryStatus) -> Option<u64>| {
        let samples = all.iter().filter_map(|status| Some((label(status), value(status)?)));
        gauges(shown, name, help, samples);
    };
    show("registry_requests_in_flight", "Requests under way", |status| {
        Some(status.in_flight as u64)
    });
    show(
        "registry_requests_allowed",
        "Requests that a registry gets at once, reads and writes each",
        |status| Some(status.allowed as u64),
    );
    show(
        "registry_paused_seconds",
        "How long a registry that asked for it is left alone yet",
        |status| Some(status.paused_for.unwrap_or_default().as_secs()),
    );
    show(
        "registry_circuit_open",
        "1 while a registry does not answer and is left alone",
        |status| Some(u64::from(status.circuit != CircuitState::Closed)),
    );
    show(
        "registry_ratelimit_limit",
        "Requests in one window of a registry's rate limit, as it says",
        |status| status.quota.as_ref()?.limit,
    );
    show("registry_ratelimit_remaining", "Requests left of them, as it says", |status| {
        Some(status.quota.as_ref()?.remaining)
    });
}

fn show_traffic(shown: &mut Registry, all: &[RegistryStatus]) {
    let by = |name: &'static str, figures: fn(&RegistryStatus) -> Vec<(&'static str, u64)>| {
        all.iter().flat_map(move |status| {
            let [registry] = label(status);
            figures(status)
                .into_iter()
                .map(move |(value, figure)| ([registry.clone(), (name, value.to_owned())], figure))
        })
    };
    counters(
        shown,
        "registry_requests",
        "Requests to a registry, and to whom it sent us, by the class of the answer's status; \
         none is no answer",
        by("status", |status| {
            let requests = |ending| status.traffic.requests(ending);
            Ending::ALL.into_iter().map(|ending| (ending.as_str(), requests(ending))).collect()
        }),
    );
    counters(
        shown,
        "registry_bytes",
        "Bytes of bodies read from a registry and written to it, by direction",
        by("direction", |status| {
            vec![("read", status.traffic.read_bytes), ("written", status.traffic.written_bytes)]
        }),
    );
    counters(
        shown,
        "registry_token_fetches",
        "Tokens asked for at a registry's token endpoint, by result",
        by("result", |status| {
            let traffic = &status.traffic;
            vec![("fetched", traffic.tokens_fetched), ("failed", traffic.tokens_failed)]
        }),
    );
    counters(
        shown,
        "registry_retries",
        "Requests and uploads that were tried again after a failure",
        all.iter().map(|status| (label(status), status.traffic.retries)),
    );
}

fn label(status: &RegistryStatus) -> Labels<1> {
    [("registry", status.registry.to_string())]
}

fn gauges<const N: usize>(
    shown: &mut Registry,
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = (Labels<N>, u64)>,
) {
    let family = Family::<Labels<N>, Gauge>::default();
    for (labels, value) in samples {
        family.get_or_create(&labels).set(signed(value));
    }
    shown.register(name, help, family);
}

fn counters<const N: usize>(
    shown: &mut Registry,
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = (Labels<N>, u64)>,
) {
    let family = Family::<Labels<N>, Counter>::default();
    for (labels, value) in samples {
        family.get_or_create(&labels).inc_by(value);
    }
    shown.register(name, help, family);
}

/// Gauges are signed.
fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
