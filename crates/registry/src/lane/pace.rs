//! How many requests a second a registry gets, where somebody set that.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

/// The pace of one registry. After a rest as many may go at once as in a second.
pub(crate) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>,
    /// One waits for the limiter at a time, in the order of asking.
    queue: Semaphore,
}

impl Pace {
    pub(crate) fn new(requests_per_second: NonZeroU32) -> Self {
        let clock = SinceStart(Instant::now());
        let quota = Quota::per_second(requests_per_second);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock), queue: Semaphore::new(1) }
    }

    /// Waits for one request's turn.
    pub(crate) async fn turn(&self) {
        let _first = self.queue.acquire().await.expect("nobody closes the queue");
        while let Err(too_early) = self.limiter.check() {
            sleep(too_early.wait_time_from(self.limiter.clock().now())).await;
        }
    }
}

/// Tokio's clock, which tests can turn.
#[derive(Clone)]
struct SinceStart(Instant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn after_a_rest_as_many_go_as_in_a_second() {
        let pace = Pace::new(NonZeroU32::new(2).unwrap());
        assert!(pace.turn().now_or_never().is_some());
        assert!(pace.turn().now_or_never().is_some());
        let mut third = Box::pin(pace.turn());
        let mut fourth = Box::pin(pace.turn());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(fourth.as_mut().now_or_never().is_none());
        // One that gives up does not hold up the next.
        drop(third);
        fourth.await;
    }
}
