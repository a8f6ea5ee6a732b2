//! What holds for every pod, and for every byte string.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{HasEverything, KINDS, REPLICATOR, TARGET, create_pod, create_with, still};
use image_replicator_policy::{SOURCE_IMAGES, check_settings, evaluate};
use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts of a form. As a strategy of its own a form would be parsed again for each text.
fn text(form: &str) -> impl Strategy<Value = String> {
    prop::string::string_regex(form).unwrap()
}

/// JSON of any shape, as a field that the policy does not know.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text("[ -~äß☃]{0,12}").prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text("[a-z]{1,6}"), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// References of every legal form, some in the target already.
fn any_image() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just(""),
        Just("docker.io/"),
        Just("index.docker.io/"),
        Just("quay.io/"),
        Just("R.Example:5000/"),
        Just("localhost/"),
        Just("[::1]:5000/"),
        Just("registry.corp/mirror/"),
    ];
    let digest = text("[0-9a-f]{64}").prop_map(|hex| format!("@sha256:{hex}"));
    let version = prop_oneof![
        Just(String::new()),
        text("[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}").prop_map(|tag| format!(":{tag}")),
        digest,
        Just(format!(":v1@sha256:{}", "a".repeat(64))),
    ];
    (host, text("[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,2}"), version)
        .prop_map(|(host, repository, version)| format!("{host}{repository}{version}"))
}

/// A list of containers (or volumes) of the given name, each with an unknown field.
fn any_list(name: &'static str) -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::option::of(any_image()), any_json()), 0..4).prop_map(
        move |items| {
            let item = |(index, (image, unknown)): (usize, (Option<String>, Value))| {
                let mut item = json!({"name": format!("{name}-{index}"), "unknown": unknown});
                match image {
                    Some(image) if name == "volumes" => item["image"] = json!({"reference": image}),
                    Some(image) => item["image"] = json!(image),
                    None => {}
                }
                item
            };
            items.into_iter().enumerate().map(item).collect()
        },
    )
}

fn any_pod() -> impl Strategy<Value = Value> {
    let lists = (
        any_list("containers"),
        any_list("initContainers"),
        any_list("ephemeralContainers"),
        any_list("volumes"),
    );
    let annotation = prop_oneof![
        Just(None),
        Just(Some(json!("{\"earlier\":\"nginx\"}"))),
        text("[ -~]{0,20}").prop_map(|text| Some(json!(text))),
    ];
    (lists, annotation, any_json()).prop_map(|(lists, annotation, unknown)| {
        let (containers, init, ephemeral, volumes) = lists;
        let mut pod = json!({
            "metadata": {"name": "p", "unknown": unknown},
            "spec": {"containers": containers, "initContainers": init,
                "ephemeralContainers": ephemeral, "volumes": volumes, "unknown": unknown},
        });
        if let Some(annotation) = annotation {
            pod["metadata"]["annotations"] = json!({SOURCE_IMAGES: annotation});
        }
        pod
    })
}

/// Settings of all kinds, for images as above.
fn any_settings() -> impl Strategy<Value = Value> {
    let rules = prop::collection::vec(
        prop_oneof![
            Just(json!({"images": "docker.io/**", "pin": true})),
            Just(json!({"images": ["quay.io/*", "*/**@*"], "skip": true})),
            Just(json!({"images": "*/*/a*", "mode": "keep"})),
            Just(json!({"images": "**", "verify": {"githubActions": {"owner": "o"}}})),
        ],
        0..3,
    );
    (rules, any::<bool>(), prop::sample::select(vec!["rewrite", "wait", "keep"])).prop_map(
        |(rules, is_pinned, mode)| {
            json!({"rules": rules, "pin": is_pinned, "mode": mode, "imagePullSecrets": ["pull"],
                "ignoreImages": ["localhost/**"]})
        },
    )
}

