//! What pods run, as repositories at the target have it: pure.
//!
//! A pod names an image by its source or by its replica, by tag, by digest or by both, and the
//! kubelet says which digest it runs. All of these count for the repository that holds, or would
//! hold, the replica.

use std::collections::{BTreeSet, HashMap};

use protocol::{Digest, ImageReference, Tag, TargetRoot};

use crate::clock::Timestamp;
use crate::ledger::record::Record;
use crate::ledger::unused::Ran;

/// When something ran at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Run {
    /// No pod runs it any more; one was seen then.
    Until(Timestamp),
    /// It runs now.
    Now,
}

impl Run {
    /// Whether that is so recent that it counts as use.
    pub(crate) fn is_use(self, cutoff: Timestamp) -> bool {
        match self {
            Self::Until(at) => at >= cutoff,
            Self::Now => true,
        }
    }
}

/// What ran of each repository at the target.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    by_name: HashMap<String, OfRepository>,
}

#[derive(Debug, Default)]
struct OfRepository {
    tags: HashMap<Tag, Run>,
    digests: HashMap<Digest, Run>,
}

impl InUse {
    /// From what pods ran.
    pub(crate) fn new(target: &TargetRoot, ran: impl IntoIterator<Item = Ran>) -> Self {
        let mut all = Self::default();
        for Ran { image, digest, pods, last_at } in ran {
            let run = if pods > 0 { Run::Now } else { Run::Until(last_at) };
            let Some((name, tags, digests)) = place(target, &image) else { continue };
            let of = all.by_name.entry(name).or_default();
            for tag in tags {
                let known = of.tags.entry(tag).or_insert(run);
                *known = run.max(*known);
            }
            for digest in digests.into_iter().chain(digest) {
                let known = of.digests.entry(digest).or_insert(run);
                *known = run.max(*known);
            }
        }
        all
    }

    /// When a record's replica ran at last, by any name; None where nobody saw that.
    pub(crate) fn of(&self, target: &TargetRoot, record: &Record) -> Option<Run> {
        let of = self.by_name.get(&record.target.name())?;
        let by_tag = tags(target, record).into_iter().filter_map(|tag| of.tags.get(&tag));
        let digests = record.digest.iter().chain(record.target.digest());
        let by_digest = digests.filter_map(|digest| of.digests.get(digest));
        by_tag.chain(by_digest).copied().max()
    }

    /// What of a repository at the target is in use by its digest.
    pub(crate) fn digests(&self, name: &str, cutoff: Timestamp) -> BTreeSet<Digest> {
        let of = self.by_name.get(name);
        let digests = of.into_iter().flat_map(|of| &of.digests);
        digests.filter(|(_, run)| run.is_use(cutoff)).map(|(digest, _)| digest.clone()).collect()
    }
}

/// The tags under which a record's replica is at the target.
pub(crate) fn tags(target: &TargetRoot, record: &Record) -> BTreeSet<Tag> {
    let keeper = target.replica_of(&record.source).ok().and_then(|replica| replica.keeper);
    record.target.tag().cloned().into_iter().chain(keeper).collect()
}

/// What an image of a pod means at the target.
fn place(
    target: &TargetRoot,
    image: &ImageReference,
) -> Option<(String, Vec<Tag>, Option<Digest>)> {
    if target.contains(image) {
        return Some((
            image.name(),
            image.tag().cloned().into_iter().collect(),
            image.digest().cloned(),
        ));
    }
    // What has no place at the target has no replica.
    let replica = target.replica_of(image).ok()?;
    let tags = replica.reference.tag().cloned().into_iter().chain(replica.keeper).collect();
    Some((replica.reference.name(), tags, image.digest().cloned()))
}
