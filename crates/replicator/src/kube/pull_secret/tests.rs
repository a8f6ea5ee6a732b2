use registry::Credentials;
use serde_json::json;

use super::*;

/// A Secret with this docker config.
fn secret(name: &str, version: u64, config: &str) -> PullSecret {
    with_data(name, version, &json!({".dockerconfigjson": STANDARD.encode(config)}))
}

fn with_data(name: &str, version: u64, data: &serde_json::Value) -> PullSecret {
    let metadata = json!({
        "name": name,
        "uid": format!("uid-of-{name}"),
        "resourceVersion": version.to_string(),
        "annotations": {"last-applied": "hunter2"},
    });
    serde_json::from_value(json!({"metadata": metadata, "type": "x", "data": data})).unwrap()
}

fn entry(host: &str, user: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"hunter2"}}}}}}"#)
}

async fn user(shelf: &Shelf, registry: &str) -> Option<String> {
    let secrets = shelf.together().secrets;
    let (registry, repository) = (registry.parse().unwrap(), "app".parse().unwrap());
    match secrets.find(&registry, &repository).await.unwrap()? {
        registry::Credential::Basic { user, .. } => Some(user),
        registry::Credential::Identity(_) => None,
    }
}

#[tokio::test]
async fn of_two_entries_for_one_place_that_of_the_first_by_name_counts_and_the_other_is_told() {
    let mut shelf = Shelf::default();
    shelf.put(secret("b", 1, &entry("r.example", "of-b")));
    shelf.put(secret("c", 2, &entry("other.example", "of-c")));
    assert_eq!(user(&shelf, "r.example").await.as_deref(), Some("of-b"));
    shelf.put(secret("a", 3, &entry("r.example", "of-a")));
    assert_eq!(user(&shelf, "r.example").await.as_deref(), Some("of-a"));
    assert_eq!(shelf.together().behind, ["b"]);
    assert!(!shelf.remove(&secret("a", 3, "")));
    assert_eq!(user(&shelf, "r.example").await.as_deref(), Some("of-b"));
    assert_eq!(user(&shelf, "other.example").await.as_deref(), Some("of-c"));
    assert_eq!(user(&shelf, "evil-r.example").await, None);
}

#[tokio::test]
async fn a_broken_secret_is_told_by_name_alone_and_takes_no_other_away() {
    let mut shelf = Shelf::default();
    shelf.put(secret("good", 1, &entry("r.example", "u")));
    let long = "x".repeat(MAX_CONFIG_BYTES + 4);
    for (name, config) in [
        ("json", r#"{"auths":{"r.example":{"password":"hunter2}}}"#),
        ("entry", r#"{"auths":{"https://u:hunter2@r.example/":{"auth":"dTpw"}}}"#),
        ("auth", r#"{"auths":{"r.example":{"auth":"hunter2"}}}"#),
        ("long", &long),
    ] {
        shelf.put(secret(name, 2, config));
    }
    shelf.put(with_data("base64", 2, &json!({".dockerconfigjson": "hunter2!"})));
    shelf.put(with_data("binary", 2, &json!({".dockerconfigjson": STANDARD.encode([0xff, 0xfe])})));
    shelf.put(with_data("empty", 2, &json!({})));
    let Together { unusable, secrets, .. } = shelf.together();
    let told: Vec<_> = unusable.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!(user(&shelf, "r.example").await.as_deref(), Some("u"));
    let shown = format!("{unusable:?} {secrets:?} {:?}", secret("good", 1, "hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn no_program_runs_that_a_secret_names() {
    let mut shelf = Shelf::default();
    let config = r#"{"auths":{"r.example":{"auth":"dTpw"}},"credsStore":"canary",
        "credHelpers":{"h.example":"canary","r.example":"canary"}}"#;
    shelf.put(secret("helpers", 1, config));
    // A helper would be asked, and not be found.
    assert_eq!(user(&shelf, "h.example").await, None);
    assert_eq!(user(&shelf, "r.example").await.as_deref(), Some("u"));
}

#[test]
fn each_change_makes_another_version_and_none_makes_none() {
    let mut shelf = Shelf::default();
    let mut versions = vec![shelf.together().secrets.version()];
    let mut next = |shelf: &Shelf| {
        let version = shelf.together().secrets.version();
        assert!(!versions.contains(&version));
        versions.push(version);
    };
    shelf.put(secret("a", 1, "{}"));
    next(&shelf);
    shelf.put(secret("a", 2, "{}"));
    next(&shelf);
    shelf.put(secret("b", 3, "{}"));
    next(&shelf);
    shelf.remove(&secret("a", 2, "{}"));
    next(&shelf);
    let same = shelf.together().secrets.version();
    shelf.put(secret("b", 3, "{}"));
    assert_eq!(shelf.together().secrets.version(), same);
}

#[tokio::test]
async fn a_namespace_has_a_bounded_number_of_secrets_and_entries() {
    let mut shelf = Shelf::default();
    for number in (0..=MAX_SECRETS + 1).rev() {
        let host = format!("r{number}.example");
        shelf.put(secret(&format!("s{number:03}"), 1, &entry(&host, "u")));
    }
    let Together { unusable, .. } = shelf.together();
    assert_eq!(unusable.into_values().collect::<Vec<_>>(), [Unusable::TooManySecrets]);
    assert!(user(&shelf, "r0.example").await.is_some());
    assert_eq!(user(&shelf, &format!("r{MAX_SECRETS}.example")).await, None);
    assert!(shelf.remove(&secret("s000", 1, "")), "another one may have room now");

    let mut shelf = Shelf::default();
    let auths: serde_json::Map<_, _> = (0..MAX_ENTRIES)
        .map(|number| (format!("r{number}.example"), json!({"auth": "dTpw"})))
        .collect();
    shelf.put(secret("b", 1, &json!({"auths": auths}).to_string()));
    assert!(shelf.together().unusable.is_empty());
    shelf.put(secret("a", 2, &entry("one.example", "u")));
    let Together { unusable, .. } = shelf.together();
    assert_eq!(unusable, BTreeMap::from([("b".to_owned(), Unusable::TooManyEntries)]));
    assert!(user(&shelf, "one.example").await.is_some());
}
