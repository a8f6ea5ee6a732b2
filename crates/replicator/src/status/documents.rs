//! The documents of the status API: what the page shows and the commands of a person read.
//!
//! Times are milliseconds since 1970 (UTC), sizes bytes, and null is what is not known. Fields may
//! be added; who reads must let pass what it does not know.

use std::collections::BTreeMap;

use protocol::{Digest, ImageReference, Progress, RefusalCode, Side};
use serde::{Deserialize, Serialize};

use crate::ledger::record::State;
use crate::ledger::work::Priority;

/// How things stand. The lists are cut; [`Overview::totals`] tells how long they would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// When, by the ledger's time.
    pub(crate) now_ms: i64,
    /// Of the replicator that answers.
    pub(crate) version: String,
    /// The replicator that answers, as leases name it; new with each start.
    pub(crate) replicator: String,
    /// How the ledger is.
    pub(crate) ledger: LedgerHealth,
    /// Sources by state.
    pub(crate) counts: Counts,
    /// What waits.
    pub(crate) queue: Queue,
    /// How long the lists would be.
    pub(crate) totals: Totals,
    /// What is worked on, by any replicator, longest first.
    pub(crate) copying: Vec<Copying>,
    /// What waits, in the order of the queue.
    pub(crate) waiting: Vec<Waiting>,
    /// What failed, or was refused; the newest first.
    pub(crate) failed: Vec<Failed>,
    /// Replicas that may not be what their source is; the newest failure first.
    pub(crate) stale: Vec<Failed>,
    /// The registries that this replicator has asked.
    pub(crate) registries: Vec<RegistryHealth>,
    /// Files of the configuration that cannot be used, a line each.
    pub(crate) troubles: Vec<String>,
}

/// How the ledger is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerHealth {
    /// Whether the last change could be written.
    pub(crate) writable: bool,
}

/// Sources by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Asked for; no worker has it yet.
    pub(crate) wanted: u64,
    /// Copied for the first time, or once more after a failure.
    pub(crate) copying: u64,
    /// Whole at the target.
    pub(crate) present: u64,
    /// Whole at the target; what the source holds now is not known.
    pub(crate) stale: u64,
    /// The last copy failed, and will be tried again by itself.
    pub(crate) failed: u64,
    /// The last copy failed; it is tried again when somebody asks.
    pub(crate) refused: u64,
}

/// What waits for a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// How much.
    pub(crate) waiting: u64,
    /// Since when that which has waited longest.
    pub(crate) oldest_ms: Option<i64>,
}

/// How long the lists of an overview would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Of what is worked on.
    pub(crate) copying: u64,
    /// Of what waits.
    pub(crate) waiting: u64,
    /// Of what failed, or was refused.
    pub(crate) failed: u64,
    /// Of stale replicas.
    pub(crate) stale: u64,
}

/// A copy, or a look at a replica that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Copying {
    /// The image.
    pub(crate) source: ImageReference,
    /// Where its replica is to be.
    pub(crate) target: ImageReference,
    /// Copying, or what it is while somebody looks at it.
    pub(crate) state: State,
    /// On whose behalf.
    pub(crate) namespace: String,
    /// Who works on it, as leases name it.
    pub(crate) replicator: String,
    /// Since when.
    pub(crate) since_ms: i64,
    /// How far it is; null where another replicator works on it.
    pub(crate) progress: Option<Transfer>,
}

/// How far a copy is. Totals are zero until the manifests are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// At the target.
    pub(crate) layers_done: u64,
    /// In all.
    pub(crate) layers_total: u64,
    /// At the target.
    pub(crate) bytes_done: u64,
    /// In all.
    pub(crate) bytes_total: u64,
    /// Of the last seconds.
    pub(crate) rate_bytes_per_second: Option<u64>,
    /// Until it ends at that rate.
    pub(crate) left_ms: Option<u64>,
}

impl Transfer {
    /// Parts of a hundred that are done.
    pub(crate) fn percent(&self) -> u64 {
        let Self { layers_done, layers_total, bytes_done, bytes_total, .. } = *self;
        Progress { layers_done, layers_total, bytes_done, bytes_total }.percent()
    }
}

/// A source in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The image.
    pub(crate) source: ImageReference,
    /// What is known of it beside.
    pub(crate) state: State,
    /// Whose pods asked for it; the first few.
    pub(crate) namespaces: Vec<String>,
    /// How urgent it is.
    pub(crate) priority: Priority,
    /// Since when it waits.
    pub(crate) since_ms: i64,
}

/// A source whose last copy failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// The image.
    pub(crate) source: ImageReference,
    /// Where its replica is, or was to be.
    pub(crate) target: ImageReference,
    /// Failed, refused or stale.
    pub(crate) state: State,
    /// Whose pods asked for it; the first few.
    pub(crate) namespaces: Vec<String>,
    /// Why.
    pub(crate) failure: Option<Failure>,
    /// Copies that failed since the last that did not.
    pub(crate) attempts: u32,
    /// When it is tried again by itself; null where that is now, or when somebody asks.
    pub(crate) next_try_ms: Option<i64>,
    /// When the source was last found to be what the replica is.
    pub(crate) checked_at_ms: Option<i64>,
}

