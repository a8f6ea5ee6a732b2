//! Which replicas nobody uses, and why others stay. Reads the ledger, a page at a time.
//!
//! All records of one manifest in one repository stand or fall together: registries delete by
//! digest, and with it all tags that name it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use protocol::{Digest, ImageReference, ReplicaRepository, TargetRoot};

use super::in_use::{InUse, Run};
use crate::clock::Timestamp;
use crate::ledger::unused::Asked;
use crate::ledger::work::Work;
use crate::ledger::{Ledger, LedgerError};

/// Records that are read at once.
const PAGE: u32 = 1_000;

/// Records of one manifest, none of them in use.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Where the manifest is; None where none was ever copied, or where it would be is no place
    /// of ours any more.
    pub(crate) at: Option<(ReplicaRepository, Digest)>,
    /// The records, and when each was asked for.
    pub(crate) records: Vec<Asked>,
    /// When it ran at last, where that was seen.
    pub(crate) last_run: Option<Timestamp>,
}

/// Something that nobody has asked for, and that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What.
    pub(crate) source: ImageReference,
    /// Why.
    pub(crate) why: Why,
}

/// Why a replica that nobody has asked for stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A pod runs it.
    Runs,
    /// A pod ran it not long ago.
    Ran(Timestamp),
    /// This one has the same manifest in the same repository, and was asked for.
    SharedWith(ImageReference),
    /// It is worked on, or was looked at not long ago.
    Busy,
    /// Its replica is not below the target of the configuration.
    Elsewhere,
}

/// Goes through the ledger.
#[derive(Debug)]
pub(crate) struct Planner {
    ledger: Ledger,
    target: Arc<TargetRoot>,
    cutoff: Timestamp,
    in_use: InUse,
    after: Option<ImageReference>,
    is_done: bool,
}

/// What a part of the ledger holds.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// What may go.
    pub(crate) unused: Vec<Group>,
    /// What stays.
    pub(crate) kept: Vec<Kept>,
}

impl Planner {
    /// One that begins at the beginning. What nobody has used since `cutoff` is unused.
    pub(crate) async fn new(
        ledger: &Ledger,
        target: &Arc<TargetRoot>,
        cutoff: Timestamp,
    ) -> Result<Self, LedgerError> {
        let in_use = InUse::new(target, ledger.ran().await?);
        let (ledger, target) = (ledger.clone(), Arc::clone(target));
        Ok(Self { ledger, target, cutoff, in_use, after: None, is_done: false })
    }

    /// The next page; None behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, LedgerError> {
        if self.is_done {
            return Ok(None);
        }
        let asked = self.ledger.unasked(self.cutoff, self.after.as_ref(), PAGE).await?;
        self.is_done = asked.len() < PAGE as usize;
        self.after = asked.last().map(|last| last.record.source.clone());
        let digests: BTreeSet<_> =
            asked.iter().filter_map(|one| one.record.digest.as_ref()).collect();
        let digests: Vec<_> = digests.into_iter().collect();
        let mut by_manifest = HashMap::<_, Vec<Asked>>::new();
        for one in self.ledger.with_digests(&digests).await? {
            by_manifest.entry(manifest_of(&one)).or_default().push(one);
        }
        let mut page = Page::default();
        for one in asked {
            let all = match &one.record.digest {
                None => vec![one.clone()],
                Some(_) => by_manifest.get(&manifest_of(&one)).cloned().unwrap_or_default(),
            };
            match self.judge(&one, all) {
                Ok(Some(group)) => page.unused.push(group),
                Ok(None) => {}
                Err(why) => page.kept.push(Kept { source: one.record.source, why }),
            }
        }
        Ok(Some(page))
    }

    /// What becomes of `one`, of whose manifest `all` are. None where that is said of another one
    /// of them.
    fn judge(&self, one: &Asked, mut all: Vec<Asked>) -> Result<Option<Group>, Why> {
        all.sort_unstable_by(|a, b| a.record.source.cmp(&b.record.source));
        let at = self.target.repository_of(&one.record.target).zip(one.record.digest.clone());
        if at.is_none() && one.record.digest.is_some() {
            return Err(Why::Elsewhere);
        }
        let last_run = all.iter().filter_map(|one| self.in_use.of(&self.target, &one.record)).max();
        match last_run {
            Some(Run::Now) => return Err(Why::Runs),
            Some(Run::Until(at)) if at >= self.cutoff => return Err(Why::Ran(at)),
            _ => {}
        }
        for other in &all {
            let is_unused = other.counts_from() < self.cutoff;
            let rests = matches!(other.record.work, Work::Idle | Work::Later(_));
            match (is_unused, rests, other.record.source == one.record.source) {
                (true, true, _) => {}
                (false, _, false) => return Err(Why::SharedWith(other.record.source.clone())),
                (_, false, _) | (false, _, true) => return Err(Why::Busy),
            }
        }
        let is_first = all.first().is_none_or(|first| first.record.source == one.record.source);
        let last_run = last_run.and_then(|run| match run {
            Run::Until(at) => Some(at),
            Run::Now => None,
        });
        Ok(is_first.then_some(Group { at, records: all, last_run }))
    }
}

fn manifest_of(one: &Asked) -> (String, Option<Digest>) {
    (one.record.target.name(), one.record.digest.clone())
}
