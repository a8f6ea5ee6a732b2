//! What the one writer is asked to do, on what terms, and what it answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::ImageReference;

use super::LedgerError;
use super::grant::{Finding, SourceName};
use super::history::Tallies;
use super::moments::Moment;
use super::places::NewPlaces;
use super::record::{Record, Removal, Settlement};
use super::uses::Use;
use super::work::{Ask, Owner, Ticket};
use crate::clock::Timestamp;

/// What to change.
#[derive(Debug)]
pub(super) enum Action {
    /// A source is asked for.
    Want(Ask),
    /// A person wants a source to be tried again.
    Retry(ImageReference),
    /// A worker is free. It takes none of a registry of which this replicator has so many copies
    /// under way.
    Claim { most_of_one_registry: usize },
    /// A copy ended; its source said something to who read it, or not.
    Settle { ticket: Ticket, settlement: Settlement, bytes_moved: u64, finding: Option<Finding> },
    /// A source said who may read it.
    Learn { source: SourceName, finding: Finding },
    /// So many pods run these now; then all that runs is known up to that time, if one is given.
    See { changes: Vec<(Use, u64)>, known_until: Option<Timestamp> },
    /// This replicator is alive, and writes down what it saw, or that some of it is lost.
    Live { requests: Tallies, has_lost: bool, places: NewPlaces },
    /// The replica of what is unchanged since that revision is to be deleted.
    Retire { source: ImageReference, revision: u64 },
    /// That was done, or not.
    EndRemoval { ticket: Ticket, removal: Removal },
    /// Nothing is copied into the repository of this name until it is released.
    Hold { name: String },
    /// The opposite.
    Release { name: String },
    /// It was so now.
    Note(Moment),
    /// This replicator ends: what it still holds is anybody's.
    Leave,
    /// A little of the oldest history goes.
    Prune,
}

/// An action's answer.
pub(super) type Reply = Result<Option<Arc<Record>>, LedgerError>;

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Done {
    /// The answers, in the order of the actions.
    pub(super) replies: Vec<Reply>,
    /// What records are now, in the order of their changes.
    pub(super) changed: Vec<Arc<Record>>,
    /// The sources of which nothing is known any more.
    pub(super) forgotten: Vec<ImageReference>,
    /// The sources of which something was learned.
    pub(super) learned: Vec<SourceName>,
    /// By how much the queue has grown; negative where it has shrunk.
    pub(super) growth: i64,
    /// Sources that wait now and did not before.
    pub(super) new_work: usize,
    /// The ledger's time.
    pub(super) now: Timestamp,
    /// Until when this replicator's sign of life holds, if it gave one.
    pub(super) signed_until: Option<Timestamp>,
}

impl Done {
    pub(super) fn nothing(now: Timestamp) -> Self {
        let (replies, changed, forgotten, learned) = Default::default();
        Self {
            replies,
            changed,
            forgotten,
            learned,
            growth: 0,
            new_work: 0,
            now,
            signed_until: None,
        }
    }
}

/// Who writes, and how far it may go.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// This replicator.
    pub(super) owner: Owner,
    /// How long a sign of life holds.
    pub(super) lease: Duration,
    /// Until when the last one does.
    pub(super) signed_until: Timestamp,
    /// The claims that workers of this process have.
    pub(super) held: HashSet<(ImageReference, u64)>,
    /// How many more sources may wait.
    pub(super) room: u64,
    /// How many may.
    pub(super) max_waiting: u64,
    /// How long it is believed what a source said of a right.
    pub(super) remember: Duration,
}
