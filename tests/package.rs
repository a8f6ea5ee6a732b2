//! The files around the module agree with it and with each other: metadata.yml, questions-ui.yml,
//! artifacthub-pkg.yml, Cargo.toml.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use image_replicator_policy::check_settings;
use image_replicator_policy::keys::{Key, RULE, SETTINGS, VERIFY};
use serde_json::{Value, json};

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&text(name)).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn is_valid(settings: &Value) -> bool {
    let answer = check_settings(settings.to_string().as_bytes());
    serde_json::from_slice::<Value>(&answer).unwrap()["valid"].as_bool().unwrap()
}

/// What a key stands for where it is left out.
fn default_of(key: &Key) -> Value {
    key.default.map_or(Value::Null, |text| serde_yaml::from_str(text).unwrap())
}

fn good_settings() -> Value {
    json!({"replicator": "r.example:8443", "target": "t.example/mirror"})
}

#[test]
fn the_form_asks_for_every_setting_in_the_words_of_the_table() {
    let form = yaml("questions-ui.yml");
    let questions = form["questions"].as_array().unwrap();
    assert_eq!(questions.len(), SETTINGS.len());
    for (question, key) in questions.iter().zip(&SETTINGS) {
        assert_eq!(question["variable"], key.key);
        assert_eq!(question["description"], key.meaning, "{}", key.key);
        assert_eq!(question["required"], key.default.is_none(), "{}", key.key);
        let default = if key.default.is_some() { default_of(key) } else { json!("") };
        assert_eq!(question["default"], default, "{}", key.key);
    }
    // A form has no place for what is nested in `verify`: it is written as YAML.
    let rules = questions.iter().find(|question| question["variable"] == "rules").unwrap();
    let inner = rules["sequence_questions"].as_array().unwrap();
    let asked: Vec<_> =
        inner.iter().map(|question| question["variable"].as_str().unwrap()).collect();
    let known: Vec<_> = RULE.iter().map(|key| key.key).filter(|key| *key != "verify").collect();
    assert_eq!(asked, known);
}