/// Why a copy failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The kind, as the policy is told it.
    pub(crate) code: RefusalCode,
    /// Where.
    pub(crate) side: Side,
    /// For people; strangers' words may be in it.
    pub(crate) message: String,
    /// Whether trying again does not mend it, unless somebody changes something.
    pub(crate) is_lasting: bool,
}

/// A registry, as the replicator that answers sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryHealth {
    /// Its host.
    pub(crate) registry: String,
    /// In one word.
    pub(crate) health: Health,
    /// Requests under way.
    pub(crate) in_flight: u64,
    /// Requests that it gets at once, reads and writes each.
    pub(crate) allowed: u64,
    /// How long it is left alone yet, since it asked for that.
    pub(crate) paused_ms: Option<u64>,
    /// What it last said of its rate limit.
    pub(crate) quota: Option<Quota>,
    /// Requests by the class of the answer's status; `none` is no answer.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Bytes of the bodies that it sent.
    pub(crate) read_bytes: u64,
    /// Bytes of the bodies that it was sent.
    pub(crate) written_bytes: u64,
    /// Requests and uploads that were tried again after a failure.
    pub(crate) retries: u64,
}

/// How a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// It answers.
    Well,
    /// It asked for a pause.
    Paused,
    /// It does not answer, and one request finds out whether it does again.
    Probed,
    /// It does not answer, and is left alone.
    Dead,
}

/// What a registry says of its rate limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// Requests left.
    pub(crate) remaining: u64,
    /// Of how many.
    pub(crate) limit: Option<u64>,
    /// In what time.
    pub(crate) window_ms: Option<u64>,
}

/// A page of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Images {
    /// What runs unreplicated first, then by source.
    pub(crate) images: Vec<Image>,
    /// What to ask for as `after` to have the next page; null on the last one.
    pub(crate) next: Option<String>,
}

/// An image that entered the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// The image as it was asked for; of what runs unreplicated, as the pod has it.
    pub(crate) source: ImageReference,
    /// Where its replica is, or is to be; null where nobody asked for one.
    pub(crate) target: Option<ImageReference>,
    /// Where its replica is in its life; null where nobody asked for one.
    pub(crate) state: Option<State>,
    /// Of its manifest, once it is known.
    pub(crate) digest: Option<Digest>,
    /// Of all that was copied of it.
    pub(crate) size_bytes: Option<u64>,
    /// The platforms that were copied; null until a copy saw them.
    pub(crate) platforms: Option<Vec<String>>,
    /// What refers to it and was copied with it, by kind; null until a copy looked for that.
    pub(crate) referrers: Option<BTreeMap<String, u64>>,
    /// Whether a signature was copied with it; nobody has verified that.
    pub(crate) signed: Option<bool>,
    /// Whose pods asked for it; the first few.
    pub(crate) namespaces: Vec<String>,
    /// When it was first asked for.
    pub(crate) first_asked_ms: Option<i64>,
    /// When it was last asked for.
    pub(crate) last_asked_ms: Option<i64>,
    /// When the source was last found to be what the replica is.
    pub(crate) checked_at_ms: Option<i64>,
    /// How many pods run it now; null where nobody watches pods.
    pub(crate) in_use: Option<u64>,
    /// Whether pods run it from elsewhere than the target; null where nobody watches pods.
    pub(crate) unreplicated: Option<bool>,
}

/// An image, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageDetails {
    /// As in a list.
    #[serde(flatten)]
    pub(crate) image: Image,
    /// Why its last copy failed, if it did.
    pub(crate) failure: Option<Failure>,
    /// Copies that failed since the last that did not.
    pub(crate) attempts: u32,
    /// What is to be done about it.
    pub(crate) work: Work,
    /// When its state was last set.
    pub(crate) changed_at_ms: i64,
    /// Who asked for it; the newest first, and cut.
    pub(crate) requests: Vec<Request>,
    /// Its last copies, the newest first.
    pub(crate) copies: Vec<Copy>,
}

/// What is to be done about a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Work {
    /// Nothing, until somebody asks.
    Idle,
    /// It joins the queue at that time.
    Later {
        /// When.
        due_at_ms: i64,
    },
    /// It is in the queue.
    Waiting {
        /// Since when.
        since_ms: i64,
        /// How urgent it is.
        priority: Priority,
    },
    /// A replicator works on it.
    Leased {
        /// Since when.
        since_ms: i64,
        /// Which one.
        replicator: String,
    },
}

/// Who asked for an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The namespace of the pods.
    pub(crate) namespace: String,
    /// The policy server.
    pub(crate) caller: String,
    /// For the first time.
    pub(crate) first_at_ms: i64,
    /// For the last time.
    pub(crate) last_at_ms: i64,
    /// How often.
    pub(crate) count: u64,
}

