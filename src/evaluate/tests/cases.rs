//! Cases that other people's tools got wrong (docs/failures.md), by their numbers, and the
//! flow around them.

use protocol::ReplicaState;
use serde_json::{Value, json};

use crate::evaluate::*;
use crate::patch::SOURCE_IMAGES;
use crate::tests::fake::{REPLICATOR, Replicator, TARGET, receipt};

pub(super) fn settings(more: &Value) -> Value {
    let mut value = json!({"replicator": REPLICATOR, "target": TARGET});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

/// A pod with one container for each image, named `c1`, `c2`, …
pub(super) fn pod(images: &[&str]) -> Value {
    let containers: Vec<_> = images
        .iter()
        .enumerate()
        .map(|(index, image)| json!({"name": format!("c{}", index + 1), "image": image}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": containers},
    })
}

pub(super) fn create(object: &Value) -> Value {
    json!({
        "uid": "u", "operation": "CREATE", "namespace": "shop", "object": object,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
    })
}

pub(super) fn update(old: &Value, new: &Value) -> Value {
    let mut request = create(new);
    request["operation"] = json!("UPDATE");
    request["oldObject"] = old.clone();
    request
}

pub(super) fn run(request: &Value, settings: &Value, host: &impl Host) -> Value {
    let payload = json!({"request": request, "settings": settings}).to_string();
    serde_json::from_slice(&evaluate(payload.as_bytes(), host)).unwrap()
}

/// The images of the containers after a CREATE in mode `rewrite`.
fn rewritten(images: &[&str]) -> Vec<String> {
    let response = run(&create(&pod(images)), &settings(&json!({})), &Replicator::default());
    assert_eq!(response["accepted"], true, "{response}");
    container_images(&response["mutated_object"])
}

pub(super) fn container_images(pod: &Value) -> Vec<String> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    containers.iter().map(|container| container["image"].as_str().unwrap().to_owned()).collect()
}

pub(super) fn passes_untouched(response: &Value) {
    assert_eq!(response["accepted"], true, "{response}");
    assert_eq!(response["mutated_object"], Value::Null, "{response}");
    assert_eq!(response["warnings"], Value::Null, "{response}");
}

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn case_01_tag_and_digest_are_both_kept() {
    assert_eq!(
        rewritten(&[&format!("r.example:5000/a/b:v1@{DIGEST}"), &format!("nginx@{DIGEST}")]),
        [
            format!("registry.corp/mirror/r.example_5000/a/b:v1@{DIGEST}"),
            format!("registry.corp/mirror/docker.io/library/nginx@{DIGEST}"),
        ]
    );
}

#[test]
fn case_02_the_first_colon_is_not_the_tags() {
    assert_eq!(
        rewritten(&["r.example:5050/i", "localhost/i", "localhost:5000/i:t", "127.0.0.1:5000/i"]),
        [
            "registry.corp/mirror/r.example_5050/i:latest",
            "registry.corp/mirror/localhost/i:latest",
            "registry.corp/mirror/localhost_5000/i:t",
            "registry.corp/mirror/127.0.0.1_5000/i:latest",
        ]
    );
}

#[test]
fn case_03_two_registries_never_share_a_place() {
    let images = ["docker.io/x/y:1", "other.example/x/y:1", "other.example:5000/x/y:1", "x/y:1.0"];
    let replicas = rewritten(&images);
    let distinct: std::collections::BTreeSet<_> = replicas.iter().collect();
    assert_eq!(distinct.len(), images.len());
    // And each can be read back.
    let root: protocol::TargetRoot = TARGET.parse().unwrap();
    for (image, replica) in images.iter().zip(&replicas) {
        let source = root.source_of(&replica.parse().unwrap()).unwrap();
        assert_eq!(source, image.parse().unwrap());
    }
}

#[test]
fn case_04_the_replicators_flat_naming_is_taken_as_it_comes() {
    let root: protocol::TargetRoot = TARGET.parse().unwrap();
    let root = root.with_naming(protocol::Naming::Flat);
    let mut flat = receipt("quay.io/a/my-app:1", ReplicaState::Present);
    flat.target = root.replica_of(&flat.source).unwrap().reference;
    let host = Replicator::default().receipt("quay.io/a/my-app:1", &flat);
    let response = run(&create(&pod(&["quay.io/a/my-app:1"])), &settings(&json!({})), &host);
    let expected = ["registry.corp/mirror/quay.io--a--my-app:1"];
    assert_eq!(container_images(&response["mutated_object"]), expected);
    passes_untouched(&run(&create(&response["mutated_object"]), &settings(&json!({})), &host));
}

