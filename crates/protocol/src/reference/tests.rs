use proptest::prelude::*;

use super::*;

/// Any canonical reference: every kind of host, of repository, of version.
pub(crate) fn any_reference() -> impl Strategy<Value = ImageReference> {
    (any_registry(), any_repository(), any_version()).prop_map(
        |(registry, repository, (tag, digest))| {
            let at = match (tag, digest) {
                (Some(tag), Some(digest)) => format!(":{tag}@{digest}"),
                (Some(tag), None) => format!(":{tag}"),
                (None, Some(digest)) => format!("@{digest}"),
                (None, None) => String::new(),
            };
            format!("{registry}/{repository}{at}").parse().unwrap()
        },
    )
}

fn any_registry() -> impl Strategy<Value = String> {
    let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,6}[a-zA-Z0-9])?";
    let host = prop_oneof![
        4 => proptest::collection::vec(label, 2..4).prop_map(|labels| labels.join(".")),
        1 => Just("docker.io".to_owned()),
        1 => Just("LocalHost".to_owned()),
        1 => "[A-Z][A-Za-z0-9]{0,8}",
        1 => any::<u128>().prop_map(|bits| format!("[{}]", std::net::Ipv6Addr::from(bits)))
            .prop_filter("no dots in brackets", |host| !host.contains('.')),
        1 => any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(bits).to_string()),
    ];
    (host, proptest::option::weighted(0.4, 1..=u16::MAX)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn any_repository() -> impl Strategy<Value = String> {
    let component = "[a-z0-9]{1,5}((\\.|_|__|-{1,4})[a-z0-9]{1,4}){0,2}";
    proptest::collection::vec(component, 1..4).prop_map(|components| components.join("/"))
}

fn any_version() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    let tag = prop_oneof!["[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", "[a-zA-Z0-9_][a-zA-Z0-9_.-]{127}"];
    let digest = prop_oneof!["sha256:[0-9a-f]{64}", "sha512:[0-9a-f]{128}"];
    (proptest::option::of(tag), proptest::option::of(digest))
}

fn canonical(text: &str) -> String {
    text.parse::<ImageReference>().unwrap().to_string()
}

const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn defaults_are_made_explicit() {
    assert_eq!(canonical("nginx"), "docker.io/library/nginx:latest");
    assert_eq!(canonical("nginx:1.27"), "docker.io/library/nginx:1.27");
    assert_eq!(canonical("bitnami/redis"), "docker.io/bitnami/redis:latest");
    assert_eq!(canonical("quay.io/a/b/c:v1"), "quay.io/a/b/c:v1");
    assert_eq!(canonical(&format!("nginx@{SHA}")), format!("docker.io/library/nginx@{SHA}"));
}

#[test]
fn case_01_tag_and_digest_are_both_kept() {
    let reference: ImageReference = format!("r.example:5000/a/b:v1@{SHA}").parse().unwrap();
    assert_eq!(reference.registry().as_str(), "r.example:5000");
    assert_eq!(reference.repository().as_str(), "a/b");
    assert_eq!(reference.tag().unwrap().as_str(), "v1");
    assert_eq!(reference.digest().unwrap().to_string(), SHA);
}

#[test]
fn case_02_a_port_is_no_tag() {
    for (text, expected) in [
        ("r.example:5050/i", "r.example:5050/i:latest"),
        ("localhost/i", "localhost/i:latest"),
        ("localhost:5000/i:t", "localhost:5000/i:t"),
        ("127.0.0.1:5000/i", "127.0.0.1:5000/i:latest"),
        ("[::1]:5000/i", "[::1]:5000/i:latest"),
        ("i:5000", "docker.io/library/i:5000"),
    ] {
        assert_eq!(canonical(text), expected);
    }
}

#[test]
fn case_06_docker_hub_has_one_name() {
    for text in [
        "nginx",
        "docker.io/nginx",
        "index.docker.io/library/nginx",
        "Docker.IO/nginx",
        "registry-1.docker.io/library/nginx:latest",
    ] {
        assert_eq!(canonical(text), "docker.io/library/nginx:latest", "{text}");
    }
}