/// A copy that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copy {
    /// As in metrics: copied, current, failed, refused or handed-back.
    pub(crate) result: String,
    /// Of what was copied.
    pub(crate) digest: Option<Digest>,
    /// Bytes of blobs that travelled.
    pub(crate) bytes_moved: u64,
    /// When it began.
    pub(crate) began_at_ms: i64,
    /// When it ended.
    pub(crate) ended_at_ms: i64,
    /// Who made it, as leases name it.
    pub(crate) replicator: String,
}

/// What is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// The image as it was asked for.
    pub(crate) source: ImageReference,
}

/// What became of the wish to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retried {
    /// The image.
    pub(crate) source: ImageReference,
    /// What is to be done about it now.
    pub(crate) work: Work,
}

/// What is to be there before pods ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prewarm {
    /// On whose behalf: the rules for it hold.
    pub(crate) namespace: String,
    /// The images; a thousand at most.
    pub(crate) sources: Vec<ImageReference>,
}

/// What became of that, in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prewarmed {
    /// One for each source.
    pub(crate) images: Vec<PrewarmedImage>,
}

/// What became of one of them: it has a target and a state, or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrewarmedImage {
    /// The image.
    pub(crate) source: ImageReference,
    /// Where its replica is, or will be.
    pub(crate) target: Option<ImageReference>,
    /// As a receipt has it: present, stale or copying.
    pub(crate) state: Option<String>,
    /// Why there will be none.
    pub(crate) error: Option<ErrorBody>,
}

/// What would be taken away, since nobody uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrunePlan {
    /// When, by the ledger's time.
    pub(crate) now_ms: i64,
    /// How long nobody has used what is unused.
    pub(crate) unused_for_s: u64,
    /// Why nothing would be taken away at this moment, and what to do about it.
    pub(crate) refused: Option<String>,
    /// How often it is done by itself.
    pub(crate) every_s: Option<u64>,
    /// How many images nobody uses.
    pub(crate) images: u64,
    /// By how many references they were asked for.
    pub(crate) sources: u64,
    /// Of all of them. What they share with others, or with each other, stays or counts once, so
    /// less gets free.
    pub(crate) size_bytes: u64,
    /// The first thousand of these images.
    pub(crate) unused: Vec<Unused>,
    /// How many sources nobody has asked for, and stay all the same.
    pub(crate) kept_count: u64,
    /// The first thousand of these.
    pub(crate) kept: Vec<Kept>,
    /// The run that is under way in the replicator that answers, or was at last.
    pub(crate) run: Option<PruneRun>,
}

/// An image that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unused {
    /// The references by which it was asked for.
    pub(crate) sources: Vec<ImageReference>,
    /// Where it is; null where nothing of it was ever copied.
    pub(crate) repository: Option<String>,
    /// Of its manifest.
    pub(crate) digest: Option<Digest>,
    /// Of all that it is made of.
    pub(crate) size_bytes: Option<u64>,
    /// When it was asked for at last.
    pub(crate) last_asked_ms: Option<i64>,
    /// When a pod was seen to run it at last.
    pub(crate) last_run_ms: Option<i64>,
}

/// An image that nobody has asked for, and that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The image.
    pub(crate) source: ImageReference,
    /// Why, for people.
    pub(crate) reason: String,
}

/// A run that takes away what nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PruneRun {
    /// When it began.
    pub(crate) began_at_ms: Option<i64>,
    /// When it ended; null while it is under way.
    pub(crate) ended_at_ms: Option<i64>,
    /// Sources that were forgotten, with their replicas.
    pub(crate) removed: u64,
    /// Sources that stayed, since they are in use after all.
    pub(crate) kept: u64,
    /// Manifests that were deleted.
    pub(crate) manifests: u64,
    /// Why it ended early, or what it could not do in some repository.
    pub(crate) error: Option<String>,
}

/// The wish to have taken away what nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prune {
    /// How long nobody must have used it; null for what the configuration says.
    #[serde(default)]
    pub(crate) unused_for_s: Option<u64>,
}

/// That it has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PruneBegun {
    /// How long nobody must have used what goes.
    pub(crate) unused_for_s: u64,
    /// What tells how far it is.
    pub(crate) follow: String,
}

/// Why a request was not answered as it was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// The kind.
    pub(crate) code: RefusalCode,
    /// For people.
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_never_more_than_all() {
        let percent = |bytes_done, bytes_total| {
            let (layers_done, layers_total) = (0, 0);
            let (rate_bytes_per_second, left_ms) = (None, None);
            Transfer {
                layers_done,
                layers_total,
                bytes_done,
                bytes_total,
                rate_bytes_per_second,
                left_ms,
            }
            .percent()
        };
        assert_eq!((percent(0, 0), percent(1, 3), percent(9, 3)), (0, 33, 100));
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
