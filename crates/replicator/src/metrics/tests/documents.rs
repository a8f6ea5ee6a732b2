//! What is written elsewhere about metrics, held against what the replicator shows: the table of
//! `docs/metrics.md`, the alerts with their tests and runbook, and the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::{PREFIX, everything};

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// One metric, as the exposition tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    type_: String,
    help: String,
    labels: BTreeSet<String>,
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap()
}

/// All metrics, by the name of their samples (for a histogram without `_bucket`, `_sum`, `_count`).
async fn shown() -> BTreeMap<String, Shown> {
    let text = everything().await;
    let mut all = BTreeMap::new();
    for group in text.split("# HELP ").skip(1) {
        let (head, rest) = group.split_once('\n').unwrap();
        let (name, help) = head.split_once(' ').unwrap();
        let (type_line, samples) = rest.split_once('\n').unwrap();
        let type_ = type_line.rsplit_once(' ').unwrap().1.to_owned();
        let name = match type_.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let first = samples.lines().find(|line| line.starts_with(&name));
        let first = first.unwrap_or_else(|| panic!("{name} has no sample"));
        let labels = first.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le").collect();
        let help = help.trim_end_matches('.').to_owned();
        all.insert(name, Shown { type_, help, labels });
    }
    all
}

/// Names that begin as ours do, in a query.
fn names_in(query: &str) -> BTreeSet<String> {
    let begins = query.match_indices(PREFIX).map(|(at, _)| &query[at..]);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    begins.map(|rest| rest.chars().take_while(|c| is_of_name(*c)).collect()).collect()
}

async fn assert_shown(queries: &[String], place: &str) {
    let shown = shown().await;
    let is_shown = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| shown.get(name.strip_suffix(suffix)?))
            .any(|found| found.type_ == "histogram");
        of_histogram || shown.get(name).is_some_and(|found| found.type_ != "histogram")
    };
    let named: BTreeSet<_> = queries.iter().flat_map(|query| names_in(query)).collect();
    assert!(named.len() > 5, "{place} names {named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !is_shown(name)).collect();
    assert!(unknown.is_empty(), "{place} names {unknown:?}: shown by nothing");
}

/// The rules of the alerts' file.
fn alerts() -> Vec<Value> {
    let file = yaml("charts/image-replicator/files/alerts.yaml");
    let groups = file["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// All texts under the key `expr`, however deep.
fn queries_in(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, member)| match (key.as_str(), member) {
                ("expr", Value::String(query)) => vec![query.clone()],
                _ => queries_in(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(queries_in).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_is_what_is_shown() {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with(&format!("| `{PREFIX}")));
    let mut listed = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, type_, labels, help] = cells[..] else { panic!("{row}") };
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let shown = Shown { type_: type_.to_owned(), help: help.to_owned(), labels };
        let name = name.trim_matches('`').to_owned();
        assert!(listed.insert(name, shown).is_none(), "twice: {row}");
    }
    assert_eq!(listed, shown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_name_what_is_shown() {
    let queries: Vec<_> = alerts().iter().map(|rule| text(&rule["expr"])).collect();
    assert_shown(&queries, "alerts.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_names_what_is_shown() {
    let dashboard = read("charts/image-replicator/files/dashboard.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert_shown(&queries_in(&dashboard), "dashboard.json").await;
}

/// An alert that nobody tested, or that sends people to a page without it, is none.
#[test]
fn each_alert_is_tested_both_ways_and_has_its_page() {
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for test in yaml("tests/alerts/alerts_test.yaml")["tests"].as_array().unwrap() {
        for case in test["alert_rule_test"].as_array().unwrap() {
            let (fires, quiet) = tested.entry(text(&case["alertname"])).or_default();
            let expected = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
            *(if expected { fires } else { quiet }) = true;
        }
    }
    let runbook = read("docs/runbook.md");
    let pages: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = BTreeSet::new();
    for rule in alerts() {
        let name = text(&rule["alert"]);
        assert_eq!(tested.get(&name), Some(&(true, true)), "{name}: seen to fire, seen quiet");
        assert!(pages.contains(name.as_str()), "{name} has no page in docs/runbook.md");
        let url = text(&rule["annotations"]["runbook_url"]);
        let anchor = format!("{}/blob/main/docs/runbook.md#{}", REPOSITORY, name.to_lowercase());
        assert_eq!(url, anchor);
        for key in ["summary", "description"] {
            assert!(!text(&rule["annotations"][key]).is_empty(), "{name} has no {key}");
        }
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity.as_str()), "{name}: {severity}");
        assert!(rule["for"].is_string(), "{name} has no time that it must last");
        names.insert(name);
    }
    let strays: Vec<_> = tested.keys().filter(|name| !names.contains(*name)).collect();
    assert!(strays.is_empty(), "tests of alerts that are none: {strays:?}");
    assert_eq!(pages, names.iter().map(String::as_str).collect());
}
