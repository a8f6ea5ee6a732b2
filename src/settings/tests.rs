use insta::assert_snapshot;
use serde_json::json;

use super::*;

fn error(value: &Value) -> String {
    Settings::read(value).unwrap_err()
}

fn with(key: &str, value: &Value) -> Value {
    let mut settings = json!({"replicator": "r.example:8443", "target": "t.example/mirror"});
    settings[key] = value.clone();
    settings
}

#[test]
fn two_keys_are_enough() {
    let settings = Settings::read(&with("mode", &Value::Null)).unwrap();
    assert_eq!(settings.replicator.as_str(), "r.example:8443");
    assert_eq!(settings.target.to_string(), "t.example/mirror");
    assert_eq!(settings.mode, Mode::Rewrite);
    assert_eq!(settings.on_unavailable, OnUnavailable::Deny);
    assert_eq!(settings.budget, Duration::from_millis(800));
    assert!(!settings.pin);
    assert_eq!(settings.kinds, [Kind::Pod]);
    assert_eq!(settings.ignore_namespaces, IGNORED_NAMESPACES);
    assert_eq!(settings.target_references, TargetReferences::Allow);
    assert_eq!(settings.opt_out_annotation, None);
    assert!(settings.rules.is_empty() && settings.ignore_images.is_empty());
    assert!(settings.image_pull_secrets.is_empty());
}

#[test]
fn each_word_of_a_choice_is_read() {
    for (word, mode) in [("rewrite", Mode::Rewrite), ("wait", Mode::Wait), ("keep", Mode::Keep)] {
        assert_eq!(Settings::read(&with("mode", &json!(word))).unwrap().mode, mode);
    }
    for (word, on_unavailable) in [("deny", OnUnavailable::Deny), ("allow", OnUnavailable::Allow)] {
        let settings = Settings::read(&with("onUnavailable", &json!(word))).unwrap();
        assert_eq!(settings.on_unavailable, on_unavailable);
    }
}

