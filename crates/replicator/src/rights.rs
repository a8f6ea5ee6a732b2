//! Rights: whether a namespace may have what is there of a source, by what the source itself
//! said to who the namespace is. Asked by the front; found out by copies, and by proofs.
//!
//! A replica of a private image shall be no way round its registry. So it is given only to who
//! has shown a right of their own: a HEAD of the source, made in the background and remembered.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ImageReference, Registry};
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::credentials::Who;
use crate::ledger::grant::{Finding, Grants, Identity, SourceName, Standing, Verdict};
use crate::ledger::{Ledger, LedgerError};

/// Proofs that wait or run, each of a HEAD or two. What comes beyond is not lost: who asks again
/// asks for it again.
const MAX_PROOFS: usize = 1_000;

/// How many of them one source registry gets, so that one which is slow leaves room for others.
const MAX_PROOFS_OF_ONE_REGISTRY: usize = MAX_PROOFS / 4;

/// Who has shown what. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    ledger: Ledger,
    proofs: mpsc::Sender<Proof>,
    waiting: Waiting,
}

/// What is to be found out: whether the source shows an image to somebody.
#[derive(Debug)]
pub(crate) struct Proof {
    /// The image.
    pub(crate) source: ImageReference,
    /// Who asks.
    pub(crate) who: Who,
    /// Held until it is known.
    _place: Place,
}

/// What is being found out. Cheap to clone.
type Waiting = Arc<Mutex<HashSet<(Registry, SourceName, Identity)>>>;

/// A proof's place among those that wait, given back when it is dropped.
#[derive(Debug)]
struct Place {
    key: (Registry, SourceName, Identity),
    waiting: Waiting,
}

impl Place {
    /// None where there is no room, or it is taken for the same proof.
    fn take(waiting: &Waiting, source: &ImageReference, identity: Identity) -> Option<Self> {
        let key = (source.registry().clone(), source.into(), identity);
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of_registry = all.iter().filter(|(registry, ..)| *registry == key.0).count();
        let has_room = all.len() < MAX_PROOFS && of_registry < MAX_PROOFS_OF_ONE_REGISTRY;
        if !has_room {
            tracing::warn!(%source, "too many rights are being checked; who asks again is heard again");
        }
        (has_room && all.insert(key.clone())).then(|| Self { key, waiting: Arc::clone(waiting) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Rights {
    /// Rights as they stand in `ledger`, and the proofs that are asked for from now on.
    pub(crate) fn new(ledger: Ledger) -> (Self, mpsc::Receiver<Proof>) {
        let (proofs, asked_for) = mpsc::channel(MAX_PROOFS);
        (Self { ledger, proofs, waiting: Waiting::default() }, asked_for)
    }

    /// Where somebody stands with `source`: from memory, or by one read of the ledger.
    pub(crate) async fn standing(
        &self,
        source: &ImageReference,
        who: &Who,
    ) -> Result<Standing, LedgerError> {
        let grants = self.ledger.grants(&source.into()).await?;
        Ok(self.judge(&grants, who))
    }

    fn judge(&self, grants: &Grants, who: &Who) -> Standing {
        let (now, remember) = (self.ledger.now(), self.ledger.remember());
        grants.standing(&who.identity(), who.changed_at(now), now, remember)
    }

    /// Has it found out whether `source` is shown to them, unless that is under way.
    pub(crate) fn prove(&self, source: &ImageReference, who: &Who) {
        if let Some(place) = Place::take(&self.waiting, source, who.identity()) {
            let proof = Proof { source: source.clone(), who: who.clone(), _place: place };
            // There is room for all that have a place. It is closed when the replicator ends.
            let _ = self.proofs.try_send(proof);
        }
    }

    /// What is to be written down of what `source` said to them. `changed_at` is since when they
    /// were who they are when they asked; if they are others meanwhile it says nothing.
    pub(crate) fn finding(
        &self,
        source: &ImageReference,
        who: &Who,
        changed_at: Option<Timestamp>,
        verdict: Verdict,
    ) -> Option<Finding> {
        let identity = who.identity();
        match &verdict {
            Verdict::Allowed => tracing::debug!(%source, who = %identity, "shown by its source"),
            Verdict::Denied(reason) | Verdict::Unanswered(reason) => {
                tracing::info!(%source, who = %identity, reason, "not shown by its source");
            }
        }
        (self.changed_at(who) == changed_at).then_some(Finding { identity, verdict, changed_at })
    }

    /// Writes down what `source` said. Lost where it cannot be written: it is asked again then.
    pub(crate) async fn learn(&self, source: &ImageReference, finding: Finding) {
        if let Err(error) = self.ledger.learn(source.into(), finding).await {
            tracing::error!(%source, %error, "what a source said of a right could not be written");
        }
    }

    /// What is to be asked of a source, now that the turn of a proof has come: without
    /// credentials, and as who they are.
    pub(crate) async fn open_questions(&self, proof: &Proof) -> (bool, bool) {
        let grants = self.ledger.grants(&SourceName::from(&proof.source)).await.unwrap_or_default();
        let is_due = self.judge(&grants, &proof.who).is_due;
        match proof.who.identity() {
            Identity::Anonymous => (is_due, false),
            Identity::Named(_) | Identity::Namespace(..) => {
                let (now, remember) = (self.ledger.now(), self.ledger.remember());
                // Who is not known yet has no credentials to ask with, and would be told a no.
                (grants.may_be_public(now, remember), is_due && !proof.who.is_unread())
            }
        }
    }

    /// Since when they are not who they were at the start.
    pub(crate) fn changed_at(&self, who: &Who) -> Option<Timestamp> {
        who.changed_at(self.ledger.now())
    }
}

#[cfg(test)]
mod tests;
