//! Kind and operation: where in the object the pod is, and whether its images are looked at.
//!
//! It must not know images, only the frame around them.

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::request::{Operation, Request};

/// The annotation that marks a pod as the API server's picture of a static pod. The kubelet
/// runs the static pod's own manifest, never this one, and loses sight of it once changed.
const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// The subresource through which debug containers come into a running pod.
const EPHEMERAL_CONTAINERS: &str = "ephemeralcontainers";

/// An object that runs images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// JSON pointer to the pod within the object: what has `metadata` and `spec`.
    pub(crate) pod: &'static str,
}

/// The workload in the request; None where the request passes whatever its images are.
pub(crate) fn find(request: &Request) -> Option<Workload> {
    let is_pod = request.group_and_kind() == (Pod::GROUP, Pod::KIND);
    // Other subresources (status, binding, resize, eviction) cannot change an image.
    let is_looked_at = matches!(request.sub_resource(), "" | EPHEMERAL_CONTAINERS);
    if !is_pod || !is_looked_at || is_mirror(&request.object) {
        return None;
    }
    match request.operation() {
        Operation::Create => Some(Workload { pod: "" }),
        Operation::Update if !is_being_deleted(request) => Some(Workload { pod: "" }),
        Operation::Update | Operation::Other => None,
    }
}

/// A pod of an ordinary user gains nothing by the mark: a kubelet runs no mirror pods.
fn is_mirror(object: &Value) -> bool {
    object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .is_some_and(|annotations| annotations.contains_key(MIRROR_POD))
}

/// The stored object tells, where there is one: on the new one anybody can write the mark.
fn is_being_deleted(request: &Request) -> bool {
    let object = if request.old_object.is_object() { &request.old_object } else { &request.object };
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod_request(operation: &str, more: &Value) -> Request {
        let mut request = json!({
            "operation": operation,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "object": {"metadata": {"name": "p"}},
        });
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn create_and_update_of_pods_are_looked_at() {
        let pod = Some(Workload { pod: "" });
        assert_eq!(find(&pod_request("CREATE", &json!({}))), pod);
        assert_eq!(find(&pod_request("UPDATE", &json!({}))), pod);
        assert_eq!(
            find(&pod_request("UPDATE", &json!({"subResource": "ephemeralcontainers"}))),
            pod
        );
    }

    #[test]
    fn deletes_connects_other_subresources_and_other_kinds_pass() {
        assert_eq!(find(&pod_request("DELETE", &json!({}))), None);
        assert_eq!(find(&pod_request("CONNECT", &json!({"subResource": "exec"}))), None);
        assert_eq!(find(&pod_request("UPDATE", &json!({"subResource": "status"}))), None);
        for kind in [json!({"kind": "Service"}), json!({"group": "example.org", "kind": "Pod"})] {
            assert_eq!(find(&pod_request("CREATE", &json!({"kind": kind}))), None);
        }
    }

    #[test]
    fn case_12_mirror_pods_pass_untouched() {
        let object = json!({"metadata": {"annotations": {MIRROR_POD: "0a1b"}}});
        assert_eq!(find(&pod_request("CREATE", &json!({"object": object}))), None);
    }

    #[test]
    fn an_object_being_deleted_passes_but_nobody_can_claim_to_be_one() {
        let live = json!({"metadata": {"name": "p"}});
        let dying = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let update = |old: &Value, new: &Value| {
            find(&pod_request("UPDATE", &json!({"oldObject": old, "object": new}))).is_some()
        };
        assert!(!update(&dying, &dying));
        assert!(!update(&Value::Null, &dying));
        assert!(update(&live, &dying));
        assert!(find(&pod_request("CREATE", &json!({"object": dying}))).is_some());
    }
}
