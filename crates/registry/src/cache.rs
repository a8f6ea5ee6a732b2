//! Values that are fetched once however many wait for them, and kept for as long as they are
//! good. What they are (tokens, helpers' answers) it does not know.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Values by key, at most `cap` beside those in use.
pub(crate) struct Cache<K, V, E> {
    cap: usize,
    slots: Mutex<HashMap<K, Arc<Slot<V, E>>>>,
}

/// A value as it was found.
#[derive(Clone)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// Until when it is good.
    pub(crate) until: Instant,
    /// It was fetched after it was asked for, so it is no older than the question.
    pub(crate) fresh: bool,
}

/// The place of one value.
struct Slot<V, E> {
    /// Held by whoever fetches.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Last<V, E>>,
}

/// What came of the last fetch, and how many there were: who waited tells by it whether there
/// was one in the meantime.
struct Last<V, E> {
    fetches: u64,
    outcome: Option<Result<(V, Instant), E>>,
}

impl<K: Clone + Eq + Hash, V: Clone, E: Clone> Cache<K, V, E> {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, slots: Mutex::default() }
    }

    /// The value for a key. Where it is not here, one caller runs `fetch`, which says until when
    /// its value is good; those who waited meanwhile get what came of it, an error too.
    pub(crate) async fn get(
        &self,
        key: K,
        fetch: impl Future<Output = Result<(V, Instant), E>>,
    ) -> Result<Found<V>, E> {
        let slot = self.slot(key);
        let seen = {
            let last = slot.last();
            if let Some(Ok((value, until))) = &last.outcome
                && *until > Instant::now()
            {
                return Ok(Found { value: value.clone(), until: *until, fresh: false });
            }
            last.fetches
        };
        let fresh = |(value, until)| Found { value, until, fresh: true };
        let _turn = slot.turn.lock().await;
        {
            let last = slot.last();
            if let (true, Some(outcome)) = (last.fetches != seen, &last.outcome) {
                return outcome.clone().map(fresh);
            }
        }
        let outcome = fetch.await;
        let mut last = slot.last();
        last.fetches += 1;
        last.outcome = Some(outcome.clone());
        outcome.map(fresh)
    }

    /// Forgets a value, where it is still the one that is meant.
    pub(crate) fn forget(&self, key: &K, is_meant: impl FnOnce(&V) -> bool) {
        let slot = self.slots().get(key).map(Arc::clone);
        let Some(slot) = slot else { return };
        let mut last = slot.last();
        if let Some(Ok((value, _))) = &last.outcome
            && is_meant(value)
        {
            last.outcome = None;
        }
    }

    fn slot(&self, key: K) -> Arc<Slot<V, E>> {
        let mut slots = self.slots();
        if slots.len() >= self.cap && !slots.contains_key(&key) {
            let first_to_go = slots.iter().min_by_key(|(_, slot)| {
                (Arc::strong_count(slot) > 1, slot.last().outcome.as_ref().and_then(ends))
            });
            if let Some(key) = first_to_go.map(|(key, _)| key.clone()) {
                slots.remove(&key);
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot<V, E>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ends<V, E>(outcome: &Result<(V, Instant), E>) -> Option<Instant> {
    outcome.as_ref().ok().map(|(_, until)| *until)
}

impl<V, E> Slot<V, E> {
    fn last(&self) -> MutexGuard<'_, Last<V, E>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V, E> Default for Slot<V, E> {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            last: Mutex::new(Last { fetches: 0, outcome: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::future::join_all;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct World {
        cache: Cache<u32, u32, &'static str>,
        fetches: AtomicU32,
    }

    impl World {
        fn new(cap: usize) -> Self {
            Self { cache: Cache::new(cap), fetches: AtomicU32::new(0) }
        }

        /// Asks for a key; a fetch gives the number of fetches so far, good for `life`.
        async fn get(&self, key: u32, life: Duration) -> Result<Found<u32>, &'static str> {
            let fetch = async {
                tokio::task::yield_now().await;
                let count = self.fetches.fetch_add(1, Ordering::Relaxed) + 1;
                Ok((count, Instant::now() + life))
            };
            self.cache.get(key, fetch).await
        }
    }

    #[tokio::test]
    async fn many_who_wait_get_what_one_fetched() {
        let world = World::new(8);
        let all = join_all((0..50).map(|_| world.get(1, HOUR))).await;
        assert!(all.into_iter().all(|found| found.is_ok_and(|found| found.value == 1)));
        let later = world.get(1, HOUR).await.unwrap();
        assert_eq!((later.value, later.fresh), (1, false));
    }

    /// Even what is good for no time at all serves those who waited for it.
    #[tokio::test]
    async fn a_value_that_ended_is_fetched_anew_by_whoever_comes_later() {
        let world = World::new(8);
        let all = join_all((0..50).map(|_| world.get(1, Duration::ZERO))).await;
        assert!(all.into_iter().all(|found| found.is_ok_and(|found| found.value == 1)));
        assert_eq!(world.get(1, Duration::ZERO).await.unwrap().value, 2);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_waited_and_not_kept() {
        let world = World::new(8);
        let fails = || {
            world.cache.get(1, async {
                tokio::task::yield_now().await;
                world.fetches.fetch_add(1, Ordering::Relaxed);
                Err("no")
            })
        };
        let all = join_all((0..50).map(|_| fails())).await;
        assert!(all.into_iter().all(|found| found.is_err_and(|error| error == "no")));
        assert_eq!(world.fetches.load(Ordering::Relaxed), 1);
        assert_eq!(world.get(1, HOUR).await.unwrap().value, 2);
    }

    /// Whoever fetched may be cut off: the next one who waits takes the turn.
    #[tokio::test]
    async fn a_fetch_that_is_dropped_is_made_by_the_next() {
        let world = World::new(8);
        let never = world.cache.get(1, std::future::pending());
        let waits = world.get(1, HOUR);
        let (cut, found) = tokio::join!(tokio::time::timeout(Duration::ZERO, never), waits);
        assert!(cut.is_err());
        assert_eq!(found.unwrap().value, 1);
    }

    #[tokio::test]
    async fn only_the_value_that_is_meant_is_forgotten() {
        let world = World::new(8);
        world.get(1, HOUR).await.unwrap();
        world.cache.forget(&1, |value| *value == 7);
        assert_eq!(world.get(1, HOUR).await.unwrap().value, 1);
        world.cache.forget(&1, |value| *value == 1);
        assert_eq!(world.get(1, HOUR).await.unwrap().value, 2);
    }

    #[tokio::test]
    async fn when_it_is_full_what_ends_first_goes() {
        let world = World::new(2);
        world.get(1, HOUR).await.unwrap();
        world.get(2, HOUR * 2).await.unwrap();
        world.get(3, HOUR).await.unwrap();
        assert_eq!(world.cache.slots().len(), 2);
        assert_eq!(world.get(2, HOUR).await.unwrap().value, 2);
        assert_eq!(world.get(1, HOUR).await.unwrap().value, 4);
    }
}