#[test]
fn addresses_of_all_kinds_are_read() {
    for replicator in ["r.example", "localhost:5000", "127.0.0.1:8443", "[::1]:8443", "r:8443"] {
        Settings::read(&with("replicator", &json!(replicator))).unwrap();
    }
    for target in ["t.example", "localhost:5000", "t.example:5000/a/b", "[::1]:5000/x"] {
        Settings::read(&with("target", &json!(target))).unwrap();
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let settings = json!({
        "replicater": "r.example:8443", "target": 5, "mode": "waite", "onUnavailable": "ignore",
        "colour": true,
    });
    assert_snapshot!(error(&settings).replace("; ", ";\n"));
}

#[test]
fn each_wrong_address_is_told_with_what_is_right() {
    let wrong = [
        ("replicator", json!("https://r.example:8443")),
        ("replicator", json!("r.example:8443/v2")),
        ("replicator", json!("replicator")),
        ("replicator", json!("R.Example:8443")),
        ("replicator", json!("r.example:99999")),
        ("replicator", json!("")),
        ("replicator", json!("t.example")),
        ("replicator", json!(["r.example"])),
        ("target", json!("https://t.example")),
        ("target", json!("t.example/Upper")),
        ("target", json!("t.example/")),
        ("target", json!("mirror")),
        ("target", Value::Null),
    ];
    let errors: Vec<_> = wrong
        .iter()
        .map(|(key, value)| format!("{key} {value}\n    {}", error(&with(key, value))))
        .collect();
    assert_snapshot!(errors.join("\n"));
}

#[test]
fn what_is_no_object_is_told() {
    for value in [json!("x"), json!([]), json!(1), json!(true)] {
        assert!(error(&value).starts_with("the settings are "));
    }
    assert!(error(&Value::Null).starts_with("`replicator` is missing"));
}

#[test]
fn an_operators_own_text_is_repeated_within_bounds() {
    let long = "x".repeat(1 << 20);
    assert!(error(&with("target", &json!(long))).len() < 2_000);
    assert!(error(&with("mode", &json!(long))).len() < 2_000);
    assert!(error(&with(&long, &json!(1))).len() < 2_000);
}

#[test]
fn every_key_is_read() {
    let settings = json!({
        "replicator": "r.example:8443", "target": "t.example/mirror", "pin": true,
        "kinds": ["Pod", "CronJob"], "ignoreImages": ["quay.io/team/**"],
        "ignoreNamespaces": ["a", "b"], "imagePullSecrets": ["pull.secret"],
        "targetReferences": "known", "optOutAnnotation": "example.com/opt-out",
        "rules": [{"images": "**", "mode": "keep"}], "budgetMs": 3000,
    });
    let settings = Settings::read(&settings).unwrap();
    assert!(settings.pin);
    assert_eq!(settings.budget, Duration::from_secs(3));
    assert_eq!(settings.kinds, [Kind::Pod, Kind::CronJob]);
    assert_eq!(settings.ignore_images[0].to_string(), "quay.io/team/**");
    assert_eq!(settings.ignore_namespaces, ["a", "b"]);
    assert_eq!(settings.image_pull_secrets, ["pull.secret"]);
    assert_eq!(settings.target_references, TargetReferences::Known);
    assert_eq!(settings.opt_out_annotation.as_deref(), Some("example.com/opt-out"));
    assert_eq!(settings.rules[0].number, 1);
}

#[test]
fn what_a_form_leaves_empty_is_as_good_as_left_out() {
    let empty = json!({
        "replicator": "r.example:8443", "target": "t.example", "kinds": null, "rules": [],
        "ignoreImages": [], "imagePullSecrets": [], "optOutAnnotation": "",
    });
    let settings = Settings::read(&empty).unwrap();
    assert_eq!(settings.kinds, [Kind::Pod]);
    assert_eq!(settings.opt_out_annotation, None);
    // But no namespace is ignored where the list says so.
    let none = Settings::read(&with("ignoreNamespaces", &json!([]))).unwrap();
    assert!(none.ignore_namespaces.is_empty());
}

/// The question to the host that a rule's `verify` amounts to.
fn question(verify: &Value) -> Value {
    let rules = json!([{"images": "**", "verify": verify}]);
    let settings = Settings::read(&with("rules", &rules)).unwrap();
    let Action::Replicate { verify: Some(verify), .. } = &settings.rules[0].action else {
        panic!("no verification");
    };
    serde_json::to_value(verify.question(&"nginx:1".parse().unwrap())).unwrap()
}

const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[test]
fn each_signer_becomes_the_sdks_question() {
    let image = "docker.io/library/nginx:1";
    assert_eq!(
        question(&json!({"publicKeys": [KEY], "annotations": {"env": "prod"}})),
        json!({"type": "SigstorePubKeyVerify", "image": image, "pub_keys": [KEY],
            "annotations": {"env": "prod"}})
    );
    let issuer = "https://accounts.example";
    assert_eq!(
        question(&json!({"keyless": [{"issuer": issuer, "subject": "a@b.example"}]})),
        json!({"type": "SigstoreKeylessVerify", "image": image, "annotations": null,
            "keyless": [{"issuer": issuer, "subject": "a@b.example"}]})
    );
    assert_eq!(
        question(&json!({"keylessPrefix": [{"issuer": issuer, "urlPrefix": "https://b/c"}]})),
        json!({"type": "SigstoreKeylessPrefixVerify", "image": image, "annotations": null,
            "keyless_prefix": [{"issuer": issuer, "url_prefix": "https://b/c"}]})
    );
    assert_eq!(
        question(&json!({"githubActions": {"owner": "o", "repo": "r"}})),
        json!({"type": "SigstoreGithubActionsVerify", "image": image, "owner": "o", "repo": "r",
            "annotations": null})
    );
    assert_eq!(
        question(&json!({"certificate": {"pem": CERTIFICATE, "chain": [CERTIFICATE]}})),
        json!({"type": "SigstoreCertificateVerify", "image": image,
            "certificate": CERTIFICATE.as_bytes(), "certificate_chain": [CERTIFICATE.as_bytes()],
            "require_rekor_bundle": true, "annotations": null})
    );
}

#[test]
fn each_wrong_value_is_told_with_its_place_and_what_is_right() {
    let signed = |verify: Value| json!([{"images": "**", "verify": verify}]);
    let wrong = [
        ("pin", json!("yes")),
        ("budgetMs", json!(99)),
        ("budgetMs", json!(29_001)),
        ("budgetMs", json!(-1)),
        ("budgetMs", json!(800.5)),
        ("budgetMs", json!("800")),
        ("budget_ms", json!(800)),
        ("kinds", json!(["Pods"])),
        ("kinds", json!("Pod")),
        ("ignoreImages", json!(["nginx"])),
        ("ignoreImages", json!(["*.example.com/a", 5])),
        ("ignoreNamespaces", json!(["Kube_System"])),
        ("imagePullSecrets", json!([{"name": "pull"}])),
        ("imagePullSecrets", json!(["Pull"])),
        ("targetReferences", json!("know")),
        ("optOutAnnotation", json!(true)),
        ("optOutAnnotation", json!("true")),
        ("opt_out_annotation", json!("a/b")),
        ("rules", json!({"images": "**"})),
        ("rules", json!(["**"])),
        ("rules", json!([{"images": []}])),
        ("rules", json!([{"images": "**"}, {"image": "**", "denied": true}])),
        ("rules", json!([{"images": ["nginx", "quay.io/A"], "mode": "waiting"}])),
        ("rules", json!([{"images": "**", "skip": true, "deny": true}])),
        ("rules", json!([{"images": "**", "deny": true, "mode": "wait"}])),
        ("rules", signed(json!("yes"))),
        ("rules", signed(json!({}))),
        ("rules", signed(json!({"publicKeys": []}))),
        ("rules", signed(json!({"publicKeys": ["cosign.pub"]}))),
        ("rules", signed(json!({"publicKeys": [KEY], "keyless": []}))),
        ("rules", signed(json!({"keyless": [{"issuer": "https://a"}]}))),
        ("rules", signed(json!({"keylessPrefix": [{"issuer": "", "subject": "x"}]}))),
        ("rules", signed(json!({"githubActions": {"repo": "r"}}))),
        ("rules", signed(json!({"certificate": {"pem": "x", "rekor": true}}))),
        ("rules", signed(json!({"publicKeys": [KEY], "annotations": {"a": 1}}))),
    ];
    let errors: Vec<_> = wrong
        .iter()
        .map(|(key, value)| {
            let value_text = value.to_string().replace("\\n", " ");
            format!("{key} {value_text}\n    {}", error(&with(key, value)))
        })
        .collect();
    assert_snapshot!(errors.join("\n"));
}

#[test]
fn the_table_has_the_range_and_the_default_of_the_budget() {
    let key = SETTINGS.iter().find(|key| key.key == "budgetMs").unwrap();
    let (least, most) = BUDGET_MS.into_inner();
    assert_eq!(key.form, format!("milliseconds, from {least} to {most}"));
    assert_eq!(key.default, Some(DEFAULT_BUDGET_MS.to_string().as_str()));
    for budget_ms in [least, most] {
        Settings::read(&with("budgetMs", &json!(budget_ms))).unwrap();
    }
}

#[test]
fn many_errors_are_counted_beyond_a_few() {
    let images: Vec<String> = (0..1_000).map(|n| format!("i{n}")).collect();
    let text = error(&with("ignoreImages", &json!(images)));
    assert!(text.len() < 20_000 && text.ends_with("and 980 more"), "{text}");
}
