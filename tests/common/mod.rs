//! What the tests of the whole policy share: a replicator that has every image, and the flow.

use std::sync::OnceLock;
use std::time::Instant;

use image_replicator_policy::{Host, evaluate};
use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;
use protocol::{Receipt, ReplicaState, TargetRoot, Trigger};
use serde_json::{Value, json};

pub(crate) const REPLICATOR: &str = "replicator.test:8443";
pub(crate) const TARGET: &str = "registry.corp/mirror";

/// The digest of everything that is asked for by tag.
const DIGEST: &str = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

/// All kinds that can be rewritten, with the API group and the JSON pointer to the pod of each.
pub(crate) const KINDS: [(&str, &str, &str); 9] = [
    ("", "Pod", ""),
    ("", "PodTemplate", "/template"),
    ("", "ReplicationController", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
];

/// A replicator that has a replica of every image, behind a host that trusts every signature.
pub(crate) struct HasEverything;

impl Host for HasEverything {
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let path = image.strip_prefix(REPLICATOR).and_then(|path| path.strip_prefix('/')).unwrap();
        let (repository, tag) = path.rsplit_once(':').unwrap();
        let source = Trigger::decode(repository, tag).unwrap().source;
        let root: TargetRoot = TARGET.parse().unwrap();
        let target = root.replica_of(&source).map_err(|error| error.to_string())?.reference;
        let state = ReplicaState::Present;
        let digest = source.digest().cloned().or_else(|| DIGEST.parse().ok());
        let receipt = Receipt { source, target, digest, state, progress: None, age_s: None };
        Ok(receipt.to_json().into_bytes())
    }

    fn verify(&self, question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String> {
        let question = serde_json::to_value(question).unwrap();
        let image = question["image"].as_str().unwrap();
        let digest = image.split_once('@').map_or(DIGEST, |(_, digest)| digest);
        Ok(json!({"is_trusted": true, "digest": digest}).to_string().into_bytes())
    }

    fn now(&self) -> Instant {
        still()
    }
}

/// A clock that stands.
pub(crate) fn still() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// The policy's answer to a CREATE of `object`, with more settings; all kinds are rewritten.
pub(crate) fn create_with(more: &Value, kind: &Value, object: &Value) -> Value {
    let kinds: Vec<&str> = KINDS.iter().map(|(_, kind, _)| *kind).collect();
    let mut settings = json!({"replicator": REPLICATOR, "target": TARGET, "kinds": kinds});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let payload = json!({
        "settings": settings,
        "request": {"operation": "CREATE", "namespace": "shop", "kind": kind, "object": object},
    });
    let answer = evaluate(payload.to_string().as_bytes(), &HasEverything);
    serde_json::from_slice(&answer).unwrap()
}

pub(crate) fn create(kind: &Value, object: &Value) -> Value {
    create_with(&json!({}), kind, object)
}

pub(crate) fn create_pod(object: &Value) -> Value {
    create(&json!({"group": "", "version": "v1", "kind": "Pod"}), object)
}
