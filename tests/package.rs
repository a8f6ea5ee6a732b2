//! The files around the module agree with it and with each other: metadata.yml, questions-ui.yml,
//! artifacthub-pkg.yml, Cargo.toml.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use image_replicator_policy::{SETTINGS_KEYS, check_settings};
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

#[test]
fn the_form_asks_for_every_setting_and_for_nothing_else() {
    let form = yaml("questions-ui.yml");
    let questions = form["questions"].as_array().unwrap();
    let variables: Vec<_> =
        questions.iter().map(|question| question["variable"].as_str().unwrap()).collect();
    assert_eq!(variables, SETTINGS_KEYS);
}

#[test]
fn every_option_of_the_form_is_valid_and_what_it_requires_is_required() {
    let good = json!({"replicator": "r.example:8443", "target": "t.example/mirror"});
    assert!(is_valid(&good));
    for question in yaml("questions-ui.yml")["questions"].as_array().unwrap() {
        let key = question["variable"].as_str().unwrap();
        if question["type"] == "enum" {
            let options = strings(&question["options"]);
            assert!(options.contains(&question["default"].as_str().unwrap()));
            for option in options {
                let mut settings = good.clone();
                settings[key] = json!(option);
                assert!(is_valid(&settings), "{key}: {option}");
            }
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().shift_remove(key);
        assert_eq!(!is_valid(&without), question["required"] == true, "{key}");
    }
}

#[test]
fn the_readme_tells_every_setting() {
    let readme = text("README.md");
    for key in SETTINGS_KEYS {
        assert!(readme.contains(&format!("| `{key}` |")), "{key}");
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
}