#[test]
fn hosts_have_one_spelling() {
    assert_eq!(canonical("Quay.IO/a/b"), "quay.io/a/b:latest");
    assert_eq!(canonical("LOCALHOST/i"), "localhost/i:latest");
    assert_eq!(canonical("MyReg/i"), "MYREG/i:latest");
    assert_eq!(canonical("MyReg:80/i"), "myreg:80/i:latest");
    assert_eq!(canonical("[2001:DB8:0::1]:5000/i"), "[2001:db8::1]:5000/i:latest");
    assert_eq!(canonical("r.example:0443/i"), "r.example:443/i:latest");
}

#[test]
fn what_is_no_reference_is_refused_with_the_part_that_is_wrong() {
    for (text, part) in [
        ("", "is empty"),
        (" nginx", "is not a repository"),
        ("nginx ", "is not a repository"),
        ("nginx:", "is not a tag"),
        ("nginx:.a", "is not a tag"),
        ("a//b", "is not a repository"),
        ("a/../b", "is not a repository"),
        ("r.example/A", "is not a repository"),
        ("r.example/a%2fb", "is not a repository"),
        ("r.example/a_._b", "is not a repository"),
        ("r.example/a___b", "is not a repository"),
        ("r.example:99999/a", "is not a registry"),
        ("r.example:0/a", "is not a registry"),
        ("r.example:/a", "is not a registry"),
        ("-r.example/a", "is not a registry"),
        ("r..example/a", "is not a registry"),
        ("[::1/a", "is not a registry"),
        ("nginx@sha256:abc", "is not a digest"),
        ("nginx@md5:0123", "is not a digest"),
        ("nginx@", "is not a digest"),
        ("ngінх", "is not a repository"),
        ("http://r.example/a", "is not a registry"),
    ] {
        let error = text.parse::<ImageReference>().unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn limits_are_those_of_the_specification() {
    let long = "a".repeat(255);
    assert!(format!("r.example/{long}").parse::<ImageReference>().is_ok());
    assert!(format!("r.example/{long}a").parse::<ImageReference>().is_err());
    let tag = "t".repeat(128);
    assert!(format!("nginx:{tag}").parse::<ImageReference>().is_ok());
    assert!(format!("nginx:{tag}t").parse::<ImageReference>().is_err());
    assert!(matches!(
        "a".repeat(2000).parse::<ImageReference>(),
        Err(ReferenceError::TooLong { length: 2000, .. })
    ));
}

#[test]
fn pinning_keeps_the_tag_and_replaces_the_digest() {
    let digest: Digest = SHA.parse().unwrap();
    let pinned = "nginx:1".parse::<ImageReference>().unwrap().pinned(digest.clone());
    assert_eq!(pinned.to_string(), format!("docker.io/library/nginx:1@{SHA}"));
    assert_eq!(pinned.clone().pinned(digest), pinned);
}

proptest! {
    #[test]
    fn the_canonical_text_is_a_fixed_point(reference in any_reference()) {
        let again: ImageReference = reference.to_string().parse().unwrap();
        prop_assert_eq!(again, reference);
    }

    #[test]
    fn a_registry_is_readable_from_its_path_component(reference in any_reference()) {
        let component = reference.registry().path_component();
        prop_assert!(component.parse::<Repository>().is_ok(), "{} is no component", component);
        prop_assert_eq!(&Registry::from_path_component(&component).unwrap(), reference.registry());
    }

    #[test]
    fn a_path_component_has_one_registry(component in "[a-z0-9._-]{1,12}(_[0-9]{1,5})?") {
        if let Ok(registry) = Registry::from_path_component(&component) {
            prop_assert_eq!(registry.path_component(), component);
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        if let Ok(reference) = text.parse::<ImageReference>() {
            prop_assert_eq!(reference.to_string().parse::<ImageReference>().unwrap(), reference);
        }
    }

    #[test]
    fn text_that_resembles_a_reference_is_parsed_or_refused(text in "[a-zA-Z0-9.:/@_\\[\\]-]{0,40}") {
        if let Ok(reference) = text.parse::<ImageReference>() {
            prop_assert_eq!(reference.to_string().parse::<ImageReference>().unwrap(), reference);
        }
    }
}
