use proptest::prelude::*;

use super::*;
use crate::reference::tests::any_reference;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn encoded(verb: Verb, namespace: &str, source: &str) -> Result<String, TriggerError> {
    let trigger = Trigger { verb, namespace: namespace.parse()?, source: source.parse()? };
    let path = trigger.encode()?;
    assert_eq!(Trigger::decode(path.repository.as_str(), path.tag.as_str())?, trigger);
    Ok(path.to_string())
}

#[test]
fn each_form_of_a_source_has_its_path() {
    let hex512 = HEX.repeat(2);
    let long = "t".repeat(128);
    for (source, expected) in [
        ("nginx".to_owned(), "v1/start/shop/tag/docker.io/library/nginx:latest".to_owned()),
        ("r.example:5000/a/b:v1".to_owned(), "v1/start/shop/tag/r.example_5000/a/b:v1".to_owned()),
        (
            "[::1]:5000/a:v1".to_owned(),
            "v1/start/shop/tag/ip6__0-0-0-0-0-0-0-1_5000/a:v1".to_owned(),
        ),
        ("MYREG/a:v1".to_owned(), "v1/start/shop/tag/myreg/a:v1".to_owned()),
        (format!("q.io/a@sha256:{HEX}"), format!("v1/start/shop/digest/q.io/a:sha256-{HEX}")),
        (format!("q.io/a:1.2@sha256:{HEX}"), format!("v1/start/shop/both/q.io/a:1.2.sha256-{HEX}")),
        (
            format!("q.io/a:{long}@sha256:{HEX}"),
            format!("v1/start/shop/both-sha256-{HEX}/q.io/a:{long}"),
        ),
        (
            format!("q.io/a@sha512:{hex512}"),
            format!("v1/start/shop/digest-sha512-{hex512}/q.io/a:digest"),
        ),
    ] {
        assert_eq!(encoded(Verb::Start, "shop", &source).unwrap(), expected);
    }
}

#[test]
fn a_tag_that_resembles_a_digest_stays_a_tag() {
    let by_tag = encoded(Verb::Plan, "a", &format!("q.io/a:sha256-{HEX}")).unwrap();
    let by_digest = encoded(Verb::Plan, "a", &format!("q.io/a@sha256:{HEX}")).unwrap();
    assert_ne!(by_tag, by_digest);
}

#[test]
fn a_name_too_long_is_refused_and_named() {
    let image = format!("r.example/{}:1", "a".repeat(240));
    let error = encoded(Verb::Replica, "shop", &image).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&image), "{message}");
    assert!(message.contains("at most 255"), "{message}");
}

#[test]
fn other_paths_are_refused() {
    for (repository, tag, part) in [
        ("v2/start/shop/tag/docker.io/library/nginx", "1", "different releases"),
        ("v1/steal/shop/tag/docker.io/library/nginx", "1", "is not a verb"),
        ("v1/start/Shop/tag/docker.io/library/nginx", "1", "is not a namespace"),
        ("v1/start/shop/tag/docker.io", "1", "is not a trigger"),
        ("v1/start/shop/tags/docker.io/library/nginx", "1", "is not a trigger"),
        // Docker Hub's short name: the codec would have written library/.
        ("v1/start/shop/tag/docker.io/nginx", "1", "is not a trigger"),
        ("v1/start/shop/tag/index.docker.io/library/nginx", "1", "is not a registry"),
        ("v1/start/shop/tag/ip6__0-0-0-0-0-0-0-01/a", "1", "is not a registry"),
        ("v1/start/shop/digest/q.io/a", "latest", "is not a digest"),
        ("v1/start/shop/both/q.io/a", "latest", "is not a trigger"),
        ("v1/start/shop/tag/q.io/a/../b", "1", "is not a repository"),
        ("v1/start/shop/tag/q.io/a", "", "is not a tag"),
        ("", "", "different releases"),
    ] {
        let error = Trigger::decode(repository, tag).unwrap_err().to_string();
        assert!(error.contains(part), "{repository}:{tag}: {error}");
    }
}

#[test]
fn a_digest_moved_to_the_path_without_need_is_refused() {
    let repository = format!("v1/start/shop/digest-sha256-{HEX}/q.io/a");
    assert!(matches!(Trigger::decode(&repository, "digest"), Err(TriggerError::Malformed(_))));
}

fn any_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Plan), Just(Verb::Start), Just(Verb::Replica)]
}

proptest! {
    #[test]
    fn decode_is_the_inverse_of_encode(
        verb in any_verb(),
        namespace in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        source in any_reference(),
    ) {
        let trigger = Trigger { verb, namespace: namespace.parse().unwrap(), source };
        match trigger.encode() {
            Ok(path) => {
                let decoded = Trigger::decode(path.repository.as_str(), path.tag.as_str());
                prop_assert_eq!(decoded.unwrap(), trigger);
            }
            Err(error) => {
                let too_long = matches!(error, TriggerError::TooLong { .. });
                prop_assert!(too_long, "{}", error);
            }
        }
    }

    #[test]
    fn what_decodes_is_what_encode_writes(
        form in "(tag|digest|both|digest-sha256-[0-9a-f]{64}|both-sha256-[0-9a-f]{64})",
        host in "[a-z0-9._-]{1,10}",
        repository in "[a-z0-9/._-]{1,12}",
        tag in "([a-zA-Z0-9._-]{1,8}|([a-z]{1,3}\\.)?sha256-[0-9a-f]{64})",
    ) {
        let path = format!("v1/plan/ns/{form}/{host}/{repository}");
        if let Ok(trigger) = Trigger::decode(&path, &tag) {
            let again = trigger.encode().unwrap();
            prop_assert_eq!(again.to_string(), format!("{}:{}", path, tag));
        }
    }

    #[test]
    fn any_path_is_read_or_refused(repository in "\\PC{0,80}", tag in "\\PC{0,20}") {
        let _ = Trigger::decode(&repository, &tag);
    }
}
