mod documents;

use std::collections::HashMap;

use http::Method;
use registry::{CircuitState, Client, ClientConfig, ManifestRef, Quota, RegistryConfig};
use registry::{RegistryStatus, Traffic};
use testkit::{Fault, Kind, ScriptedRegistry, When};

use super::*;
use crate::clock::Timestamp;
use crate::ledger::record::State;
use crate::ledger::testing::{Fixture, ask, source};
use crate::ledger::work::Priority;
use crate::ledger::{Figures, Latency};

const NOW: Timestamp = Timestamp::from_ms(100_000);

fn moment<'a>(latency: &'a Latency, registries: &'a [RegistryStatus]) -> Moment<'a> {
    Moment { now: NOW, figures: Some(Figures::default()), is_writable: true, latency, registries }
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} in {text}");
    }
}

/// All that a replicator can show: each thing happened once.
async fn everything() -> String {
    let metrics = Metrics::default();
    metrics.trigger("replica", "pending", Duration::from_millis(1));
    metrics.shed("time");
    metrics.caller_is_refused("wrong");
    metrics.files().loaded("front.key", NOW);
    metrics.files().refused("front.key");
    metrics.files().certificate_ends(NOW);
    metrics.cluster().pull_secrets_are_watched(&"shop".parse().unwrap(), true);
    metrics.cluster().pull_secrets_unusable(&"shop".parse().unwrap(), 1);
    metrics.notifications().delivered(&"scanner".parse().unwrap());
    metrics.copy_begins();
    metrics.copy_begins();
    metrics.copy_ends("refused", Some(Side::Source), Duration::from_secs(2), 4096);
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    ledger.find(&source("2")).await.unwrap();
    let figures = Figures {
        states: vec![(State::Stale, 2), (State::Wanted, 7)],
        waiting: vec![(Priority::Soon, 7, Timestamp::from_ms(40_000))],
        stale_since: Some(Timestamp::from_ms(10_000)),
    };
    let mut traffic = Traffic::default();
    (traffic.read_bytes, traffic.written_bytes) = (1, 2);
    let registries = [RegistryStatus {
        registry: "docker.io".parse().unwrap(),
        in_flight: 3,
        allowed: 8,
        paused_for: Some(Duration::from_secs(17)),
        circuit: CircuitState::Open,
        quota: Some(Quota { remaining: 7, limit: Some(100), window: None, source: None }),
        traffic,
    }];
    let figures = Some(figures);
    let latency = ledger.latency();
    metrics.render(&Moment { figures, ..moment(latency, &registries) })
}

/// The names, types, helps and labels of all metrics: whoever changes one breaks somebody's
/// dashboard, so it must be seen. Figures that hang on the machine are left out.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_shown() {
    let text = everything().await;
    let mut shown = Vec::new();
    // Help, type, and then samples in any order.
    for metric in text.trim_end_matches("# EOF\n").split("# HELP ").skip(1) {
        let mut lines: Vec<_> = metric.lines().map(without_chance).collect();
        lines[2..].sort();
        lines.dedup();
        shown.extend(lines);
    }
    insta::assert_snapshot!(shown.join("\n"));
}

/// A line without what is different each time: buckets are one line, with any figure.
fn without_chance(line: &str) -> String {
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    let line = line.replace(version, "version=\"…\"");
    let is_timed = line.contains("ledger_duration_seconds_");
    match (line.split_once("le=\""), line.rsplit_once(' ')) {
        (Some((before, _)), _) => format!("{before}le=\"…\"}} …"),
        (None, Some((before, _))) if is_timed => format!("{before} …"),
        _ => line,
    }
}

#[test]
fn the_ledger_and_its_queue_are_shown_with_what_there_is_none_of() {
    let figures = Figures {
        states: vec![(State::Stale, 2), (State::Wanted, 7)],
        waiting: vec![(Priority::Soon, 7, Timestamp::from_ms(40_000))],
        stale_since: Some(Timestamp::from_ms(10_000)),
    };
    let (metrics, latency) = (Metrics::default(), Latency::default());
    let text = metrics.render(&Moment { figures: Some(figures), ..moment(&latency, &[]) });
    assert_lines(
        &text,
        &[
            "image_replicator_replicas{state=\"stale\"} 2",
            "image_replicator_replicas{state=\"copying\"} 0",
            "image_replicator_stale_age_seconds 90",
            "image_replicator_queue_length{priority=\"soon\"} 7",
            "image_replicator_queue_age_seconds{priority=\"soon\"} 60",
            "image_replicator_queue_length{priority=\"now\"} 0",
            "image_replicator_ledger_writable 1",
        ],
    );
    let text = metrics.render(&moment(&latency, &[]));
    assert_lines(&text, &["image_replicator_stale_age_seconds 0"]);
}

#[test]
fn a_ledger_that_cannot_be_read_has_no_figures_and_says_why() {
    let (metrics, latency) = (Metrics::default(), Latency::default());
    let text =
        metrics.render(&Moment { figures: None, is_writable: false, ..moment(&latency, &[]) });
    assert_lines(&text, &["image_replicator_ledger_writable 0"]);
    assert!(!text.contains("image_replicator_replicas"), "{text}");
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
}

#[test]
fn a_failed_copy_is_counted_where_it_went_wrong() {
    let (metrics, latency) = (Metrics::default(), Latency::default());
    metrics.copy_begins();
    metrics.copy_ends("failed", Some(Side::Target), Duration::from_secs(1), 0);
    metrics.copy_begins();
    metrics.copy_ends("copied", None, Duration::from_secs(1), 10);
    assert_lines(
        &metrics.render(&moment(&latency, &[])),
        &[
            "image_replicator_copies_total{result=\"failed\"} 1",
            "image_replicator_copies_total{result=\"copied\"} 1",
            "image_replicator_copy_failures_total{side=\"target\"} 1",
            "image_replicator_copy_failures_total{side=\"source\"} 0",
            "image_replicator_copied_bytes_total 10",
            "image_replicator_copies_running 0",
        ],
    );
}

#[tokio::test]
async fn what_a_registry_says_and_what_it_was_asked_are_shown() {
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

    let (metrics, latency) = (Metrics::default(), Latency::default());
    let text = metrics.render(&moment(&latency, &client.registries()));
    let of = |name: &str, more: &str, figure: u64| {
        format!("image_replicator_registry_{name}{{registry=\"{host}\"{more}}} {figure}")
    };
    assert_lines(
        &text,
        &[
            &of("ratelimit_limit", "", 100),
            &of("ratelimit_remaining", "", 7),
            &of("requests_allowed", "", 16),
            &of("circuit_open", "", 0),
            &of("requests_total", ",status=\"4xx\"", 1),
            &of("requests_total", ",status=\"5xx\"", 0),
            &of("bytes_total", ",direction=\"written\"", 0),
            &of("token_fetches_total", ",result=\"failed\"", 0),
            &of("retries_total", "", 0),
        ],
    );
    assert!(!metrics.render(&moment(&latency, &[])).contains(host.as_str()));
}
