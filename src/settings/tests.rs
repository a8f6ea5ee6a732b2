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
