//! One transfer of a blob to a registry at a time: whoever comes second waits, and then finds
//! the blob there, or in another repository to mount it from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Digest, Registry};
use tokio::sync::OwnedMutexGuard;

type Key = (Registry, Digest);
type Turns = Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>;

/// The transfers that are under way.
#[derive(Default)]
pub(crate) struct Flights {
    turns: Arc<Turns>,
}

/// The right to transfer one blob, until dropped.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits for the transfer of this blob that is under way, if one is.
    pub(crate) async fn turn(&self, registry: &Registry, digest: &Digest) -> Turn {
        let key = (registry.clone(), digest.clone());
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        // Made before the wait, so that a waiter who gives up tidies up as well.
        let mut turn = Turn { turns: Arc::clone(&self.turns), key, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Who holds or waits for the lock has a count of its own.
        if turns.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use testkit::digest_of;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nothing_is_left() {
        let flights = Flights::default();
        let (registry, digest) = ("r.example".parse().unwrap(), digest_of(b"a"));
        let first = flights.turn(&registry, &digest).await;
        let other = digest_of(b"b");
        drop(flights.turn(&registry, &other).await);
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, flights.turn(&registry, &digest)).await.is_err());
        drop(first);
        drop(flights.turn(&registry, &digest).await);
        assert!(flights.turns.lock().unwrap().is_empty());
    }
}
