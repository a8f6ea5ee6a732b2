//! Kind, operation and subresource: whether a request's images are looked at, and where.
//!
//! It must not know images, only the frame around them.

use serde_json::Value;
use workload::Kind;

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
    /// Whether pull secrets may, and should, be added to it.
    pub(crate) takes_pull_secrets: bool,
}

/// The workload in the request, if its kind is among `kinds`; None where the request passes
/// whatever its images are.
pub(crate) fn find(request: &Request, kinds: &[Kind]) -> Option<Workload> {
    let (group, name) = request.group_and_kind();
    let kind = Kind::of(group, name).filter(|kind| kinds.contains(kind))?;
    // Other subresources (status, scale, binding, resize, eviction) cannot change an image.
    let is_looked_at = match request.sub_resource() {
        "" => true,
        EPHEMERAL_CONTAINERS => kind == Kind::Pod,
        _ => false,
    };
    if !is_looked_at || kind == Kind::Pod && is_mirror(&request.object) {
        return None;
    }
    let may_change = match request.operation() {
        Operation::Create => true,
        // A Job's template is what it was made with; a change is the API server's to refuse.
        Operation::Update => kind != Kind::Job && !is_being_deleted(request),
        Operation::Other => false,
    };
    may_change.then(|| Workload {
        pod: kind.pod(),
        takes_pull_secrets: takes_pull_secrets(kind, request.operation(), kinds),
    })
}

/// A pod's pull secrets are fixed once it is made. A template is given none as long as the pods
/// made from it come by here: one that has pull secrets gets no more those of its ServiceAccount.
fn takes_pull_secrets(kind: Kind, operation: Operation, kinds: &[Kind]) -> bool {
    match kind {
        Kind::Pod => operation == Operation::Create,
        _ => !kinds.contains(&Kind::Pod),
    }
}

/// Whether the pod carries the annotation `name` with the value `true`.
pub(crate) fn opts_out(object: &Value, workload: Workload, name: &str) -> bool {
    object
        .pointer(workload.pod)
        .and_then(|pod| pod.get("metadata")?.get("annotations")?.get(name))
        .is_some_and(|value| value == "true")
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
mod tests;
