//! How much of the target each namespace may have: between the ledger, which knows what is kept
//! there and on whose behalf, and copies, which want more. Knows no registry.
//!
//! A copy is paid for by the namespace that it is made for. Where that one has no room for it, but
//! the replica is there, who pays for it now does so for the new one as well: what another
//! namespace asks for shall cost nobody what they have. What a replica counts already is no
//! obstacle to a new one in its place.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use copy::{NoRoom, Room};
use futures::FutureExt;
use futures::future::BoxFuture;
use indicatif::HumanBytes;
use protocol::{ImageReference, Namespace};

use crate::ledger::charge::Charge;
use crate::ledger::record::Record;
use crate::ledger::{Ledger, LedgerError};

/// What namespaces may have. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quota {
    ledger: Ledger,
    /// For each namespace; None where nobody limits it.
    most_bytes: Option<NonZeroU64>,
    under_way: Arc<UnderWay>,
}

/// What copies of this process take. It counts from the moment on in which a copy gets it until
/// its end is written down, in place of what the ledger has of the same source.
#[derive(Default)]
struct UnderWay {
    /// Held by who asks the ledger and then takes, so that no two take the same room.
    turn: tokio::sync::Mutex<()>,
    taken: Mutex<Taken>,
}

/// By source and claim: one that was lost to another replicator may run here still.
type Taken = HashMap<(ImageReference, u64), Charge>;

impl Quota {
    /// At most so much for each namespace.
    pub(crate) fn new(ledger: Ledger, most_bytes: Option<NonZeroU64>) -> Self {
        Self { ledger, most_bytes, under_way: Arc::default() }
    }

    /// The part of it that the copy of a claimed `record` takes. The caller keeps it until the
    /// copy's end is on record.
    pub(crate) fn share(&self, record: &Record) -> Arc<Share> {
        Arc::new(Share {
            quota: self.clone(),
            claim: (record.source.clone(), record.claims),
            namespace: record.namespace.clone(),
            before: record.charge.clone(),
        })
    }
}

/// What one copy takes; given back when it is dropped.
pub(crate) struct Share {
    quota: Quota,
    claim: (ImageReference, u64),
    /// For whom the copy is made.
    namespace: Namespace,
    /// What the replica counts so far, and for whom.
    before: Option<Charge>,
}

impl Share {
    /// What was taken, and for whom; None where the copy asked for nothing.
    pub(crate) fn charge(&self) -> Option<Charge> {
        self.taken(|taken| taken.get(&self.claim).cloned())
    }

    fn taken<T>(&self, with: impl FnOnce(&mut Taken) -> T) -> T {
        with(&mut self.quota.under_way.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn take_for_somebody(&self, bytes: u64) -> Result<(), NoRoom> {
        let _turn = self.quota.under_way.turn.lock().await;
        let payer = self.payer(bytes).await?.clone();
        let charge = Charge { namespace: payer, bytes };
        self.taken(|taken| taken.insert(self.claim.clone(), charge));
        Ok(())
    }

    /// Who pays for a replica of so many bytes.
    async fn payer(&self, bytes: u64) -> Result<&Namespace, NoRoom> {
        let Some(most_bytes) = self.quota.most_bytes else { return Ok(&self.namespace) };
        let asker = self.account(&self.namespace).await?;
        if asker.has_room_for(bytes, most_bytes) {
            return Ok(asker.namespace);
        }
        let before = self.before.as_ref().filter(|before| before.namespace != self.namespace);
        if let Some(before) = before {
            let payer = self.account(&before.namespace).await?;
            if payer.has_room_for(bytes, most_bytes) {
                return Ok(payer.namespace);
            }
        }
        // Who pays now is none of the asker's business.
        Err(NoRoom::Full(asker.refusal(bytes, most_bytes)))
    }

    async fn account<'a>(&self, namespace: &'a Namespace) -> Result<Account<'a>, NoRoom> {
        let (sources, copying_bytes) = self.taken(|taken| {
            let others = taken
                .iter()
                .filter(|(claim, charge)| **claim != self.claim && charge.namespace == *namespace);
            let bytes = others.clone().map(|(_, charge)| charge.bytes).sum::<u64>();
            let sources = others.map(|(claim, _)| claim).chain([&self.claim]);
            (sources.map(|(source, _)| source.clone()).collect::<Vec<_>>(), bytes)
        });
        let kept = self.quota.ledger.charged(namespace, &sources).await;
        let others_bytes = kept.map_err(|error| unknown(namespace, &error))? + copying_bytes;
        let before = self.before.as_ref().filter(|before| before.namespace == *namespace);
        let own_bytes = before.map_or(0, |before| before.bytes);
        Ok(Account { namespace, others_bytes, own_bytes })
    }
}

impl Room for Share {
    fn take(&self, bytes: u64) -> BoxFuture<'_, Result<(), NoRoom>> {
        self.take_for_somebody(bytes).boxed()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken(|taken| taken.remove(&self.claim));
    }
}

/// What a namespace has.
struct Account<'a> {
    namespace: &'a Namespace,
    /// Of the replica that is copied, so far.
    own_bytes: u64,
    /// Of all others, those that are being copied included.
    others_bytes: u64,
}

impl Account<'_> {
    /// Whether the replica may have so many bytes. Where the limit was lowered, what does not grow
    /// is no matter.
    fn has_room_for(&self, bytes: u64, most_bytes: NonZeroU64) -> bool {
        bytes <= self.own_bytes || self.others_bytes.saturating_add(bytes) <= most_bytes.get()
    }

    fn refusal(&self, bytes: u64, most_bytes: NonZeroU64) -> String {
        let has = HumanBytes(self.others_bytes + self.own_bytes);
        let more = HumanBytes(bytes - self.own_bytes);
        format!(
            "namespace {} has {has} of replicas, those being copied included, and may have {} \
             (tenancy.namespace_bytes): this image would take {more} more; let images go by \
             retention, or raise the limit",
            self.namespace,
            HumanBytes(most_bytes.get()),
        )
    }
}

fn unknown(namespace: &Namespace, error: &LedgerError) -> NoRoom {
    NoRoom::Unknown(format!("what namespace {namespace} has could not be found out: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_limit_was_lowered_what_is_there_may_be_made_anew() {
        let namespace = "shop".parse().unwrap();
        let account = Account { namespace: &namespace, own_bytes: 50, others_bytes: 100 };
        let most_bytes = NonZeroU64::new(120).unwrap();
        assert!(account.has_room_for(20, most_bytes) && account.has_room_for(50, most_bytes));
        assert!(!account.has_room_for(51, most_bytes));
        assert!(!account.has_room_for(u64::MAX, most_bytes));
    }
}
