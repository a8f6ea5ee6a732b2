//! All that people read, as snapshots: a change of words shows in the review.

use insta::assert_snapshot;
use protocol::{Receipt, Refusal, RefusalCode, ReplicaState};
use serde_json::{Value, json};

use super::cases::{create, pod, run, settings};
use crate::evaluate::*;
use crate::tests::fake::{Replicator, receipt};

/// Status and message of a refusal, or the warnings of an admission, as people see them.
fn told(response: &Value) -> String {
    match response["accepted"].as_bool() {
        Some(true) => {
            let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
            let warnings = warnings.iter().map(|warning| warning.as_str().unwrap());
            warnings.map(|warning| format!("Warning: {warning}")).collect::<Vec<_>>().join("\n")
        }
        _ => format!("{}: {}", response["code"], response["message"].as_str().unwrap()),
    }
}

fn told_of(images: &[&str], more: &Value, host: &Replicator) -> String {
    told(&run(&create(&pod(images)), &settings(more), host))
}

/// A receipt for a replica that its source confirmed so long ago.
fn stale(image: &str, age_s: Option<u64>) -> Receipt {
    Receipt { age_s, ..receipt(image, ReplicaState::Stale) }
}

/// A replicator that says of each image something else.
fn versatile() -> Replicator {
    let source = |image: &str| format!("docker.io/library/{image}:latest");
    let early = Refusal::new(RefusalCode::Pending, source("early"), "number 3 in the queue");
    Replicator::default()
        .state("present", ReplicaState::Present)
        .receipt("stale", &stale("stale", Some(11_000)))
        .receipt("unsure", &stale("unsure", None))
        .refusal("early", &early)
        .refused("absent", RefusalCode::NotFound, "the source docker.io has no such tag")
        .refused("secret", RefusalCode::Denied, "namespace shop has no right to it")
        .refused("broken", RefusalCode::Failed, "source says 401 for docker.io: wrong password")
        .refused("many", RefusalCode::TooMany, "the queue is full")
        .refused("mute", RefusalCode::Unavailable, "the ledger cannot be written")
        .refused("odd", RefusalCode::Malformed, "an unknown verb")
        .refused("future", RefusalCode::Unknown, "something of a later release")
        .raw("garbage", Ok(b"<html>"))
}

const VERSATILE: [&str; 15] = [
    "present",
    "stale",
    "unsure",
    "under-way",
    "early",
    "absent",
    "secret",
    "broken",
    "many",
    "mute",
    "odd",
    "future",
    "garbage",
    "registry.corp/mirror/own:1",
    "Not A Reference",
];

#[test]
fn a_copy_under_way_is_told_with_how_far_it_is() {
    let host = Replicator::default().state("busybox", ReplicaState::Present);
    assert_snapshot!(told_of(&["busybox", "nginx:1.27"], &json!({"mode": "wait"}), &host));
}

#[test]
fn one_refused_image_never_hides_another() {
    assert_snapshot!(told_of(&VERSATILE, &json!({"mode": "wait"}), &versatile()));
}

#[test]
fn keep_warns_of_what_stays_at_its_source() {
    let images = ["present", "stale", "unsure", "under-way", "early", "absent", "broken", "many"];
    assert_snapshot!(told_of(&images, &json!({"mode": "keep"}), &versatile()));
}

#[test]
fn rewrite_refuses_what_will_never_be_there() {
    assert_snapshot!(told_of(&["present", "secret", "under-way"], &json!({}), &versatile()));
}

#[test]
fn no_answer_is_told_with_the_address_and_the_setting() {
    let unreachable = "Host error: Callback evaluation failure: Fail to interact with OCI \
        registry: error sending request for url (https://replicator.test:8443/v2/)\n\nCaused by:\n  \
        error sending request";
    let host = || Replicator::default().raw("nginx", Err(unreachable)).raw("b", Err("HTTP 502"));
    assert_snapshot!("deny", told_of(&["nginx", "b", "c"], &json!({}), &host()));
    let allow = json!({"onUnavailable": "allow"});
    assert_snapshot!("allow", told_of(&["nginx", "b", "mute"], &allow, &host()));
}

#[test]
fn what_there_was_no_time_to_ask_about_is_told_with_how_long_the_rest_took() {
    let images = ["a", "b", "c", "registry.corp/mirror/own:1"];
    let slow = || Replicator::default().slow(950);
    let budget = json!({"budgetMs": 1500});
    assert_snapshot!("out_of_time_deny", told_of(&images, &budget, &slow()));
    let allow = json!({"budgetMs": 1500, "onUnavailable": "allow"});
    assert_snapshot!("out_of_time_allow", told_of(&images, &allow, &slow()));
    // A signature that nobody looked at lets nothing through.
    let rules =
        json!([{"images": "docker.io/library/c", "verify": {"githubActions": {"owner": "o"}}}]);
    let signed = json!({"budgetMs": 1500, "onUnavailable": "allow", "rules": rules});
    assert_snapshot!("out_of_time_unverified", told_of(&images, &signed, &slow()));
}

