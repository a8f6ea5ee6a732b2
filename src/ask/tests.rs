use protocol::ReplicaState;
use serde_json::json;

use super::*;
use crate::fake::{REPLICATOR, Replicator, TARGET, receipt};
use crate::images::{distinct, places};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn settings(more: &serde_json::Value) -> Settings {
    let mut value = json!({"replicator": REPLICATOR, "target": TARGET});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Settings::read(&value).unwrap()
}

fn ask(host: &impl Host, settings: &Settings, dry_run: bool, images: &[&str]) -> Vec<Finding> {
    let containers: Vec<_> = images.iter().map(|image| json!({"image": image})).collect();
    let images = distinct(places(&json!({"spec": {"containers": containers}}), ""));
    let namespace = "shop".parse().unwrap();
    Questions { host, settings, namespace, dry_run }.ask_all(&images)
}

/// Why the answer to a question about `image` cannot be used.
fn unusable(host: &Replicator, image: &str) -> String {
    match ask(host, &settings(&json!({})), false, &[image]).remove(0) {
        Finding::Unusable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_mode_chooses_the_verb_and_each_image_is_asked_about_once() {
    for (more, dry_run, verb) in [
        (json!({}), false, "start"),
        (json!({"mode": "wait"}), false, "replica"),
        (json!({"mode": "keep"}), false, "replica"),
        (json!({"mode": "rewrite"}), true, "plan"),
        (json!({"mode": "wait"}), true, "plan"),
        (json!({"mode": "keep"}), true, "plan"),
    ] {
        let host = Replicator::default();
        ask(
            &host,
            &settings(&more),
            dry_run,
            &["nginx", "docker.io/nginx:latest", "quay.io/a/b:1"],
        );
        let expected = [
            format!("{verb} shop docker.io/library/nginx:latest"),
            format!("{verb} shop quay.io/a/b:1"),
        ];
        assert_eq!(host.asked(), expected);
    }
}

#[test]
fn nothing_is_asked_about_what_is_no_reference_or_in_the_target() {
    let host = Replicator::default();
    let images = ["registry.corp/mirror/x:1", "Not A Reference", "registry.corp/mirrored/x:1"];
    let findings = ask(&host, &settings(&json!({})), false, &images);
    assert_eq!(findings[0], Finding::InTarget);
    assert!(matches!(findings[1], Finding::NoReference(_)));
    assert!(matches!(findings[2], Finding::Receipt(_)));
    assert_eq!(host.asked(), ["start shop registry.corp/mirrored/x:1"]);
}

#[test]
fn an_image_whose_name_is_too_long_to_ask_about_is_told() {
    let host = Replicator::default();
    let long = format!("quay.io/{}:1", "a".repeat(240));
    let findings = ask(&host, &settings(&json!({})), false, &[&long]);
    assert!(matches!(&findings[0], Finding::Unaskable(reason) if reason.contains(&long)));
    assert!(host.asked().is_empty());
}

#[test]
fn a_receipt_for_another_image_is_not_believed() {
    let host = Replicator::default().receipt("nginx", &receipt("nginx:1", ReplicaState::Present));
    assert_eq!(unusable(&host, "nginx"), "it is about another image, docker.io/library/nginx:1");
}

#[test]
fn a_target_outside_of_the_target_is_not_believed() {
    for target in ["evil.example/nginx:latest", "registry.corp/other/nginx:latest"] {
        let mut receipt = receipt("nginx", ReplicaState::Present);
        receipt.target = target.parse().unwrap();
        let reason = unusable(&Replicator::default().receipt("nginx", &receipt), "nginx");
        assert!(reason.contains("outside"), "{reason}");
    }
}

#[test]
fn another_tag_or_digest_than_asked_for_is_not_believed() {
    let pinned = format!("nginx:1@{DIGEST}");
    for (image, target) in [
        ("nginx:1", "nginx:2".to_owned()),
        ("nginx:1", format!("nginx:1@{DIGEST}")),
        (pinned.as_str(), "nginx:1".to_owned()),
        (pinned.as_str(), format!("nginx:1@{OTHER}")),
        (pinned.as_str(), format!("nginx@{DIGEST}")),
    ] {
        let mut receipt = receipt(image, ReplicaState::Present);
        receipt.target = format!("{TARGET}/docker.io/library/{target}").parse().unwrap();
        let reason = unusable(&Replicator::default().receipt(image, &receipt), image);
        assert!(reason.contains("another tag or digest"), "{reason}");
    }
    let mut receipt = receipt(&pinned, ReplicaState::Present);
    receipt.digest = Some(OTHER.parse().unwrap());
    let reason = unusable(&Replicator::default().receipt(&pinned, &receipt), &pinned);
    assert!(reason.contains("digest"), "{reason}");
}

#[test]
fn garbage_and_other_manifests_are_not_believed() {
    let huge = format!("{{\"annotations\":{{\"a\":\"{}\"}}}}", "x".repeat(5 << 20));
    for body in ["", "null", "[]", "no JSON", "{\"schemaVersion\":2,\"manifests\":[]}", &huge] {
        unusable(&Replicator::default().raw("nginx", Ok(body.as_bytes())), "nginx");
    }
    unusable(&Replicator::default().raw("nginx", Ok(b"\xff\xfe\x00")), "nginx");
}

#[test]
fn a_refusal_for_another_image_is_not_believed_but_a_nameless_one_is() {
    let other = Refusal::new(RefusalCode::Denied, "quay.io/a/b:1", "no");
    let reason = unusable(&Replicator::default().refusal("nginx", &other), "nginx");
    assert_eq!(reason, "it is about another image, quay.io/a/b:1");
    let nameless = Refusal::new(RefusalCode::Malformed, "", "no trigger");
    let host = Replicator::default().refusal("nginx", &nameless);
    let findings = ask(&host, &settings(&json!({})), false, &["nginx"]);
    assert_eq!(findings, [Finding::Refusal(nameless)]);
}

#[test]
fn after_no_answer_the_rest_is_asked_about_only_where_it_can_change_the_verdict() {
    let host = || Replicator::default().raw("a", Err("connection refused"));
    let no_answer = Finding::NoAnswer(Some("connection refused".to_owned()));

    let findings = ask(&host(), &settings(&json!({})), false, &["a", "b", "Bad!", "c"]);
    assert_eq!(findings[0], no_answer);
    assert_eq!(findings[1], Finding::NoAnswer(None));
    assert!(matches!(findings[2], Finding::NoReference(_)));
    assert_eq!(findings[3], Finding::NoAnswer(None));

    let allow = settings(&json!({"onUnavailable": "allow"}));
    let findings = ask(&host(), &allow, false, &["a", "b"]);
    assert_eq!(findings[0], no_answer);
    assert!(matches!(findings[1], Finding::Receipt(_)));
}