#[test]
fn case_05_rewriting_what_was_rewritten_changes_nothing() {
    for target in ["registry.corp/mirror", "registry.corp"] {
        // The fake replicator answers for the first target only; the second pod asks nothing.
        let host = Replicator::default();
        let first = run(&create(&pod(&["nginx", "a/b:1"])), &settings(&json!({})), &host);
        let asked = host.asked().len();
        let settings = settings(&json!({"target": target}));
        passes_untouched(&run(&create(&first["mutated_object"]), &settings, &host));
        assert_eq!(host.asked().len(), asked);
    }
}

#[test]
fn case_06_names_of_docker_hub_are_one_host() {
    let host = Replicator::default();
    let names = ["nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"];
    let response = run(&create(&pod(&names)), &settings(&json!({})), &host);
    assert_eq!(host.asked(), ["start shop docker.io/library/nginx:1"]);
    assert_eq!(
        container_images(&response["mutated_object"]),
        ["registry.corp/mirror/docker.io/library/nginx:1"; 3]
    );
}

#[test]
fn case_07_ephemeral_containers_of_a_running_pod_are_seen() {
    let old = pod(&["nginx"]);
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let mut request = update(&old, &new);
    request["subResource"] = json!("ephemeralcontainers");
    let host = Replicator::default();
    let response = run(&request, &settings(&json!({})), &host);
    assert_eq!(host.asked(), ["start shop docker.io/library/busybox:latest"]);
    let spec = &response["mutated_object"]["spec"];
    assert_eq!(
        spec["ephemeralContainers"][0]["image"],
        "registry.corp/mirror/docker.io/library/busybox:latest"
    );
    assert_eq!(spec["containers"], old["spec"]["containers"]);
}

#[test]
fn case_08_image_volumes_count_as_images() {
    let mut object = pod(&[]);
    object["spec"]["volumes"] = json!([
        {"name": "model", "image": {"reference": "quay.io/m:1", "pullPolicy": "IfNotPresent"}},
        {"name": "disk", "rbd": {"image": "nginx", "monitors": []}},
    ]);
    let host = Replicator::default();
    let response = run(&create(&object), &settings(&json!({})), &host);
    let mut expected = object["spec"].clone();
    expected["volumes"][0]["image"]["reference"] = json!("registry.corp/mirror/quay.io/m:1");
    assert_eq!(response["mutated_object"]["spec"], expected);
    assert_eq!(host.asked(), ["start shop quay.io/m:1"]);
    assert_eq!(
        response["mutated_object"]["metadata"]["annotations"][SOURCE_IMAGES],
        r#"{"volume/model":"quay.io/m:1"}"#
    );
}

#[test]
fn case_09_an_update_is_not_held_up_by_images_that_it_does_not_change() {
    let mut old = pod(&["nginx", "Not A Reference"]);
    old["metadata"]["finalizers"] = json!(["example.org/f"]);
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    let host = Replicator::default();
    passes_untouched(&run(&update(&old, &new), &settings(&json!({})), &host));
    assert!(host.asked().is_empty());

    new["spec"]["containers"][0]["image"] = json!("nginx:2");
    let response = run(&update(&old, &new), &settings(&json!({})), &host);
    assert_eq!(
        container_images(&response["mutated_object"]),
        ["registry.corp/mirror/docker.io/library/nginx:2", "Not A Reference"]
    );

    old["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    new["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    passes_untouched(&run(&update(&old, &new), &settings(&json!({})), &host));
}

/// A Deployment whose pods have these images.
pub(super) fn deployment(images: &[&str]) -> Value {
    let spec = pod(images)["spec"].clone();
    json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}})
}