/// The pod without what the policy may change.
fn without_images(pod: &Value) -> Value {
    let mut rest = pod.clone();
    for list in ["containers", "initContainers", "ephemeralContainers", "volumes"] {
        for item in rest["spec"][list].as_array_mut().unwrap() {
            item.as_object_mut().unwrap().shift_remove("image");
        }
    }
    rest["spec"].as_object_mut().unwrap().shift_remove("imagePullSecrets");
    let metadata = rest["metadata"].as_object_mut().unwrap();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(SOURCE_IMAGES);
    }
    if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
        metadata.shift_remove("annotations");
    }
    rest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn rewriting_is_idempotent_and_touches_images_alone(pod in any_pod()) {
        let answer = create_pod(&pod);
        prop_assert_eq!(&answer["accepted"], true, "{}", answer);
        let mutated = &answer["mutated_object"];
        if mutated.is_null() {
            return Ok(());
        }
        prop_assert_eq!(without_images(mutated), without_images(&pod));
        let again = create_pod(mutated);
        prop_assert_eq!(&again["accepted"], true, "{}", again);
        prop_assert_eq!(&again["mutated_object"], &Value::Null);
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let answer: Value = serde_json::from_slice(&evaluate(&bytes, &HasEverything)).unwrap();
        prop_assert!(answer["accepted"].is_boolean());
        let answer: Value = serde_json::from_slice(&check_settings(&bytes)).unwrap();
        prop_assert!(answer["valid"].is_boolean());
    }

    #[test]
    fn any_json_gets_an_answer(request in any_json(), object in any_json(), settings in any_json()) {
        let good = json!({"replicator": REPLICATOR, "target": TARGET});
        let kind = json!({"kind": "Pod"});
        for payload in [
            json!({"request": request, "settings": settings}),
            json!({"request": {"kind": kind, "object": object, "oldObject": request},
                "settings": good}),
            json!({"request": {"kind": kind, "operation": "UPDATE",
                "object": {"metadata": request, "spec": object}, "oldObject": settings},
                "settings": good}),
            json!({"request": {"kind": kind, "namespace": "n",
                "object": {"spec": {"containers": [object], "volumes": request}}},
                "settings": good}),
        ] {
            let answer = evaluate(payload.to_string().as_bytes(), &HasEverything);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            prop_assert!(answer["accepted"].is_boolean());
        }
        let answer = check_settings(settings.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        prop_assert!(answer["valid"].is_boolean());
    }

    #[test]
    fn any_answer_of_the_host_is_survived(body in prop::collection::vec(any::<u8>(), 0..256)) {
        struct Says(Result<Vec<u8>, String>);
        impl image_replicator_policy::Host for Says {
            fn oci_manifest(&self, _image: &str) -> Result<Vec<u8>, String> {
                self.0.clone()
            }
            fn verify(&self, _question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String> {
                self.0.clone()
            }
            fn now(&self) -> std::time::Instant {
                still()
            }
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let payload = json!({
            "request": {"kind": {"kind": "Pod"},
                "object": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}},
            "settings": {"replicator": REPLICATOR, "target": TARGET},
        })
        .to_string();
        for answer in [Ok(body), Err(text)] {
            let answer = evaluate(payload.as_bytes(), &Says(answer));
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            prop_assert_eq!(&answer["accepted"], false);
        }
    }

    #[test]
    fn whatever_the_settings_and_the_kind_it_is_the_same(
        pod in any_pod(),
        settings in any_settings(),
        kind in prop::sample::select(KINDS.to_vec()),
        unknown in any_json(),
    ) {
        let (group, name, pointer) = kind;
        let gvk = json!({"group": group, "version": "v1", "kind": name});
        // The object around the pod, from the inside out.
        let object = pointer.rsplit('/').filter(|key| !key.is_empty()).fold(pod.clone(), |inner, key| {
            json!({"unknown": unknown, key: inner})
        });
        let answer = create_with(&settings, &gvk, &object);
        prop_assert_eq!(&answer["accepted"], true, "{}", answer);
        let mutated = &answer["mutated_object"];
        if mutated.is_null() {
            return Ok(());
        }
        let mut restored = mutated.clone();
        prop_assert_eq!(without_images(mutated.pointer(pointer).unwrap()), without_images(&pod));
        *restored.pointer_mut(pointer).unwrap() = pod;
        prop_assert_eq!(restored, object);
        let again = create_with(&settings, &gvk, mutated);
        prop_assert_eq!(&again["accepted"], true, "{}", again);
        prop_assert_eq!(&again["mutated_object"], &Value::Null);
    }
}

#[test]
fn depth_beyond_reason_gets_an_answer() {
    for bytes in ["[".repeat(1_000_000), format!("{{\"request\":{}", "{\"a\":".repeat(100_000))] {
        let answer = evaluate(bytes.as_bytes(), &HasEverything);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["accepted"], false);
        check_settings(bytes.as_bytes());
    }
}

#[test]
fn a_pod_of_hundred_thousand_containers_is_answered_in_time() {
    let containers: Vec<Value> =
        (0..100_000).map(|n| json!({"name": format!("c{n}"), "image": "nginx"})).collect();
    let old = json!({"metadata": {}, "spec": {"containers": containers}});
    assert_eq!(create_pod(&old)["accepted"], true);
}
