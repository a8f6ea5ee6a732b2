//! What the tests of the whole policy share: a replicator that has every image, and the flow.

use image_replicator_policy::{Host, evaluate};
use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;
use protocol::{Receipt, ReplicaState, TargetRoot, Trigger};
use serde_json::{Value, json};

pub(crate) const REPLICATOR: &str = "replicator.test:8443";
pub(crate) const TARGET: &str = "registry.corp/mirror";

/// A replicator that has a replica of every image.
pub(crate) struct HasEverything;

impl Host for HasEverything {
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let path = image.strip_prefix(REPLICATOR).and_then(|path| path.strip_prefix('/')).unwrap();
        let (repository, tag) = path.rsplit_once(':').unwrap();
        let source = Trigger::decode(repository, tag).unwrap().source;
        let root: TargetRoot = TARGET.parse().unwrap();
        let target = root.replica_of(&source).map_err(|error| error.to_string())?.reference;
        let state = ReplicaState::Present;
        let receipt = Receipt { source, target, digest: None, state, progress: None, age_s: None };
        Ok(receipt.to_json().into_bytes())
    }

    /// Nothing is signed.
    fn verify(&self, _question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String> {
        Err("no signatures found for image".to_owned())
    }
}

/// The policy's answer to a CREATE of `object`; all kinds are rewritten.
pub(crate) fn create(kind: &Value, object: &Value) -> Value {
    let kinds = [
        "Pod",
        "PodTemplate",
        "ReplicationController",
        "DaemonSet",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "Job",
        "CronJob",
    ];
    let payload = json!({
        "settings": {"replicator": REPLICATOR, "target": TARGET, "kinds": kinds},
        "request": {"operation": "CREATE", "namespace": "shop", "kind": kind, "object": object},
    });
    let answer = evaluate(payload.to_string().as_bytes(), &HasEverything);
    serde_json::from_slice(&answer).unwrap()
}

pub(crate) fn create_pod(object: &Value) -> Value {
    create(&json!({"group": "", "version": "v1", "kind": "Pod"}), object)
}