#[test]
fn every_option_and_default_is_valid_and_what_is_required_is_required() {
    let good = good_settings();
    assert!(is_valid(&good));
    for question in yaml("questions-ui.yml")["questions"].as_array().unwrap() {
        let key = question["variable"].as_str().unwrap();
        let is_required = question["required"] == true;
        let mut values: Vec<Value> = question["options"].as_array().cloned().unwrap_or_default();
        values.extend((!is_required).then(|| question["default"].clone()));
        values.extend(["min", "max"].iter().filter_map(|end| question.get(end).cloned()));
        for value in values {
            let mut settings = good.clone();
            settings[key] = value;
            assert!(is_valid(&settings), "{key}: {}", settings[key]);
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().shift_remove(key);
        assert_eq!(!is_valid(&without), is_required, "{key}");
    }
}

#[test]
fn an_error_says_what_the_table_says() {
    for key in SETTINGS.iter().filter(|key| key.default.is_none()) {
        let mut settings = good_settings();
        settings.as_object_mut().unwrap().shift_remove(key.key);
        let answer = check_settings(settings.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let error = format!("`{}` is missing: {}", key.key, key.meaning);
        assert_eq!(answer["message"], error);
    }
}

#[test]
fn the_readme_has_the_tables_of_keys() {
    let readme = text("README.md");
    for (of, table) in [("setting", &SETTINGS[..]), ("rule", &RULE), ("`verify`", &VERIFY)] {
        let mut lines =
            format!("| {of} | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in table {
            let default = match key.default {
                None => "required".to_owned(),
                Some(word) if word.contains(' ') && !word.starts_with('[') => word.to_owned(),
                Some("none") => "none".to_owned(),
                Some(yaml) => format!("`{yaml}`"),
            };
            lines += &format!("| `{}` | {} | {default} | {} |\n", key.key, key.form, key.meaning);
        }
        assert!(readme.contains(&lines), "README.md lacks this table:\n{lines}");
    }
}

#[test]
fn the_settings_of_the_readme_are_valid() {
    let readme = text("README.md");
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let settings: Vec<Value> = blocks
        .map(|block| serde_yaml::from_str(block).unwrap())
        .filter(|value: &Value| value.get("replicator").is_some())
        .collect();
    assert!(!settings.is_empty());
    for settings in settings {
        assert!(is_valid(&settings), "{settings}");
    }
}

#[test]
fn the_metadata_say_what_the_module_does() {
    let metadata = yaml("metadata.yml");
    assert_eq!(metadata["mutating"], true);
    assert_eq!(metadata["backgroundAudit"], false);
    assert_eq!(metadata["executionMode"], "kubewarden-wapc");
    assert_eq!(metadata["policyType"], "kubernetes");
    assert_eq!(metadata["contextAwareResources"], json!([]));
    let annotations = metadata["annotations"].as_object().unwrap();
    assert_eq!(annotations["io.kubewarden.policy.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(annotations["io.kubewarden.policy.license"], env!("CARGO_PKG_LICENSE"));
    assert_eq!(annotations["io.kubewarden.policy.source"], env!("CARGO_PKG_REPOSITORY"));
    assert!(annotations.values().all(Value::is_string));
}

#[test]
fn the_capabilities_are_those_that_the_sources_call() {
    let metadata = yaml("metadata.yml");
    let named: BTreeSet<_> = strings(&metadata["hostCapabilities"]).into_iter().collect();
    // In the one place where a host can be called.
    let source = text("src/lib.rs");
    let called: BTreeSet<String> = source
        .split("host_call(\"")
        .skip(1)
        .filter_map(|call| {
            let mut words = call.split('"');
            let (namespace, operation) = (words.next()?, words.nth(1)?);
            Some(format!("{namespace}/{operation}"))
        })
        .filter(|capability| !capability.starts_with("kubewarden/"))
        .collect();
    assert_eq!(named, called.iter().map(String::as_str).collect());
}

#[test]
fn artifact_hub_is_told_what_the_metadata_say() {
    let metadata = yaml("metadata.yml");
    let package = yaml("artifacthub-pkg.yml");
    let annotation = |key: &str| metadata["annotations"][key].as_str().unwrap();
    let policy = |key: &str| annotation(&format!("io.kubewarden.policy.{key}"));

    let version = policy("version");
    let source = policy("source");
    let image = format!("{}:v{version}", policy("ociUrl"));
    assert_eq!(package["version"], version);
    assert_eq!(package["name"], policy("title"));
    assert_eq!(package["displayName"], annotation("io.artifacthub.displayName"));
    assert_eq!(package["description"], policy("description"));
    assert_eq!(package["license"], policy("license"));
    assert_eq!(package["homeURL"], policy("url"));
    assert_eq!(package["containersImages"], json!([{"name": "policy", "image": image}]));
    let keywords: Vec<_> =
        annotation("io.artifacthub.keywords").split(',').map(str::trim).collect();
    assert_eq!(strings(&package["keywords"]), keywords);
    assert_eq!(
        package["links"],
        json!([
            {"name": "policy", "url": format!("{source}/releases/download/v{version}/policy.wasm")},
            {"name": "source", "url": source},
        ])
    );
    let install = package["install"].as_str().unwrap();
    assert!(install.contains(&format!("kwctl pull {image}\n")));
    assert!(install.contains(&format!("registry://{image}\n")));
    let (name, email) = policy("author").split_once(" <").unwrap();
    let email = email.strip_suffix('>').unwrap();
    assert_eq!(package["maintainers"], json!([{"name": name, "email": email}]));

    let annotations = &package["annotations"];
    assert_eq!(annotations["kubewarden/mutation"], metadata["mutating"].to_string());
    assert_eq!(annotations["kubewarden/resources"], annotation("io.artifacthub.resources"));
    let rules: Value =
        serde_yaml::from_str(annotations["kubewarden/rules"].as_str().unwrap()).unwrap();
    assert_eq!(rules, metadata["rules"]);
    let form: Value =
        serde_yaml::from_str(annotations["kubewarden/questions-ui"].as_str().unwrap()).unwrap();
    assert_eq!(form, yaml("questions-ui.yml"));
}

#[test]
fn the_rules_send_every_kind_that_can_be_rewritten() {
    let metadata = yaml("metadata.yml");
    let kinds = SETTINGS.iter().find(|key| key.key == "kinds").unwrap().meaning;
    let sent: BTreeSet<&str> = metadata["rules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|rule| strings(&rule["resources"]))
        .filter(|resource| !resource.contains('/'))
        .collect();
    let named: BTreeSet<String> = kinds
        .split('`')
        .filter(|word| word.chars().all(char::is_alphanumeric) && !word.is_empty())
        .map(|kind| format!("{}s", kind.to_lowercase()))
        .collect();
    assert_eq!(sent, named.iter().map(String::as_str).collect());
    // And the settings take all of them.
    let mut settings = good_settings();
    settings["kinds"] = kinds.split('`').skip(1).step_by(2).map(Value::from).collect();
    assert!(is_valid(&settings), "{settings}");
}

#[test]
fn the_lock_is_of_this_version() {
    let lock: Value = serde_json::from_str(&text("policy.wasm.lock")).unwrap();
    assert_eq!(lock["version"], env!("CARGO_PKG_VERSION"));
    let size = lock["size_bytes"].as_u64().unwrap();
    assert!(size <= 600 * 1024, "the module has {size} bytes, 600 KiB are the limit");
    // What people are told to fetch is what the lock is of.
    let package = yaml("artifacthub-pkg.yml");
    assert_eq!(package["digest"], lock["sha256"]);
}
