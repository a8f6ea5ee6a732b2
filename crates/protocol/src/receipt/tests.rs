use proptest::prelude::*;

use super::*;
use crate::reference::tests::any_reference;

fn sample() -> Receipt {
    Receipt {
        source: "nginx:1.27".parse().unwrap(),
        target: "registry.corp/mirror/docker.io/library/nginx:1.27".parse().unwrap(),
        digest: Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
        state: ReplicaState::Copying,
        progress: Some(Progress {
            layers_done: 2,
            layers_total: 5,
            bytes_done: 43,
            bytes_total: 100,
        }),
        age_s: Some(7),
    }
}

#[test]
fn the_wire_form_is_what_it_was() {
    insta::assert_snapshot!(sample().to_json());
}

#[test]
fn a_host_may_add_nulls_and_a_later_release_fields() {
    let mut value: serde_json::Value = serde_json::from_str(&sample().to_json()).unwrap();
    value["subject"] = serde_json::Value::Null;
    value["annotations"]["io.image-replicator.of-a-later-release"] = "x".into();
    assert_eq!(Receipt::from_json(value.to_string().as_bytes()), Ok(sample()));
}

#[test]
fn what_is_no_receipt_is_refused_with_the_reason() {
    let with = |pointer: &str, new: serde_json::Value| {
        let mut value: serde_json::Value = serde_json::from_str(&sample().to_json()).unwrap();
        *value.pointer_mut(pointer).unwrap() = new;
        Receipt::from_json(value.to_string().as_bytes()).unwrap_err().to_string()
    };
    let annotation = |key: &str, new: &str| with(&format!("/annotations/{key}"), new.into());
    assert!(with("/artifactType", "application/x".into()).contains("some other registry"));
    assert!(annotation(KEY_VERSION, "2").contains("different releases"));
    assert!(annotation(KEY_SOURCE, "A b").contains(KEY_SOURCE));
    assert!(annotation(KEY_TARGET, "").contains(KEY_TARGET));
    assert!(annotation(KEY_DIGEST, "sha256:1").contains(KEY_DIGEST));
    assert!(annotation(KEY_STATE, "gone").contains(KEY_STATE));
    assert!(annotation(KEY_PROGRESS, "{}").contains(KEY_PROGRESS));
    assert!(annotation(KEY_AGE, "-1").contains(KEY_AGE));
    assert!(
        with("/annotations", serde_json::json!({})).contains("lacks io.image-replicator.version")
    );
    assert!(Receipt::from_json(b"<html>").unwrap_err().to_string().contains("not the JSON"));
    let huge = vec![b' '; MAX_RECEIPT_BYTES + 1];
    assert_eq!(Receipt::from_json(&huge), Err(ReceiptError::TooLarge { bytes: huge.len() }));
}

proptest! {
    #[test]
    fn a_receipt_survives_the_wire(
        source in any_reference(),
        target in any_reference(),
        state in prop_oneof![
            Just(ReplicaState::Planned), Just(ReplicaState::Copying),
            Just(ReplicaState::Present), Just(ReplicaState::Stale)
        ],
        progress in proptest::option::of(any::<[u64; 4]>()),
        age_s in any::<Option<u64>>(),
    ) {
        let progress = progress.map(|[layers_done, layers_total, bytes_done, bytes_total]| {
            Progress { layers_done, layers_total, bytes_done, bytes_total }
        });
        let digest = source.digest().cloned();
        let receipt = Receipt { source, target, digest, state, progress, age_s };
        let json = receipt.to_json();
        prop_assert!(json.len() < MAX_RECEIPT_BYTES);
        prop_assert_eq!(Receipt::from_json(json.as_bytes()), Ok(receipt));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Receipt::from_json(&bytes);
    }
}
