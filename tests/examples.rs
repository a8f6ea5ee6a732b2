//! The ready policies under examples/: legal by the CRD's schema, with settings that are valid,
//! one for each mode.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use image_replicator_policy::check_settings;
use serde_json::{Value, json};

const MODES: [&str; 3] = ["keep", "rewrite", "wait"];

fn yaml(name: &str) -> Value {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn schema(version: &str) -> Value {
    let crd = yaml("tests/data/crds/policies.kubewarden.io_clusteradmissionpolicies.yaml");
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let of_version = versions.iter().find(|known| known["name"] == version).unwrap();
    of_version["schema"]["openAPIV3Schema"].clone()
}

/// What is wrong with `value` by a structural schema, as an API server checks it; unlike one,
/// a field that the schema does not know is an error and not dropped.
fn check(value: &Value, schema: &Value, path: &str, errors: &mut Vec<String>) {
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        _ => true,
    };
    if !is_of_type {
        errors.push(format!("{path} is not of the type {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        errors.push(format!("{path} is none of {words:?}"));
    }
    if let Some(number) = value.as_i64() {
        let is_below = schema["minimum"].as_i64().is_some_and(|least| number < least);
        let is_above = schema["maximum"].as_i64().is_some_and(|most| number > most);
        if is_below || is_above {
            errors.push(format!("{path} is out of range"));
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            errors.push(format!("{path} lacks {key}"));
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (known @ Value::Object(_), _) | (_, known @ Value::Object(_)) => {
                check(value, known, &path, errors);
            }
            _ if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            // Of metadata a CRD says only that they are an object.
            _ if path.starts_with(".metadata.") => {}
            _ => errors.push(format!("{path} is not known")),
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        check(value, &schema["items"], &format!("{path}[{index}]"), errors);
    }
}

fn errors_of(policy: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let version = policy["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap().1;
    check(policy, &schema(version), "", &mut errors);
    errors
}

#[test]
fn each_example_is_legal_by_the_schema() {
    for mode in MODES {
        let policy = yaml(&format!("examples/{mode}.yaml"));
        assert_eq!(policy["kind"], "ClusterAdmissionPolicy");
        assert_eq!(errors_of(&policy), Vec::<String>::new(), "{mode}");
    }
}

#[test]
fn the_check_sees_what_an_api_server_would() {
    let good = yaml("examples/wait.yaml");
    for (pointer, wrong, error) in [
        ("/spec/timeoutEvalSeconds", json!(31), ".spec.timeoutEvalSeconds is out of range"),
        ("/spec/mutating", json!("yes"), ".spec.mutating is not of the type \"boolean\""),
        ("/spec/rules/0/resources/0", json!(1), ".spec.rules[0].resources[0] is not of the type"),
        ("/spec/namespaceSelector", json!({"matchNames": []}), "matchNames is not known"),
    ] {
        let mut policy = good.clone();
        *policy.pointer_mut(pointer).unwrap() = wrong;
        assert!(errors_of(&policy).join("\n").contains(error), "{:?}", errors_of(&policy));
    }
    let mut policy = good;
    policy["spec"].as_object_mut().unwrap().shift_remove("module");
    assert_eq!(errors_of(&policy), [".spec lacks \"module\""]);
}

#[test]
fn each_example_has_its_mode_and_settings_that_are_valid() {
    for mode in MODES {
        let settings = &yaml(&format!("examples/{mode}.yaml"))["spec"]["settings"];
        assert_eq!(settings["mode"], mode);
        let answer = check_settings(settings.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, json!({"valid": true, "message": null}));
    }
}

#[test]
fn each_example_starts_no_copy_by_audit_and_leaves_out_what_must_start_first() {
    for mode in MODES {
        let spec = &yaml(&format!("examples/{mode}.yaml"))["spec"];
        assert_eq!(spec["mutating"], true);
        assert_eq!(spec["backgroundAudit"], false);
        assert_eq!(spec["sideEffects"], "NoneOnDryRun");
        assert!(spec["timeoutEvalSeconds"].as_u64() < spec["timeoutSeconds"].as_u64());
        // The policy server's clock has ticks of a second: of the last one nothing is certain.
        let certain_ms = (spec["timeoutEvalSeconds"].as_u64().unwrap() - 1) * 1_000;
        assert!(spec["settings"]["budgetMs"].as_u64().unwrap() < certain_ms);
        let left_out = &spec["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(left_out["operator"], "NotIn");
        assert_eq!(left_out["values"], json!(["kube-system", "kubewarden", "image-replicator"]));
    }
}

#[test]
fn each_example_sends_what_the_metadata_send_and_its_kinds_ask_for() {
    let metadata = yaml("metadata.yml");
    let image = metadata["annotations"]["io.kubewarden.policy.ociUrl"].as_str().unwrap();
    let module = format!("registry://{image}:v{}", env!("CARGO_PKG_VERSION"));
    let triples = |rules: &Value| -> BTreeSet<String> {
        let rules = rules.as_array().unwrap().iter();
        rules
            .flat_map(|rule| {
                let group = rule["apiGroups"][0].as_str().unwrap().to_owned();
                let operations = rule["operations"].to_string();
                let resources = rule["resources"].as_array().unwrap().iter();
                resources.map(move |resource| format!("{group}/{resource} {operations}"))
            })
            .collect()
    };
    for mode in MODES {
        let spec = yaml(&format!("examples/{mode}.yaml"))["spec"].clone();
        assert_eq!(spec["module"], module);
        let sent = triples(&spec["rules"]);
        assert!(sent.is_subset(&triples(&metadata["rules"])), "{mode}");
        let default = json!(["Pod"]);
        let kinds = spec["settings"].get("kinds").unwrap_or(&default).as_array().unwrap();
        // A resource for each kind, and the way in of debug containers.
        assert_eq!(sent.len(), kinds.len() + 1, "{mode}");
    }
}
