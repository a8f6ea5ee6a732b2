use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// Manifests by numbers: `(parent, children)`.
fn holdings(tags: &[(&str, usize)], children: &[(usize, &[usize])]) -> Holdings {
    let children = children
        .iter()
        .map(|(parent, of)| (digest(*parent), of.iter().map(|child| digest(*child)).collect()));
    Holdings {
        tags: tags.iter().map(|(name, number)| (tag(name), digest(*number))).collect(),
        children: children.collect(),
        referrers: HashMap::new(),
    }
}

fn unwanted(roots: &[(usize, &[&str])], in_use: &[usize]) -> Unwanted {
    let tags = |tags: &[&str]| tags.iter().map(|name| tag(name)).collect::<BTreeSet<_>>();
    Unwanted {
        roots: roots.iter().map(|(root, names)| (digest(*root), tags(names))).collect(),
        in_use: in_use.iter().map(|number| digest(*number)).collect(),
    }
}

fn numbers(digests: &[Digest]) -> Vec<usize> {
    digests.iter().map(|digest| usize::from_str_radix(digest.hex(), 16).unwrap()).collect()
}

#[test]
fn an_image_goes_with_what_nothing_else_names() {
    // Two indexes share a child; one of them goes.
    let all = holdings(&[("a", 1), ("b", 2)], &[(1, &[10, 11]), (2, &[11, 12])]);
    let survey = decide(&all, &unwanted(&[(1, &["a"])], &[]));
    assert_eq!(numbers(&survey.delete), [1, 10]);
    assert!(survey.held_back.is_empty());
}

#[test]
fn a_tag_that_nobody_accounts_for_holds_an_image_and_its_parts() {
    let all = holdings(&[("a", 1), ("other", 1), ("b", 2)], &[(1, &[10]), (2, &[10, 12])]);
    let survey = decide(&all, &unwanted(&[(1, &["a"]), (2, &["b"])], &[]));
    assert_eq!(survey.held_back[&digest(1)], HeldBack::Tagged(tag("other")));
    assert_eq!(numbers(&survey.delete), [2, 12]);
}

#[test]
fn an_image_that_is_tagged_by_its_own_digest_is_held_by_that() {
    let own = Referrer::fallback_tag(&digest(1));
    let all = holdings(&[("a", 1), (own.as_str(), 1)], &[]);
    let survey = decide(&all, &unwanted(&[(1, &["a"])], &[]));
    assert_eq!(survey.held_back[&digest(1)], HeldBack::Tagged(own.clone()));
    let survey = decide(&all, &unwanted(&[(1, &["a", own.as_str()])], &[]));
    assert_eq!(numbers(&survey.delete), [1]);
}

#[test]
fn a_child_that_runs_by_its_own_digest_holds_its_index() {
    let all = holdings(&[("a", 1)], &[(1, &[10, 11])]);
    let survey = decide(&all, &unwanted(&[(1, &["a"])], &[11]));
    assert_eq!(survey.held_back[&digest(1)], HeldBack::Runs(digest(11)));
    assert!(survey.delete.is_empty());
}

#[test]
fn what_is_a_part_of_an_index_that_stays_stays() {
    let all = holdings(&[("index", 1), ("keeper", 10)], &[(1, &[10, 11])]);
    let survey = decide(&all, &unwanted(&[(10, &["keeper"])], &[]));
    assert_eq!(survey.held_back[&digest(10)], HeldBack::PartOfOther);
    assert!(survey.delete.is_empty());
}

#[test]
fn a_part_of_an_untagged_index_that_runs_stays() {
    let all = holdings(&[("a", 1)], &[(1, &[10, 11]), (7, &[11])]);
    let survey = decide(&all, &unwanted(&[(1, &["a"])], &[7]));
    assert_eq!(numbers(&survey.delete), [1, 10]);
}