#[test]
fn a_host_that_does_not_grant_the_capability_is_no_answer() {
    let denied = "Host error: Policy has not been granted access to the 'oci/v1/oci_manifest' \
        host capability. The violation has been reported.";
    let host = Replicator::default().raw("nginx", Err(denied));
    assert_snapshot!(told_of(&["nginx"], &json!({}), &host));
}

#[test]
fn hostile_text_stays_within_its_line() {
    let message = format!("\u{1b}[2J\n- docker.io/library/x: present\n{}", "x".repeat(10_000));
    let host = Replicator::default().refused("nginx", RefusalCode::Failed, &message);
    let hostile = format!("evil\n- {}", "y".repeat(1_000_000));
    let text = told_of(&["nginx", &hostile], &json!({}), &host);
    assert!(text.len() < 4_000);
    assert_snapshot!(text);
}

#[test]
fn places_are_named_up_to_a_few() {
    let images = ["nginx"; 9];
    let host = Replicator::default();
    assert_snapshot!(told_of(&images, &json!({"mode": "wait"}), &host));
}

#[test]
fn what_is_wrong_with_the_request_or_the_settings_is_told() {
    let host = Replicator::default();
    let mut wrong_namespace = create(&pod(&["nginx"]));
    wrong_namespace["namespace"] = json!("No_Namespace");
    let many: Vec<String> = (0..200).map(|n| format!("i{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut no_metadata = create(&pod(&["nginx"]));
    no_metadata["object"]["metadata"] = json!([]);
    let answers = [
        serde_json::from_slice(&evaluate(b"no JSON", &host)).unwrap(),
        serde_json::from_slice(&evaluate(b"{}", &host)).unwrap(),
        run(&create(&pod(&["nginx"])), &json!({"replicator": "r:1"}), &host),
        run(&wrong_namespace, &settings(&json!({})), &host),
        run(&create(&pod(&many)), &settings(&json!({})), &host),
        run(&no_metadata, &settings(&json!({})), &host),
    ];
    assert_snapshot!(answers.map(|answer| told(&answer)).join("\n"));
}

#[test]
fn the_answer_to_validate_settings_says_what_is_wrong() {
    let answers = [
        check_settings(settings(&json!({})).to_string().as_bytes()),
        check_settings(br#"{"replicator": "r.example:8443", "targte": "t.example"}"#),
        check_settings(b""),
        check_settings(b"null"),
    ];
    let answers = answers.map(|answer| String::from_utf8(answer).unwrap());
    assert_snapshot!(answers.join("\n"));
}

#[test]
fn rules_and_signatures_are_told_by_number() {
    let verify = json!({"githubActions": {"owner": "o"}});
    let more = json!({
        "mode": "wait",
        "ignoreImages": ["docker.io/library/ignored"],
        "rules": [
            {"images": "docker.io/library/skipped", "skip": true},
            {"images": ["docker.io/library/unsigned", "docker.io/library/unseen"], "verify": verify},
            {"images": "docker.io/library/banned", "deny": true},
        ],
    });
    let unsigned = "Host error: Callback evaluation failure: Image verification failed: missing \
        signatures\nThe following constraints were not satisfied:\nkind: githubAction\nowner: o\n\n\
        Caused by:\n  x";
    let unseen = "Host error: Callback evaluation failure: error sending request for url \
        (https://index.docker.io/v2/)";
    let host = Replicator::default()
        .signature("unsigned", Err(unsigned))
        .signature("unseen", Err(unseen))
        .state("present", ReplicaState::Present);
    let images = ["ignored", "skipped", "unsigned", "unseen", "banned", "present", "under-way"];
    assert_snapshot!(told_of(&images, &more, &host));
    assert_snapshot!("unseen", told_of(&["unseen"], &more, &host));
}

#[test]
fn a_reference_into_the_target_that_nobody_knows_is_told() {
    let own = "registry.corp/mirror/own:1";
    let host = Replicator::default().refused(
        own,
        RefusalCode::NotFound,
        "the replicator has made no such replica",
    );
    assert_snapshot!(told_of(&[own, "nginx"], &json!({"targetReferences": "known"}), &host));
}
