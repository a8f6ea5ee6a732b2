//! How many requests a registry gets at once: fewer when it is overloaded, more again as it
//! recovers (additive increase, multiplicative decrease).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::SUCCESSES_PER_PERMIT;

/// The permits of one registry, for reads and writes each. They go out in the order of asking.
pub(crate) struct Permits {
    shared: Arc<Shared>,
}

struct Shared {
    /// What is allowed to a registry that never was overloaded.
    most: usize,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    allowed: usize,
    /// Permits that are out beyond `allowed`, and vanish when they are given back.
    surplus: Surplus,
    /// Requests that went well since `allowed` last changed.
    successes: u32,
    /// How often `allowed` was halved.
    round: u64,
}

#[derive(Default)]
struct Surplus {
    reads: usize,
    writes: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
}

impl Surplus {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }
}

/// The right to one request. Given back when dropped.
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    kind: Kind,
    shared: Arc<Shared>,
}

impl Permits {
    /// `most` is at least 1.
    pub(crate) fn new(most: usize) -> Self {
        let shared = Shared {
            most,
            reads: Arc::new(Semaphore::new(most)),
            writes: Arc::new(Semaphore::new(most)),
            state: Mutex::new(State {
                allowed: most,
                surplus: Surplus::default(),
                successes: 0,
                round: 0,
            }),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) async fn acquire(&self, method: &Method) -> Permit {
        let kind = match *method {
            Method::GET | Method::HEAD => Kind::Read,
            _ => Kind::Write,
        };
        let permit = Arc::clone(self.shared.semaphore(kind)).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphores");
        Permit { permit: Some(permit), kind, shared: Arc::clone(&self.shared) }
    }

    /// What [`Permits::halve`] wants to know of a request when it begins.
    pub(crate) fn round(&self) -> u64 {
        self.shared.state().round
    }

    /// A request that began in `round` was too much. What was refused together is one sign of
    /// overload, so it halves once.
    pub(crate) fn halve(&self, round: u64) {
        let state = &mut *self.shared.state();
        state.successes = 0;
        if round != state.round {
            return;
        }
        state.round += 1;
        let fewer = state.allowed - (state.allowed / 2).max(1);
        state.allowed -= fewer;
        for kind in [Kind::Read, Kind::Write] {
            let gone = self.shared.semaphore(kind).forget_permits(fewer);
            *state.surplus.of(kind) += fewer - gone;
        }
    }

    /// A request went well.
    pub(crate) fn succeed(&self) {
        let state = &mut *self.shared.state();
        if state.allowed == self.shared.most {
            return;
        }
        state.successes += 1;
        if state.successes < SUCCESSES_PER_PERMIT {
            return;
        }
        state.successes = 0;
        state.allowed += 1;
        for kind in [Kind::Read, Kind::Write] {
            match state.surplus.of(kind) {
                0 => self.shared.semaphore(kind).add_permits(1),
                surplus => *surplus -= 1,
            }
        }
    }

    /// Requests at once, for reads and writes each.
    pub(crate) fn allowed(&self) -> usize {
        self.shared.state().allowed
    }

    /// Permits that are out, reads and writes together.
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.shared.state();
        let all = 2 * state.allowed + state.surplus.reads + state.surplus.writes;
        let left = self.shared.reads.available_permits() + self.shared.writes.available_permits();
        all.saturating_sub(left)
    }
}

impl Shared {
    fn semaphore(&self, kind: Kind) -> &Arc<Semaphore> {
        match kind {
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Under the lock, so that nobody else sees the permit and the surplus at once.
        let mut state = self.shared.state();
        let permit = self.permit.take();
        if let (Some(permit), surplus @ 1..) = (permit, state.surplus.of(self.kind)) {
            *surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn take(permits: &Permits, method: &Method) -> Option<Permit> {
        permits.acquire(method).now_or_never()
    }

    /// Case 36: given back on drop, and reads do not wait for writes.
    #[test]
    fn permits_come_back_when_dropped() {
        let permits = Permits::new(1);
        let write = take(&permits, &Method::PUT);
        assert!(write.is_some() && take(&permits, &Method::POST).is_none());
        assert!(take(&permits, &Method::GET).is_some());
        assert_eq!(permits.in_flight(), 1);
        drop(write);
        assert!(take(&permits, &Method::PUT).is_some());
        assert_eq!(permits.in_flight(), 0);
    }

    #[test]
    fn who_asks_first_is_served_first() {
        let permits = Permits::new(1);
        let held = take(&permits, &Method::GET);
        let mut first = Box::pin(permits.acquire(&Method::GET));
        let mut second = Box::pin(permits.acquire(&Method::GET));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(held);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[test]
    fn overload_halves_also_what_is_out() {
        let permits = Permits::new(8);
        let held: Vec<_> = (0..6).filter_map(|_| take(&permits, &Method::GET)).collect();
        permits.halve(permits.round());
        assert_eq!((permits.allowed(), permits.in_flight()), (4, 6));
        assert!(take(&permits, &Method::GET).is_none());
        drop(held);
        assert_eq!((permits.allowed(), permits.in_flight()), (4, 0));
        let held: Vec<_> = (0..8).filter_map(|_| take(&permits, &Method::GET)).collect();
        assert_eq!(held.len(), 4);
    }

    #[test]
    fn what_was_refused_together_halves_once_and_never_to_nothing() {
        let permits = Permits::new(16);
        let round = permits.round();
        (0..10).for_each(|_| permits.halve(round));
        assert_eq!(permits.allowed(), 8);
        (0..10).for_each(|_| permits.halve(permits.round()));
        assert_eq!(permits.allowed(), 1);
        assert!(take(&permits, &Method::PUT).is_some());
    }

    #[test]
    fn successes_give_back_one_by_one_and_no_more_than_there_were() {
        let permits = Permits::new(3);
        permits.halve(permits.round());
        let held: Vec<_> = (0..3).filter_map(|_| take(&permits, &Method::GET)).collect();
        assert_eq!((permits.allowed(), held.len()), (1, 1));
        (1..SUCCESSES_PER_PERMIT).for_each(|_| permits.succeed());
        assert_eq!(permits.allowed(), 1);
        permits.succeed();
        assert_eq!(permits.allowed(), 2);
        assert!(take(&permits, &Method::GET).is_some());
        (0..10 * SUCCESSES_PER_PERMIT).for_each(|_| permits.succeed());
        assert_eq!(permits.allowed(), 3);
        drop(held);
        let held: Vec<_> = (0..9).filter_map(|_| take(&permits, &Method::GET)).collect();
        assert_eq!(held.len(), 3);
    }
}
