use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::reference::tests::any_reference;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn root(text: &str, naming: Naming) -> TargetRoot {
    text.parse::<TargetRoot>().unwrap().with_naming(naming)
}

fn replica(root: &TargetRoot, source: &str) -> Replica {
    let source: ImageReference = source.parse().unwrap();
    let replica = root.replica_of(&source).unwrap();
    assert_eq!(root.source_of(&replica.reference), Some(source));
    replica
}

#[test]
fn a_replica_lives_under_host_and_repository() {
    let root = root("registry.corp/mirror", Naming::Nested);
    for (source, expected) in [
        ("nginx:1.27", "registry.corp/mirror/docker.io/library/nginx:1.27"),
        ("r.example:5000/a/b:v1", "registry.corp/mirror/r.example_5000/a/b:v1"),
        ("[::1]/a:v1", "registry.corp/mirror/ip6__0-0-0-0-0-0-0-1/a:v1"),
    ] {
        let replica = replica(&root, source);
        assert_eq!(replica.reference.to_string(), expected);
        assert_eq!(replica.keeper, None);
    }
}

#[test]
fn a_source_by_digest_keeps_it_and_gets_a_keeper() {
    let root = root("registry.corp", Naming::Nested);
    let by_digest = replica(&root, &format!("q.io/a@sha256:{HEX}"));
    assert_eq!(by_digest.reference.to_string(), format!("registry.corp/q.io/a@sha256:{HEX}"));
    assert_eq!(by_digest.keeper.unwrap().as_str(), format!("digest-sha256-{HEX}"));

    let by_both = replica(&root, &format!("q.io/a:v1@sha256:{HEX}"));
    assert_eq!(by_both.reference.to_string(), format!("registry.corp/q.io/a:v1@sha256:{HEX}"));
    assert_eq!(by_both.keeper.unwrap().as_str(), format!("digest-sha256-{HEX}"));

    let hex512 = HEX.repeat(2);
    let long = replica(&root, &format!("q.io/a@sha512:{hex512}"));
    assert_eq!(long.keeper.unwrap().as_str(), &format!("digest-sha512-{hex512}")[..128]);
}

#[test]
fn a_keeper_is_readable_back() {
    let root = root("registry.corp/m", Naming::Nested);
    let kept: ImageReference =
        format!("registry.corp/m/q.io/a:digest-sha256-{HEX}").parse().unwrap();
    assert_eq!(root.source_of(&kept).unwrap().to_string(), format!("q.io/a@sha256:{HEX}"));
}

#[test]
fn a_source_tag_of_the_keepers_form_is_refused() {
    let root = root("registry.corp", Naming::Nested);
    let source = format!("q.io/a:digest-sha256-{HEX}").parse().unwrap();
    assert!(matches!(root.replica_of(&source), Err(NamingError::ReservedTag { .. })));
}

#[test]
fn case_03_two_registries_never_share_a_place() {
    let root = root("registry.corp/m", Naming::Nested);
    assert_ne!(
        replica(&root, "docker.io/x/y:1").reference,
        replica(&root, "other.example/x/y:1").reference
    );
}

#[test]
fn case_04_flat_naming_has_one_component() {
    let root = root("registry.corp/team", Naming::Flat);
    for (source, expected) in [
        ("nginx:1", "registry.corp/team/docker.io--library--nginx:1"),
        ("q.io/a-b/c--d:1", "registry.corp/team/q.io--a-b--c---d:1"),
        ("q.io/a/b--c---d:1", "registry.corp/team/q.io--a--b---c-----d:1"),
    ] {
        assert_eq!(replica(&root, source).reference.to_string(), expected);
    }
}

#[test]
fn a_prefix_counts_by_whole_segments() {
    let root = root("registry.corp/mirror", Naming::Nested);
    let inside = |text: &str| root.contains(&text.parse().unwrap());
    assert!(inside("registry.corp/mirror/docker.io/library/nginx:1"));
    assert!(!inside("registry.corp/mirrors/nginx:1"));
    assert!(!inside("registry.corp/mirror:1"));
    assert!(!inside("registry.corp:443/mirror/nginx:1"));
}

#[test]
fn what_is_nobodys_replica_has_no_source() {
    let root = root("registry.corp/mirror", Naming::Nested);
    for text in [
        "registry.corp/mirror/nginx:1",
        "registry.corp/mirror/docker.io/nginx:1",
        "registry.corp/other/docker.io/library/nginx:1",
        "other.corp/mirror/docker.io/library/nginx:1",
    ] {
        assert_eq!(root.source_of(&text.parse().unwrap()), None, "{text}");
    }
}

#[test]
fn a_path_too_long_is_refused_and_named() {
    let root = root("registry.corp/mirror", Naming::Nested);
    let image = format!("r.example/{}:1", "a".repeat(250));
    let error = root.replica_of(&image.parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains(&image) && error.contains("prefix"), "{error}");
}

fn any_root() -> impl Strategy<Value = TargetRoot> {
    let text = prop_oneof![Just("registry.corp"), Just("registry.corp:5000/mirror/deep")];
    (text, prop_oneof![Just(Naming::Nested), Just(Naming::Flat)])
        .prop_map(|(text, naming)| root(text, naming))
}

proptest! {
    #[test]
    fn a_replica_is_readable_back(root in any_root(), source in any_reference()) {
        if let Ok(replica) = root.replica_of(&source) {
            prop_assert!(root.contains(&replica.reference));
            prop_assert_eq!(root.source_of(&replica.reference), Some(source));
        }
    }

    #[test]
    fn replicas_are_injective(
        root in any_root(),
        sources in proptest::collection::hash_set(any_reference(), 2..40),
    ) {
        let mut seen = HashMap::new();
        for source in sources {
            let Ok(replica) = root.replica_of(&source) else { continue };
            if let Some(other) = seen.insert(replica.reference.clone(), source.clone()) {
                prop_assert!(false, "{} and {} share {}", source, other, replica.reference);
            }
        }
    }

    #[test]
    fn unflatten_is_the_inverse_of_flatten(name in "[a-z]([/-]{0,5}[a-z]){0,6}") {
        prop_assume!(!name.contains("//") && !name.contains("-/") && !name.contains("/-"));
        prop_assert_eq!(unflatten(&flatten(&name)), Some(name));
    }
}

#[test]
fn only_a_replica_of_ours_has_a_repository_that_may_be_cleared() {
    let root: TargetRoot = "registry.corp/mirror".parse().unwrap();
    let of = |target: &str| root.repository_of(&target.parse().unwrap());
    let ours = of("registry.corp/mirror/docker.io/library/nginx:1.27").unwrap();
    assert_eq!(ours.to_string(), "registry.corp/mirror/docker.io/library/nginx");
    for other in [
        "registry.corp/mirror-2/docker.io/library/nginx:1",
        "registry.corp/docker.io/library/nginx:1",
        "registry.corp/mirror/nginx:1",
        "elsewhere.corp/mirror/docker.io/library/nginx:1",
        "docker.io/library/nginx:1",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}
