//! Objects with every field that Kubernetes has (tests/data/kubernetes): only image references
//! and our annotation change, and a field that nobody knows survives at every level.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{KINDS, create, create_pod};
use image_replicator_policy::SOURCE_IMAGES;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

const IMAGES: [(&str, &str, &str); 4] = [
    ("/spec/containers/0/image", "nginx:1.27", "docker.io/library/nginx:1.27"),
    ("/spec/initContainers/0/image", "r.example:5000/a/b:v1", "r.example_5000/a/b:v1"),
    ("/spec/ephemeralContainers/0/image", "busybox", "docker.io/library/busybox:latest"),
    ("/spec/volumes/0/image/reference", "quay.io/models/m:7", "quay.io/models/m:7"),
];

fn object(name: &str) -> Value {
    let path = format!("{}/tests/data/kubernetes/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The full pod with real references. In the data all containers have one name, which Kubernetes
/// would refuse.
fn full_pod() -> Value {
    let mut pod = object("core.v1.Pod");
    for (pointer, image, _) in IMAGES {
        *pod.pointer_mut(pointer).unwrap() = json!(image);
    }
    pod["spec"]["initContainers"][0]["name"] = json!("init");
    pod["spec"]["ephemeralContainers"][0]["name"] = json!("debug");
    pod
}

/// What the policy should make of `pod`.
fn expected(pod: &Value) -> Value {
    let mut expected = pod.clone();
    for (pointer, _, replica) in IMAGES {
        *expected.pointer_mut(pointer).unwrap() = json!(format!("registry.corp/mirror/{replica}"));
    }
    let originals = r#"{"init":"r.example:5000/a/b:v1","nameValue":"nginx:1.27","debug":"busybox","volume/nameValue":"quay.io/models/m:7"}"#;
    expected["metadata"]["annotations"][SOURCE_IMAGES] = json!(originals);
    expected
}

/// Puts a field that nobody knows into every object, however deep.
fn with_unknown_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(with_unknown_fields);
            fields.insert("fieldOfTheFuture".to_owned(), json!({"a": [1, null, -2.5, "x"]}));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown_fields),
        _ => {}
    }
}

#[test]
fn of_a_full_pod_only_images_and_our_annotation_change() {
    let pod = full_pod();
    let mutated = &create_pod(&pod)["mutated_object"];
    assert_eq!(*mutated, expected(&pod));
    // Even the order of the fields, which people see in a diff.
    assert_eq!(mutated.to_string(), expected(&pod).to_string());
    // And it is still a pod.
    let typed: Pod = serde_json::from_value(mutated.clone()).unwrap();
    let image = typed.spec.unwrap().containers.remove(0).image.unwrap();
    assert_eq!(image, "registry.corp/mirror/docker.io/library/nginx:1.27");
}

#[test]
fn case_13_unknown_fields_at_every_level_survive() {
    let mut pod = full_pod();
    with_unknown_fields(&mut pod);
    // Also among the annotations, where Kubernetes has texts alone.
    assert_eq!(create_pod(&pod)["mutated_object"], expected(&pod));
}

#[test]
fn of_all_nine_full_objects_only_images_and_our_annotation_change() {
    for (group, kind, pointer) in KINDS {
        for is_with_unknown_fields in [false, true] {
            let folder = if group.is_empty() { "core" } else { group };
            let mut whole = object(&format!("{folder}.v1.{kind}"));
            *whole.pointer_mut(pointer).unwrap() = {
                let mut pod = whole.pointer(pointer).unwrap().clone();
                for (image, text, _) in IMAGES {
                    *pod.pointer_mut(image).unwrap() = json!(text);
                }
                pod["spec"]["initContainers"][0]["name"] = json!("init");
                pod["spec"]["ephemeralContainers"][0]["name"] = json!("debug");
                pod
            };
            if is_with_unknown_fields {
                with_unknown_fields(&mut whole);
            }
            let mut right = whole.clone();
            *right.pointer_mut(pointer).unwrap() = expected(whole.pointer(pointer).unwrap());

            let gvk = json!({"group": group, "version": "v1", "kind": kind});
            let answer = create(&gvk, &whole);
            assert_eq!(answer["accepted"], true, "{kind}: {answer}");
            // As text: even the order of the fields, which people see in a diff, is kept.
            assert_eq!(answer["mutated_object"].to_string(), right.to_string(), "{kind}");
            assert_eq!(create(&gvk, &answer["mutated_object"])["mutated_object"], Value::Null);
        }
    }
}
