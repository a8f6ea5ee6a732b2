use proptest::prelude::*;

use super::*;
use crate::reference::tests::any_reference;

const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn matches(pattern: &str, image: &str) -> bool {
    let pattern: ImagePattern = pattern.parse().unwrap();
    pattern.matches(&image.parse().unwrap())
}

#[test]
fn hosts_are_exact_and_segments_whole() {
    for (pattern, image, expected) in [
        ("docker.io/library/nginx", "nginx:1.27", true),
        ("docker.io/library/nginx", "nginx2:1.27", false),
        ("docker.io/library/nginx", "evil.io/docker.io/library/nginx", false),
        ("docker.io/library/nginx", "docker.io.evil.example/library/nginx", false),
        ("docker.io/nginx", "nginx", true),
        ("index.docker.io/nginx", "nginx", true),
        ("docker.io/*", "nginx", true),
        ("docker.io/*", "bitnami/redis", false),
        ("docker.io/**", "bitnami/redis", true),
        ("Quay.IO/a", "quay.io/a:1", true),
        ("quay.io/team/*", "quay.io/team/a", true),
        ("quay.io/team/*", "quay.io/team/a/b", false),
        ("quay.io/team/*", "quay.io/teams/a", false),
        ("quay.io/team/**", "quay.io/team/a/b", true),
        ("quay.io/team/**", "quay.io/team", false),
        ("quay.io/team*", "quay.io/teams", true),
        ("quay.io/*-dev/x", "quay.io/a-dev/x", true),
        ("quay.io/*-dev/x", "quay.io/a/b-dev/x", false),
        ("quay.io/**/x", "quay.io/a/b/x", true),
        ("quay.io/**/x", "quay.io/x", false),
        ("quay.io/**/a/**/b", "quay.io/1/a/2/a/3/b", true),
        ("quay.io/**/a/**/b", "quay.io/1/a/b", false),
        ("r.example:5000/a", "r.example:5000/a", true),
        ("r.example:5000/a", "r.example/a", false),
        ("*/library/nginx", "nginx", true),
        ("*/**", "r.example:5000/a/b", true),
        ("**", "[::1]:5000/a", true),
    ] {
        assert_eq!(matches(pattern, image), expected, "{pattern} {image}");
    }
}

#[test]
fn tag_and_digest_count_only_where_written() {
    let both = format!("q.io/a:v1@{SHA}");
    let digest = format!("q.io/a@{SHA}");
    for (pattern, image, expected) in [
        ("q.io/a:v*", "q.io/a:v1.2", true),
        ("q.io/a:v*", "q.io/a:1", false),
        ("q.io/a:*", "q.io/a", true),
        ("q.io/a:*", &digest, false),
        ("q.io/a:v1", &both, true),
        ("q.io/a@*", "q.io/a:v1", false),
        ("q.io/a@*", &both, true),
        (&digest, &both, true),
        (&digest, "q.io/a:v1", false),
        ("q.io/a", &both, true),
    ] {
        assert_eq!(matches(pattern, image), expected, "{pattern} {image}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "has no host"),
        ("nginx", "has no host"),
        ("bitnami/redis", "has no host"),
        ("*.example.com/a", "within the host"),
        ("quay.io/", "not a path segment"),
        ("quay.io//a", "not a path segment"),
        ("quay.io/a**", "not a path segment"),
        ("quay.io/A", "not a path segment"),
        ("quay.io/../a", ""),
        ("quay.io/a:", "not a tag"),
        ("quay.io/a:ä", "not a tag"),
        ("quay.io/a@sha256:*", "not a digest"),
        ("r.example:99999/a", "is not a registry"),
        ("https://quay.io/a", "is not a registry"),
    ] {
        match text.parse::<ImagePattern>() {
            Err(error) => assert!(error.to_string().contains(reason), "{text}: {error}"),
            // Legal characters in an order that no repository has: it matches nothing.
            Ok(pattern) => assert_eq!((text, pattern.to_string().as_str()), ("quay.io/../a", text)),
        }
    }
    assert!("a".repeat(2000).parse::<ImagePattern>().is_err());
}

#[test]
fn many_stars_take_no_longer_than_the_product_of_both_lengths() {
    let pattern = format!("q.io/{}b", "*a".repeat(200));
    assert!(!matches(&pattern, &format!("q.io/{}", "a".repeat(250))));
    let pattern = format!("q.io/{}b", "**/a/".repeat(100));
    assert!(!matches(&pattern, &format!("q.io/{}a", "a/".repeat(120))));
}

/// What `*` means, said once more in the plainest way.
fn plainly(glob: &str, text: &str) -> bool {
    match glob.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|at| plainly(rest, &text[at..])),
        Some((first, rest)) => text.strip_prefix(first).is_some_and(|text| plainly(rest, text)),
    }
}

proptest! {
    #[test]
    fn every_reference_is_in_its_own_pattern_and_in_those_that_are_wider(image in any_reference()) {
        let text = image.to_string();
        let patterns = [
            text.clone(),
            image.name(),
            format!("{}/**", image.registry()),
            format!("*/{}", image.repository()),
            "**".to_owned(),
        ];
        for pattern in patterns {
            prop_assert!(matches(&pattern, &text), "{} {}", pattern, text);
        }
    }

    #[test]
    fn a_name_with_something_around_it_is_another(
        image in any_reference(),
        more in "[a-z0-9]{1,4}",
    ) {
        let pattern: ImagePattern = image.name().parse().unwrap();
        for other in [
            format!("{}{more}", image.name()),
            format!("{}/{more}", image.name()),
            format!("{more}.{}", image.name()),
            format!("{}/{more}/{}", image.registry(), image.repository()),
        ] {
            // Some of these are no references, as a host in brackets has nothing in front.
            if let Ok(other) = other.parse::<ImageReference>() {
                prop_assert!(!pattern.matches(&other), "{} {}", image.name(), other);
            }
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in "\\PC{0,60}", image in any_reference()) {
        if let Ok(pattern) = text.parse::<ImagePattern>() {
            pattern.matches(&image);
            prop_assert_eq!(pattern.to_string().parse::<ImagePattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn text_that_resembles_a_pattern_is_one_or_refused(
        text in "[a-z.:*]{0,8}(/[a-z.*_-]{1,4}){0,4}(:[a-z*]{0,3})?(@\\*)?",
        image in any_reference(),
    ) {
        if let Ok(pattern) = text.parse::<ImagePattern>() {
            pattern.matches(&image);
            prop_assert_eq!(pattern.to_string().parse::<ImagePattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn a_glob_means_what_it_says(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
        prop_assert_eq!(matches_text(&glob, &text), plainly(&glob, &text));
    }
}
