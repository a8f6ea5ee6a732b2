//! What an operator can choose, seen from outside: rules, pins, pull secrets, opting out,
//! references into the target, signatures.

use protocol::{RefusalCode, ReplicaState};
use serde_json::{Value, json};

use super::cases::{
    container_images, create, deployment, passes_untouched, pod, run, settings, update,
};
use crate::patch::SOURCE_IMAGES;
use crate::tests::fake::{Replicator, VERIFIED, receipt};

const REPLICA: &str = "registry.corp/mirror/docker.io/library/nginx:1";

/// The answer to the creation of a pod with these images.
fn created(images: &[&str], more: &Value, host: &Replicator) -> Value {
    run(&create(&pod(images)), &settings(more), host)
}

/// A rule that asks for a signature of all images.
fn signed(more: &Value) -> Value {
    let mut rule = json!({"images": "**", "verify": {"githubActions": {"owner": "o"}}});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"rules": [rule]})
}

#[test]
fn rules_and_ignored_images_decide_image_by_image() {
    let more = json!({
        "ignoreImages": ["quay.io/own/**"],
        "rules": [
            {"images": "quay.io/slow/*", "mode": "keep"},
            {"images": "quay.io/**", "skip": true},
        ],
    });
    let images = ["quay.io/own/a:1", "quay.io/slow/b:1", "quay.io/c:1", "nginx:1"];
    let response = created(&images, &more, &Replicator::default());
    assert_eq!(
        container_images(&response["mutated_object"]),
        ["quay.io/own/a:1", "quay.io/slow/b:1", "quay.io/c:1", REPLICA]
    );
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn pinned_references_have_the_replicas_digest_and_pass_the_second_time() {
    let mut there = receipt("nginx:1", ReplicaState::Present);
    there.digest = Some(VERIFIED.parse().unwrap());
    let host = Replicator::default().receipt("nginx:1", &there);
    let more = json!({"pin": true});
    let response = created(&["nginx:1"], &more, &host);
    let pinned = [format!("{REPLICA}@{VERIFIED}")];
    assert_eq!(container_images(&response["mutated_object"]), pinned);
    assert_eq!(response["warnings"], Value::Null);
    passes_untouched(&run(&create(&response["mutated_object"]), &settings(&more), &host));

    let response = created(&["nginx:1"], &more, &Replicator::default());
    assert_eq!(container_images(&response["mutated_object"]), [REPLICA]);
    assert!(response["warnings"][0].as_str().unwrap().starts_with("not pinned"));
}

#[test]
fn pull_secrets_come_with_images_in_the_target_alone() {
    let more = json!({"imagePullSecrets": ["pull"], "ignoreImages": ["quay.io/**"]});
    let host = Replicator::default();
    let secrets = |response: &Value| response["mutated_object"]["spec"]["imagePullSecrets"].clone();
    assert_eq!(secrets(&created(&["nginx:1"], &more, &host)), json!([{"name": "pull"}]));
    assert_eq!(secrets(&created(&[REPLICA], &more, &host)), json!([{"name": "pull"}]));
    passes_untouched(&created(&["quay.io/a:1"], &more, &host));

    // They are fixed once the pod is made.
    let old = pod(&["nginx:0"]);
    let response = run(&update(&old, &pod(&["nginx:1"])), &settings(&more), &host);
    assert_eq!(container_images(&response["mutated_object"]), [REPLICA]);
    assert_eq!(secrets(&response), Value::Null);
}

#[test]
fn a_template_gets_pull_secrets_only_where_its_pods_do_not_come_by() {
    let mut request = create(&deployment(&["nginx:1"]));
    request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    for (kinds, expected) in [
        (json!(["Deployment"]), json!([{"name": "pull"}])),
        (json!(["Pod", "Deployment"]), Value::Null),
    ] {
        let more = json!({"imagePullSecrets": ["pull"], "kinds": kinds});
        let response = run(&request, &settings(&more), &Replicator::default());
        let spec = &response["mutated_object"]["spec"]["template"]["spec"];
        assert_eq!(spec["imagePullSecrets"], expected);
    }
}

#[test]
fn an_opt_out_counts_only_where_it_is_enabled() {
    let mut object = pod(&["nginx:1"]);
    object["metadata"]["annotations"] = json!({"example.com/opt-out": "true"});
    let host = Replicator::default();
    let response = run(&create(&object), &settings(&json!({})), &host);
    assert_eq!(container_images(&response["mutated_object"]), [REPLICA]);

    let more = json!({"optOutAnnotation": "example.com/opt-out"});
    let response = run(&create(&object), &settings(&more), &host);
    assert_eq!((&response["accepted"], &response["mutated_object"]), (&json!(true), &Value::Null));
    assert_eq!(
        response["warnings"][0],
        "the images are left alone, as the annotation `example.com/opt-out` says"
    );
}

#[test]
fn references_into_the_target_pass_or_are_to_be_known() {
    let mut known = receipt("nginx:1", ReplicaState::Present);
    known.source = REPLICA.parse().unwrap();
    let unknown = "registry.corp/mirror/evil:1";
    let host = Replicator::default().receipt(REPLICA, &known).refused(
        unknown,
        RefusalCode::NotFound,
        "no replica of the replicator's",
    );
    passes_untouched(&created(&[REPLICA, unknown], &json!({}), &host));
    assert!(host.asked().is_empty());

    let more = json!({"targetReferences": "known", "mode": "keep"});
    passes_untouched(&created(&[REPLICA], &more, &host));
    let response = created(&[REPLICA, unknown], &more, &host);
    assert_eq!((&response["accepted"], &response["code"]), (&json!(false), &json!(403)));
}

#[test]
fn the_digest_that_was_verified_is_the_one_that_runs() {
    let host = Replicator::default();
    let response = created(&["nginx:1"], &signed(&json!({})), &host);
    let replica = [format!("{REPLICA}@{VERIFIED}")];
    assert_eq!(container_images(&response["mutated_object"]), replica);
    assert_eq!(
        response["mutated_object"]["metadata"]["annotations"][SOURCE_IMAGES],
        r#"{"c1":"nginx:1"}"#
    );
    // Also where it stays at its source for a while.
    let keep = signed(&json!({"mode": "keep"}));
    let response = created(&["nginx:1"], &keep, &host);
    let source = [format!("docker.io/library/nginx:1@{VERIFIED}")];
    assert_eq!(container_images(&response["mutated_object"]), source);
    let again = run(&create(&response["mutated_object"]), &settings(&keep), &host);
    assert_eq!(again["mutated_object"], Value::Null);
    // A dry run starts nothing, but looks at the signature.
    let host = Replicator::default().signature("nginx:1", Err("no signatures found for image"));
    let mut request = create(&pod(&["nginx:1"]));
    request["dryRun"] = json!(true);
    assert_eq!(run(&request, &settings(&signed(&json!({}))), &host)["accepted"], false);
}

#[test]
fn a_hostile_answer_is_refused_with_the_reason() {
    let other = receipt("evil:1", ReplicaState::Present);
    let mut outside = receipt("nginx:1", ReplicaState::Present);
    outside.target = "evil.example/mirror/docker.io/library/nginx:1".parse().unwrap();
    let mut huge: Value =
        serde_json::from_str(&receipt("nginx:1", ReplicaState::Present).to_json()).unwrap();
    huge["annotations"]["more"] = json!("x".repeat(5 << 20));
    let huge = huge.to_string();
    for (host, reason) in [
        (Replicator::default().receipt("nginx:1", &other), "about another image"),
        (Replicator::default().receipt("nginx:1", &outside), "outside of the policy's `target`"),
        (Replicator::default().raw("nginx:1", Ok(huge.as_bytes())), "a receipt has at most 16384"),
        (Replicator::default().raw("nginx:1", Ok(b"\xff\x00")), "not the JSON of a receipt"),
        (Replicator::default().raw("nginx:1", Err(&huge)), "no answer from the replicator"),
    ] {
        for mode in ["rewrite", "wait", "keep"] {
            let response = created(&["nginx:1"], &json!({"mode": mode}), &host);
            assert_eq!(response["accepted"], false, "{reason}");
            let message = response["message"].as_str().unwrap();
            assert!(message.contains(reason) && message.len() < 2_000, "{message}");
        }
    }
}