#[test]
fn signatures_go_with_what_they_sign_and_stay_with_what_stays() {
    let cosign = format!("{}.sig", digest(10).dashed());
    let list = Referrer::fallback_tag(&digest(1)).to_string();
    let kept = format!("{}.sig", digest(11).dashed());
    let tags = [("a", 1), ("b", 2), (&cosign, 20), (&list, 21), (&kept, 22)];
    let mut all = holdings(&tags, &[(1, &[10, 11]), (2, &[11]), (21, &[30])]);
    all.referrers.insert(digest(10), vec![digest(31)]);
    all.referrers.insert(digest(31), vec![digest(32)]);
    all.referrers.insert(digest(11), vec![digest(33)]);
    let survey = decide(&all, &unwanted(&[(1, &["a"])], &[]));
    let mut gone = numbers(&survey.delete);
    assert_eq!(gone[0], 1);
    gone.sort_unstable();
    assert_eq!(gone, [1, 10, 20, 21, 30, 31, 32]);
}

#[test]
fn a_tag_that_has_moved_on_is_no_root_s_any_more() {
    let all = holdings(&[("a", 2), ("keeper", 1)], &[]);
    let survey = decide(&all, &unwanted(&[(1, &["a", "keeper"])], &[]));
    assert_eq!(numbers(&survey.delete), [1]);
}

/// A repository at random: parents name manifests with higher numbers.
fn any_repository() -> impl Strategy<Value = (Holdings, Unwanted)> {
    const MANIFESTS: usize = 12;
    let edges = prop::collection::vec((0..MANIFESTS, 1..MANIFESTS), 0..16);
    let referrers = prop::collection::vec((0..MANIFESTS, 0..MANIFESTS), 0..4);
    let tags = prop::collection::vec((0..4_usize, 0..MANIFESTS), 0..8);
    let roots = prop::collection::vec((0..MANIFESTS, prop::bool::ANY), 0..5);
    let in_use = prop::collection::btree_set(0..MANIFESTS, 0..3);
    (edges, referrers, tags, roots, in_use).prop_map(|(edges, referrers, tags, roots, in_use)| {
        let mut all = Holdings::default();
        for (parent, step) in edges {
            let child = parent + step;
            all.children.entry(digest(parent)).or_default().push(digest(child));
        }
        for (subject, referrer) in referrers {
            all.referrers.entry(digest(subject)).or_default().push(digest(referrer));
        }
        for (kind, number) in tags {
            let name = match kind {
                0 => Referrer::fallback_tag(&digest(number / 2)),
                1 => cosign_tags(&digest(number / 2)).next().unwrap(),
                _ => tag(&format!("t{kind}-{number}")),
            };
            all.tags.insert(name, digest(number));
        }
        let names = |number: usize, all_tags: bool| {
            let of_it = all.tags.iter().filter(|(_, named)| **named == digest(number));
            of_it.map(|(tag, _)| tag.clone()).filter(|_| all_tags).collect::<BTreeSet<_>>()
        };
        let roots = roots.into_iter().map(|(number, known)| (digest(number), names(number, known)));
        let roots = roots.collect();
        let in_use = in_use.into_iter().map(digest).collect();
        (all, Unwanted { roots, in_use })
    })
}

proptest! {
    #[test]
    fn nothing_that_is_in_use_or_has_a_tag_of_its_own_loses_a_part((all, unwanted) in any_repository()) {
        let survey = decide(&all, &unwanted);
        let gone: HashSet<_> = survey.delete.iter().cloned().collect();
        prop_assert_eq!(gone.len(), survey.delete.len(), "deleted twice");
        for used in &unwanted.in_use {
            prop_assert!(all.reach([used.clone()]).is_disjoint(&gone), "{} runs", used);
        }
        for root in survey.held_back.keys() {
            prop_assert!(all.reach([root.clone()]).is_disjoint(&gone), "{} stays", root);
        }
        let about: HashSet<_> = gone.iter().flat_map(about_tags).collect();
        for (tag, named) in &all.tags {
            let given_up = unwanted.roots.get(named).is_some_and(|tags| tags.contains(tag));
            if !given_up && !about.contains(tag) {
                prop_assert!(all.reach([named.clone()]).is_disjoint(&gone), "{} is kept", tag);
            }
        }
        // Each root goes or has a reason to stay.
        for root in unwanted.roots.keys() {
            prop_assert!(gone.contains(root) != survey.held_back.contains_key(root));
        }
    }
}
