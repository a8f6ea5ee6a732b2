//! How many requests one registry gets at once, and whether it asked us to wait.
//!
//! Reads and writes have permits of their own. A copy holds a write while it waits for a read,
//! and never the other way round; so the holder of a read waits for nobody, and no two copies
//! can wait for each other, between any two registries or within one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// The way to one registry.
pub(crate) struct Lane {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    closed_until: Mutex<Option<Instant>>,
    /// The longest pause that is waited out in here.
    max_wait: Duration,
}

/// Nobody is let in for this long, which is longer than anybody waits here.
#[derive(Debug)]
pub(crate) struct Closed(pub(crate) Duration);

impl Lane {
    pub(crate) fn new(permits: usize, max_wait: Duration) -> Self {
        Self {
            max_wait,
            reads: Arc::new(Semaphore::new(permits.max(1))),
            writes: Arc::new(Semaphore::new(permits.max(1))),
            closed_until: Mutex::new(None),
        }
    }

    /// A permit for one request, once the registry's pause is over. Given back when dropped.
    pub(crate) async fn enter(&self, method: &Method) -> Result<OwnedSemaphorePermit, Closed> {
        let semaphore = match *method {
            Method::GET | Method::HEAD => &self.reads,
            _ => &self.writes,
        };
        let permit =
            Arc::clone(semaphore).acquire_owned().await.expect("nobody closes a lane's semaphores");
        while let Some(until) = self.pause() {
            let left = until.duration_since(Instant::now());
            if left > self.max_wait {
                return Err(Closed(left));
            }
            sleep_until(until).await;
        }
        Ok(permit)
    }

    /// Nobody enters for `pause`: the registry asked for it.
    pub(crate) fn close_for(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = Some(closed.map_or(until, |before| before.max(until)));
    }

    fn pause(&self) -> Option<Instant> {
        let closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed.filter(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Case 36: given back on drop, and reads do not wait for writes.
    #[test]
    fn permits_come_back_when_dropped() {
        runtime().block_on(async {
            let lane = Lane::new(1, Duration::ZERO);
            let write = lane.enter(&Method::PUT).await;
            drop(lane.enter(&Method::GET).await);
            let waiting = tokio::time::timeout(Duration::from_millis(20), lane.enter(&Method::PUT));
            assert!(waiting.await.is_err());
            drop(write);
            assert!(lane.enter(&Method::PUT).await.is_ok());
        });
    }

    #[test]
    fn a_pause_holds_everybody_up() {
        runtime().block_on(async {
            let lane = Lane::new(4, Duration::from_secs(1));
            lane.close_for(Duration::from_millis(50));
            lane.close_for(Duration::from_millis(10));
            let begun = Instant::now();
            assert!(lane.enter(&Method::HEAD).await.is_ok());
            assert!(begun.elapsed() >= Duration::from_millis(50));
        });
    }

    #[test]
    fn a_long_pause_is_the_callers_matter() {
        runtime().block_on(async {
            let lane = Lane::new(1, Duration::from_secs(1));
            lane.close_for(Duration::from_secs(60));
            let Closed(left) = lane.enter(&Method::HEAD).await.unwrap_err();
            assert!(left > Duration::from_secs(50));
        });
    }
}
