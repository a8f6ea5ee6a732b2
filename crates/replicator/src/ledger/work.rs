//! Who works on a source, or when somebody shall: its place in the queue. Pure.
//!
//! Turns are start-time fair queuing: each lane (a source registry and the namespace that asked)
//! counts on from its own last turn, and a lane that has nothing waiting starts one after the
//! lowest that waits anywhere. So the first image of a newcomer comes before the thousandth of
//! somebody else, and that one still comes: all turns grow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ImageReference, Namespace, Verb};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Which of two waiting copies comes first. The lowest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// A pod waits for it now.
    Now,
    /// A pod will run from it, or may.
    Soon,
    /// The replica is there; is it still what the source is?
    Refresh,
}

impl Priority {
    pub(crate) const ALL: [Self; 3] = [Self::Now, Self::Soon, Self::Refresh];

    /// What a trigger's verb asks for.
    pub(crate) fn of(verb: Verb) -> Self {
        match verb {
            Verb::Replica => Self::Now,
            Verb::Start | Verb::Plan => Self::Soon,
        }
    }

    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Soon => "soon",
            Self::Refresh => "refresh",
        }
    }

    /// The number in the ledger.
    pub(crate) fn as_number(self) -> i64 {
        match self {
            Self::Now => 0,
            Self::Soon => 1,
            Self::Refresh => 2,
        }
    }

    /// The inverse of [`Priority::as_number`].
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_number() == number)
    }
}

/// A replicator, as leases name it: random, new with each start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(Arc<str>);

impl Owner {
    /// One that nobody else is.
    pub(crate) fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)).into())
    }

    /// The name in the ledger.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Owner {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be done about a source, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing, until somebody asks.
    Idle,
    /// It joins the queue at that time.
    Later(Timestamp),
    /// It is in the queue.
    Waiting {
        /// Where: the lowest comes first within its priority.
        turn: i64,
        /// Since when.
        since: Timestamp,
    },
    /// A replicator works on it, as long as that one gives a sign of life.
    Leased {
        /// Which.
        owner: Owner,
        /// Since when.
        since: Timestamp,
    },
}

impl Work {
    /// Whether it waits now, or will by itself.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Later(_))
    }
}

/// The right to settle one claim: of this source, by this replicator, and of no claim before or
/// after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The source.
    pub(crate) source: ImageReference,
    /// Who claimed it.
    pub(crate) owner: Owner,
    /// How often it was claimed by then.
    pub(crate) claim: u64,
}

/// What a trigger wants of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where its replica belongs.
    pub(crate) target: ImageReference,
    /// How urgent it is.
    pub(crate) priority: Priority,
    /// How old the answer of the source may be; None where it is never asked again.
    pub(crate) max_age: Option<Duration>,
}

/// On whose behalf a trigger asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    /// The namespace of the pod.
    pub(crate) namespace: Namespace,
    /// The name under which the policy server asked.
    pub(crate) caller: Arc<str>,
}

/// A source, what is wanted of it, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The image.
    pub(crate) source: ImageReference,
    /// What is wanted.
    pub(crate) wish: Wish,
    /// By whom.
    pub(crate) asker: Asker,
}
