//! What may go of a repository, from what it holds: pure.
//!
//! What stays is all that can be reached from something that has a tag nobody gives up, that is
//! in use, or that cannot go itself; and what refers to any of that. What goes is the rest of
//! what the roots reach, and what refers to that.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::{Digest, Tag};
use registry::Referrer;

use super::{HeldBack, Survey, Unwanted};
use crate::referrers::cosign_tags;

/// What a repository holds, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// What each tag names.
    pub(super) tags: BTreeMap<Tag, Digest>,
    /// The manifests that each one names. One that is not in the map names none.
    pub(super) children: HashMap<Digest, Vec<Digest>>,
    /// What the registry says refers to a manifest.
    pub(super) referrers: HashMap<Digest, Vec<Digest>>,
}

impl Holdings {
    /// All that can be reached from some manifests, themselves included.
    pub(super) fn reach(&self, from: impl IntoIterator<Item = Digest>) -> HashSet<Digest> {
        let mut reached = HashSet::new();
        let mut ahead: Vec<_> = from.into_iter().collect();
        while let Some(digest) = ahead.pop() {
            if reached.insert(digest.clone()) {
                ahead.extend(self.children.get(&digest).into_iter().flatten().cloned());
            }
        }
        reached
    }

    /// What refers to a manifest: by the registry's word, or by a tag made of its digest.
    fn about<'a>(&'a self, subject: &'a Digest) -> impl Iterator<Item = &'a Digest> {
        let by_tag = about_tags(subject).filter_map(|tag| self.tags.get(&tag));
        self.referrers.get(subject).into_iter().flatten().chain(by_tag)
    }

    /// The same as [`Holdings::reach`], with what refers to any of it, and so on.
    fn reach_with_referrers(&self, from: impl IntoIterator<Item = Digest>) -> HashSet<Digest> {
        let mut reached = HashSet::new();
        let mut ahead: Vec<_> = from.into_iter().collect();
        while let Some(digest) = ahead.pop() {
            if reached.insert(digest.clone()) {
                ahead.extend(self.children.get(&digest).into_iter().flatten().cloned());
                ahead.extend(self.about(&digest).cloned());
            }
        }
        reached
    }
}

/// The tags under which what refers to a manifest is found.
fn about_tags(subject: &Digest) -> impl Iterator<Item = Tag> {
    std::iter::once(Referrer::fallback_tag(subject)).chain(cosign_tags(subject))
}

/// Decides.
pub(super) fn decide(holdings: &Holdings, unwanted: &Unwanted) -> Survey {
    let mut held_back = BTreeMap::new();
    loop {
        let going = |digest: &&Digest| !held_back.contains_key(*digest);
        let going: Vec<_> = unwanted.roots.keys().filter(going).cloned().collect();
        let reached = holdings.reach(going.iter().cloned());
        // Tags that end with a root, or with something that it reaches. One that names what its own
        // name is made of is no list of referrers: somebody tagged an image so.
        let about = |subject| about_tags(subject).map(move |tag| (tag, subject));
        let about: HashMap<_, _> = reached.iter().flat_map(about).collect();
        let ends = |(tag, named): &(&Tag, &Digest)| {
            let root = unwanted.roots.get(*named).filter(|_| going.contains(named));
            about.get(*tag).is_some_and(|subject| subject != named)
                || root.is_some_and(|tags| tags.contains(*tag))
        };
        let tagged = holdings.tags.iter().filter(|tag| !ends(tag)).map(|(_, named)| named);
        let staying = tagged.chain(&unwanted.in_use).chain(held_back.keys()).cloned();
        let kept = holdings.reach_with_referrers(staying);
        let before = held_back.len();
        for root in &going {
            let parts = holdings.reach([root.clone()]);
            let runs = unwanted.in_use.iter().find(|digest| parts.contains(*digest));
            let tag = holdings.tags.iter().find(|tag| tag.1 == root && !ends(tag));
            let reason = match (tag, runs) {
                (Some((tag, _)), _) => HeldBack::Tagged(tag.clone()),
                (None, Some(digest)) => HeldBack::Runs(digest.clone()),
                (None, None) if kept.contains(root) => HeldBack::PartOfOther,
                (None, None) => continue,
            };
            held_back.insert(root.clone(), reason);
        }
        if held_back.len() == before {
            return Survey { delete: in_order(holdings, unwanted, &held_back, &kept), held_back };
        }
    }
}

/// What goes: roots first, since nobody may find one that misses a part; then parts, parents
/// before children; then what refers to any of it.
fn in_order(
    holdings: &Holdings,
    unwanted: &Unwanted,
    held_back: &BTreeMap<Digest, HeldBack>,
    kept: &HashSet<Digest>,
) -> Vec<Digest> {
    let roots = unwanted.roots.keys().filter(|root| !held_back.contains_key(*root));
    let mut delete: Vec<Digest> = roots.cloned().collect();
    let mut seen: HashSet<_> = delete.iter().cloned().collect();
    let mut take = |delete: &mut Vec<Digest>, digest: &Digest| {
        if !kept.contains(digest) && seen.insert(digest.clone()) {
            delete.push(digest.clone());
        }
    };
    let mut at = 0;
    while at < delete.len() {
        let children = holdings.children.get(&delete[at]).cloned().unwrap_or_default();
        children.iter().for_each(|child| take(&mut delete, child));
        at += 1;
    }
    let mut at = 0;
    while at < delete.len() {
        let about: Vec<_> = holdings.about(&delete[at]).cloned().collect();
        about.iter().for_each(|digest| take(&mut delete, digest));
        let children = holdings.children.get(&delete[at]).cloned().unwrap_or_default();
        children.iter().for_each(|child| take(&mut delete, child));
        at += 1;
    }
    delete
}

#[cfg(test)]
mod tests;
