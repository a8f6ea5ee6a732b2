use protocol::ReplicaState;
use serde_json::json;
use workload::{distinct, places};

use super::*;
use crate::tests::fake::{REPLICATOR, Replicator, TARGET, VERIFIED, receipt};

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
    let inquiries = Questions { host, settings, namespace, dry_run }.ask_all(&images);
    inquiries.into_iter().map(|inquiry| inquiry.finding).collect()
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

#[test]
fn once_the_time_is_up_no_further_image_is_asked_about() {
    let asked_in = |call_takes_ms| {
        let host = Replicator::default().slow(call_takes_ms);
        let more = json!({"budgetMs": 500});
        let findings = ask(&host, &settings(&more), false, &["a", "Bad!", "b", "c", "d"]);
        assert!(matches!(findings[1], Finding::NoReference(_)));
        (host.asked().len(), findings)
    };
    assert_eq!(asked_in(0).0, 4);
    assert_eq!(asked_in(166).0, 4);
    // The last of the time is not spent on one question more.
    assert_eq!(asked_in(250).0, 2);
    assert_eq!(asked_in(249).0, 3);
    // The first question is always put.
    let (asked, findings) = asked_in(3_000);
    assert_eq!(asked, 1);
    let left =
        OutOfTime { took: Duration::from_millis(3_000), asked: 1, all: 5, is_unverified: false };
    assert!(matches!(findings[0], Finding::Receipt(_)));
    assert_eq!(findings[2..], [(); 3].map(|()| Finding::OutOfTime(left.clone())));
}

#[test]
fn an_image_that_must_be_signed_is_neither_looked_at_nor_asked_about_when_the_time_is_up() {
    let rules = json!({"budgetMs": 500, "rules": [
        {"images": "**", "verify": {"githubActions": {"owner": "o"}}}]});
    // One call for the signature, one for the replica: an image that was begun is finished.
    let host = Replicator::default().slow(600);
    let findings = ask(&host, &settings(&rules), false, &["a", "b"]);
    assert!(matches!(findings[0], Finding::Receipt(_)));
    assert!(matches!(&findings[1], Finding::OutOfTime(left) if left.is_unverified));
    assert_eq!((host.verified().len(), host.asked().len()), (1, 1));
}

#[test]
fn a_receipt_of_megabytes_is_not_read() {
    let mut body: serde_json::Value =
        serde_json::from_str(&receipt("nginx", ReplicaState::Present).to_json()).unwrap();
    for n in 0..5 {
        body["annotations"][format!("more-{n}")] = json!("x".repeat(1 << 20));
    }
    let reason =
        unusable(&Replicator::default().raw("nginx", Ok(body.to_string().as_bytes())), "nginx");
    assert!(reason.starts_with("the answer has 52"), "{reason}");
}

#[test]
fn a_rule_can_have_another_mode() {
    let host = Replicator::default();
    let rules = json!({"rules": [{"images": "quay.io/**", "mode": "wait"}]});
    ask(&host, &settings(&rules), false, &["nginx", "quay.io/a:1"]);
    assert_eq!(
        host.asked(),
        ["start shop docker.io/library/nginx:latest", "replica shop quay.io/a:1"]
    );
}

#[test]
fn nothing_is_asked_about_what_rules_skip_or_deny() {
    let host = Replicator::default();
    let rules = json!({"ignoreImages": ["quay.io/own/**"],
        "rules": [{"images": "quay.io/a", "skip": true}, {"images": "quay.io/**", "deny": true}]});
    let images = ["quay.io/own/x:1", "quay.io/a:1", "quay.io/b:1"];
    let findings = ask(&host, &settings(&rules), false, &images);
    assert_eq!(
        findings,
        [
            Finding::LeftAlone(By::IgnoreImages),
            Finding::LeftAlone(By::Rule(1)),
            Finding::NotAllowed(2)
        ]
    );
    assert!(host.asked().is_empty());
}

#[test]
fn a_reference_into_the_target_is_asked_about_where_it_must_be_known() {
    let own = "registry.corp/mirror/docker.io/library/nginx:1";
    let known = settings(&json!({"targetReferences": "known", "mode": "wait"}));
    let mut right = receipt("nginx:1", ReplicaState::Present);
    right.source = own.parse().unwrap();
    let host = Replicator::default().receipt(own, &right);
    assert_eq!(ask(&host, &known, false, &[own]), [Finding::Receipt(right.clone())]);
    assert_eq!(host.asked(), [format!("replica shop {own}")]);

    right.target = "registry.corp/mirror/quay.io/a:1".parse().unwrap();
    let findings = ask(&Replicator::default().receipt(own, &right), &known, false, &[own]);
    assert!(
        matches!(&findings[0], Finding::Unusable(why) if why.contains("in the target already"))
    );
}

#[test]
fn what_was_verified_is_what_is_asked_for() {
    let rules = json!({"rules": [{"images": "**", "verify": {"githubActions": {"owner": "o"}}}]});
    let host = Replicator::default();
    let by_digest = format!("quay.io/a@{DIGEST}");
    ask(&host, &settings(&rules), false, &["nginx:1", &by_digest]);
    assert_eq!(
        host.asked(),
        [
            format!("start shop docker.io/library/nginx:1@{VERIFIED}"),
            format!("start shop {by_digest}")
        ]
    );
    let question = |image: &str| {
        json!({"type": "SigstoreGithubActionsVerify", "image": image, "owner": "o",
            "repo": null, "annotations": null})
    };
    assert_eq!(host.verified(), [question("docker.io/library/nginx:1"), question(&by_digest)]);
}

#[test]
fn unsigned_and_not_looked_at_are_told_apart_and_neither_is_asked_for() {
    let rules = json!({"rules": [{"images": "**", "verify": {"githubActions": {"owner": "o"}}}]});
    let other = format!(r#"{{"is_trusted": true, "digest": "{OTHER}"}}"#);
    let by_digest = format!("a@{DIGEST}");
    let answers = [
        (
            "nginx",
            Err(
                "Host error: Callback evaluation failure: Image verification failed: missing signatures",
            ),
            true,
        ),
        ("nginx", Err("Callback evaluation failure: no signatures found for image: nginx "), true),
        ("nginx", Err("No Signature Layer passed verification"), true),
        ("nginx", Ok(r#"{"is_trusted": false, "digest": ""}"#), true),
        ("nginx", Err("error sending request for url (https://index.docker.io/v2/)"), false),
        (
            "nginx",
            Err("Policy has not been granted access to the 'oci/v2/verify' host capability."),
            false,
        ),
        ("nginx", Ok("garbage"), false),
        ("nginx", Ok(r#"{"is_trusted": true, "digest": "sha256:short"}"#), false),
        (&by_digest, Ok(other.as_str()), false),
    ];
    for (image, answer, is_unsigned) in answers {
        let host = Replicator::default().signature(image, answer);
        let findings = ask(&host, &settings(&rules), false, &[image]);
        assert_eq!(matches!(findings[0], Finding::NotSigned(1, _)), is_unsigned, "{answer:?}");
        assert_eq!(matches!(findings[0], Finding::NotVerified(1, _)), !is_unsigned, "{answer:?}");
        assert!(host.asked().is_empty());
    }
}