#[test]
fn case_10_workloads_are_rewritten_only_where_asked() {
    let mut request = create(&deployment(&["nginx"]));
    request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let host = Replicator::default();
    passes_untouched(&run(&request, &settings(&json!({})), &host));
    assert!(host.asked().is_empty());

    let kinds = settings(&json!({"kinds": ["Pod", "Deployment"]}));
    let first = run(&request, &kinds, &host)["mutated_object"].clone();
    let template = &first["spec"]["template"];
    let replica = "registry.corp/mirror/docker.io/library/nginx:latest";
    assert_eq!(container_images(template), [replica]);
    assert_eq!(template["metadata"]["annotations"][SOURCE_IMAGES], r#"{"c1":"nginx"}"#);
    assert_eq!(first["metadata"], json!({"name": "d"}));

    // Its controller's own updates, and the pods made from it, find nothing left to do.
    let mut scaled = update(&first, &first);
    scaled["kind"] = request["kind"].clone();
    scaled["object"]["spec"]["replicas"] = json!(3);
    passes_untouched(&run(&scaled, &kinds, &host));
    passes_untouched(&run(&create(template), &kinds, &host));
    assert_eq!(host.asked().len(), 1);
}

#[test]
fn case_11_what_must_start_before_the_replicator_is_left_alone() {
    for namespace in ["image-replicator", "kube-system", "kubewarden"] {
        let mut request = create(&pod(&["nginx", "Not A Reference"]));
        request["namespace"] = json!(namespace);
        let host = Replicator::default().raw("nginx", Err("connection refused"));
        passes_untouched(&run(&request, &settings(&json!({})), &host));
        // By setting all namespaces are looked at.
        let none = settings(&json!({"ignoreNamespaces": []}));
        assert_eq!(run(&request, &none, &host)["accepted"], false);
    }
}

#[test]
fn case_12_mirror_pods_pass_untouched() {
    let mut object = pod(&["nginx", "Not A Reference"]);
    object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    let host = Replicator::default();
    passes_untouched(&run(&create(&object), &settings(&json!({})), &host));
    assert!(host.asked().is_empty());
}

#[test]
fn case_13_fields_that_nobody_knows_survive() {
    let mut object = pod(&["nginx"]);
    object["spec"]["containers"][0]["future"] = json!({"a": [1, null, 1.5]});
    object["spec"]["future"] = json!("x");
    object["future"] = json!({});
    let response = run(&create(&object), &settings(&json!({})), &Replicator::default());
    let mut expected = object;
    expected["spec"]["containers"][0]["image"] =
        json!("registry.corp/mirror/docker.io/library/nginx:latest");
    expected["metadata"]["annotations"] = json!({SOURCE_IMAGES: r#"{"c1":"nginx"}"#});
    assert_eq!(response["mutated_object"], expected);
}

#[test]
fn case_15_a_hundred_images_at_once_get_their_own_answers_each() {
    let images: Vec<String> = (0..100).map(|n| format!("r{}.example/i{n}:t{n}", n % 7)).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let expected: Vec<String> =
        images.iter().map(|image| format!("registry.corp/mirror/{image}")).collect();
    assert_eq!(rewritten(&images), expected);
}

#[test]
fn case_16_a_dry_run_starts_nothing_and_shows_the_pod_as_it_will_be() {
    for (mode, is_rewritten) in [("rewrite", true), ("wait", true), ("keep", false)] {
        let host = Replicator::default();
        let mut request = create(&pod(&["nginx"]));
        request["dryRun"] = json!(true);
        let response = run(&request, &settings(&json!({"mode": mode})), &host);
        assert_eq!(host.asked(), ["plan shop docker.io/library/nginx:latest"]);
        assert_eq!(response["accepted"], true);
        assert_eq!(response["mutated_object"].is_object(), is_rewritten);
    }
}

#[test]
fn keep_rewrites_what_is_there_and_leaves_the_rest() {
    let host = Replicator::default().state("nginx", ReplicaState::Present);
    let object = pod(&["nginx", "busybox"]);
    let response = run(&create(&object), &settings(&json!({"mode": "keep"})), &host);
    assert_eq!(
        container_images(&response["mutated_object"]),
        ["registry.corp/mirror/docker.io/library/nginx:latest", "busybox"]
    );
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    assert_eq!(
        response["mutated_object"]["metadata"]["annotations"][SOURCE_IMAGES],
        r#"{"c1":"nginx"}"#
    );
}

#[test]
fn what_takes_something_away_passes_even_with_wrong_settings() {
    let mut request = create(&pod(&["nginx"]));
    for operation in ["DELETE", "CONNECT"] {
        request["operation"] = json!(operation);
        passes_untouched(&run(&request, &json!({"wrong": 1}), &Replicator::default()));
    }
}

#[test]
fn a_receipt_is_good_for_its_own_image_alone() {
    let swapped = receipt("busybox", ReplicaState::Present);
    let host = Replicator::default().receipt("nginx", &swapped);
    let response = run(&create(&pod(&["nginx", "busybox"])), &settings(&json!({})), &host);
    assert_eq!(response["accepted"], false);
    assert_eq!(response["mutated_object"], Value::Null);
    assert_eq!(response["code"], 403);
}
