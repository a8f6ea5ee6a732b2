use serde_json::json;

use super::*;

const ALL: [Kind; 9] = [
    Kind::Pod,
    Kind::PodTemplate,
    Kind::ReplicationController,
    Kind::DaemonSet,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::Job,
    Kind::CronJob,
];

fn request(operation: &str, (group, kind): (&str, &str), more: &Value) -> Request {
    let mut request = json!({
        "operation": operation,
        "kind": {"group": group, "version": "v1", "kind": kind},
        "object": {"metadata": {"name": "p"}},
    });
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    serde_json::from_value(request).unwrap()
}

fn find_pod(operation: &str, more: &Value) -> Option<Workload> {
    find(&request(operation, ("", "Pod"), more), &[Kind::Pod])
}

fn pointer(operation: &str, kind: (&str, &str), more: &Value) -> Option<&'static str> {
    find(&request(operation, kind, more), &ALL).map(|workload| workload.pod)
}

#[test]
fn each_kind_has_its_pod_where_kubernetes_has_it() {
    for (group, kind, expected) in [
        ("", "Pod", ""),
        ("", "PodTemplate", "/template"),
        ("", "ReplicationController", "/spec/template"),
        ("apps", "DaemonSet", "/spec/template"),
        ("apps", "Deployment", "/spec/template"),
        ("apps", "ReplicaSet", "/spec/template"),
        ("apps", "StatefulSet", "/spec/template"),
        ("batch", "Job", "/spec/template"),
        ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    ] {
        assert_eq!(pointer("CREATE", (group, kind), &json!({})), Some(expected));
        // Only where asked for, and only the kind of this group.
        let request = |group| request("CREATE", (group, kind), &json!({}));
        assert_eq!(find(&request(group), &[Kind::Pod]).is_some(), kind == "Pod");
        assert_eq!(find(&request("example.org"), &ALL), None);
    }
}

#[test]
fn what_kubernetes_will_not_let_change_is_not_looked_at() {
    assert_eq!(pointer("UPDATE", ("batch", "Job"), &json!({})), None);
    for kind in [("apps", "Deployment"), ("apps", "StatefulSet"), ("batch", "CronJob")] {
        assert!(pointer("UPDATE", kind, &json!({})).is_some());
        for sub_resource in ["status", "scale", "ephemeralcontainers"] {
            assert_eq!(pointer("UPDATE", kind, &json!({"subResource": sub_resource})), None);
        }
    }
}

#[test]
fn a_pod_takes_pull_secrets_when_made_and_a_template_only_in_its_place() {
    let takes = |operation: &str, kind: (&str, &str), kinds: &[Kind]| {
        find(&request(operation, kind, &json!({})), kinds).unwrap().takes_pull_secrets
    };
    assert!(takes("CREATE", ("", "Pod"), &ALL));
    assert!(!takes("UPDATE", ("", "Pod"), &ALL));
    assert!(!takes("CREATE", ("apps", "Deployment"), &ALL));
    assert!(takes("CREATE", ("apps", "Deployment"), &[Kind::Deployment]));
    assert!(takes("UPDATE", ("apps", "Deployment"), &[Kind::Deployment]));
}

#[test]
fn create_and_update_of_pods_are_looked_at() {
    assert!(find_pod("CREATE", &json!({})).is_some());
    assert!(find_pod("UPDATE", &json!({})).is_some());
    assert!(find_pod("UPDATE", &json!({"subResource": "ephemeralcontainers"})).is_some());
}

#[test]
fn deletes_connects_other_subresources_and_other_kinds_pass() {
    assert_eq!(find_pod("DELETE", &json!({})), None);
    assert_eq!(find_pod("CONNECT", &json!({"subResource": "exec"})), None);
    assert_eq!(find_pod("UPDATE", &json!({"subResource": "status"})), None);
    assert_eq!(pointer("CREATE", ("", "Service"), &json!({})), None);
}

#[test]
fn case_12_mirror_pods_pass_untouched() {
    let object = json!({"metadata": {"annotations": {MIRROR_POD: "0a1b"}}});
    assert_eq!(find_pod("CREATE", &json!({"object": object})), None);
    // The mark means something on pods alone.
    assert!(pointer("CREATE", ("apps", "Deployment"), &json!({"object": object})).is_some());
}

#[test]
fn an_object_being_deleted_passes_but_nobody_can_claim_to_be_one() {
    let live = json!({"metadata": {"name": "p"}});
    let dying = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let update = |old: &Value, new: &Value| {
        find_pod("UPDATE", &json!({"oldObject": old, "object": new})).is_some()
    };
    assert!(!update(&dying, &dying));
    assert!(!update(&Value::Null, &dying));
    assert!(update(&live, &dying));
    assert!(find_pod("CREATE", &json!({"object": dying})).is_some());
}

#[test]
fn only_the_word_true_opts_out() {
    let pod = Workload { pod: "/spec/template", takes_pull_secrets: false };
    for (value, expected) in [("true", true), ("false", false), ("", false), ("True", false)] {
        let object = json!({"spec": {"template": {"metadata": {"annotations": {"a.b/c": value}}}}});
        assert_eq!(opts_out(&object, pod, "a.b/c"), expected);
        assert!(!opts_out(&object, pod, "a.b/d"));
    }
    assert!(!opts_out(&json!({"metadata": {"annotations": {"a.b/c": "true"}}}), pod, "a.b/c"));
}
