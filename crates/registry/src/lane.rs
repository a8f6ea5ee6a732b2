//! The way to one registry: how many requests at once and a second, whether it asked us to
//! wait, whether it is there at all, and what it says is left of our quota.
//!
//! Reads and writes have permits of their own. A copy holds a write while it waits for a read,
//! and never the other way round; so the holder of a read waits for nobody, and no two copies
//! can wait for each other, between any two registries or within one.

mod circuit;
mod pace;
mod permits;
mod quota;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use protocol::Registry;
use tokio::time::{Instant, sleep_until};

pub use circuit::{CircuitPolicy, CircuitState};
pub(crate) use permits::Permit;
pub use quota::Quota;

use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind};
use crate::meter::{Meter, Traffic};
use circuit::{Attempt, Circuit, Refused};
use pace::Pace;
use permits::Permits;

/// The way to one registry.
pub(crate) struct Lane {
    registry: Registry,
    permits: Permits,
    pace: Option<Pace>,
    circuit: Circuit,
    notes: Mutex<Notes>,
    meter: Arc<Meter>,
    /// The longest pause that is waited out in here.
    max_wait: Duration,
}

/// What the registry said.
#[derive(Default)]
struct Notes {
    closed_until: Option<Instant>,
    quota: Option<Quota>,
}

/// One registry as the client sees it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryStatus {
    /// The registry.
    pub registry: Registry,
    /// Requests under way, reads and writes together.
    pub in_flight: usize,
    /// Requests that it gets at once, reads and writes each: less than configured while it
    /// recovers from overload.
    pub allowed: usize,
    /// How long nothing is sent yet, since it asked for that.
    pub paused_for: Option<Duration>,
    /// Whether it is taken for dead.
    pub circuit: CircuitState,
    /// What it last said of its rate limit.
    pub quota: Option<Quota>,
    /// What went to it and came from it.
    pub traffic: Traffic,
}

/// Why a request is not sent now.
#[derive(Debug)]
pub(crate) enum Closed {
    /// The registry asked for a pause that is longer than anybody waits here.
    Paused(Duration),
    /// It seems to be dead.
    Dead(Refused),
}

impl From<Refused> for Closed {
    fn from(refused: Refused) -> Self {
        Self::Dead(refused)
    }
}

/// A request under way, whose end is to be told to the lane.
pub(crate) struct Pass<'a> {
    lane: &'a Lane,
    attempt: Attempt<'a>,
    round: u64,
}

impl Lane {
    pub(crate) fn new(registry: &Registry, config: &ClientConfig) -> Self {
        let special = config.registries.get(registry);
        Self {
            registry: registry.clone(),
            permits: Permits::new(config.requests_at_once(registry)),
            pace: special.and_then(|special| special.requests_per_second).map(Pace::new),
            circuit: Circuit::new(config.circuit),
            notes: Mutex::default(),
            meter: Arc::default(),
            max_wait: config.retry.max_wait,
        }
    }

    /// A permit for one request, in the order of asking. Given back when dropped. Nobody queues
    /// for a registry that is dead.
    pub(crate) async fn enter(&self, method: &Method) -> Result<Permit, Closed> {
        self.circuit.settled().await?;
        Ok(self.permits.acquire(method).await)
    }

    /// Whether a request would fail at once, since the registry did not answer the last few.
    pub(crate) fn is_dead(&self) -> bool {
        self.circuit.check().is_err()
    }

    /// Lets a request go that has a permit: when the registry's pause is over, at its pace, and
    /// only if it is not dead.
    pub(crate) async fn pass(&self) -> Result<Pass<'_>, Closed> {
        self.wait_out_pause().await?;
        if let Some(pace) = &self.pace {
            pace.turn().await;
            self.wait_out_pause().await?;
        }
        Ok(Pass { lane: self, attempt: self.circuit.begin().await?, round: self.permits.round() })
    }

    /// Nobody passes for `pause`: the registry asked for it.
    pub(crate) fn close_for(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut notes = self.notes();
        notes.closed_until = Some(notes.closed_until.map_or(until, |before| before.max(until)));
    }

    /// Keeps what an answer of the registry says of its rate limit.
    pub(crate) fn note_quota(&self, headers: &HeaderMap) {
        let Some(quota) = Quota::of(headers) else { return };
        let (is_low, remaining, limit) = (quota.is_low(), quota.remaining, quota.limit);
        let before = self.notes().quota.replace(quota);
        if is_low && !before.is_some_and(|before| before.is_low()) {
            let registry = &self.registry;
            tracing::warn!(%registry, remaining, limit, "less than 10 % of the rate limit is left");
        }
    }

    pub(crate) fn status(&self) -> RegistryStatus {
        let quota = self.notes().quota.clone();
        RegistryStatus {
            registry: self.registry.clone(),
            in_flight: self.permits.in_flight(),
            allowed: self.permits.allowed(),
            paused_for: self.pause().map(|until| until.duration_since(Instant::now())),
            circuit: self.circuit.state(),
            quota,
            traffic: self.meter.traffic(),
        }
    }

    /// Counts what goes this way.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    async fn wait_out_pause(&self) -> Result<(), Closed> {
        while let Some(until) = self.pause() {
            let left = until.duration_since(Instant::now());
            if left > self.max_wait {
                return Err(Closed::Paused(left));
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    fn pause(&self) -> Option<Instant> {
        self.notes().closed_until.filter(|until| *until > Instant::now())
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The registry, or whom it sent us to, answered.
    pub(crate) fn answered(self, status: StatusCode) {
        let Self { lane, attempt, round } = self;
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                lane.permits.halve(round);
            }
            _ if status.is_server_error() => {}
            _ => lane.permits.succeed(),
        }
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            lane.failed(attempt, &status.to_string());
        } else {
            lane.alive(attempt);
        }
    }

    /// No answer came. With a body of ours under way it may have broken on our side.
    pub(crate) fn broke(self, error: &Error, had_stream: bool) {
        match error.kind() {
            ErrorKind::Unreachable if had_stream => {}
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Server => {
                self.lane.failed(self.attempt, error.message());
            }
            _ if error.status().is_some() => self.lane.alive(self.attempt),
            _ => {}
        }
    }
}

impl Lane {
    fn alive(&self, attempt: Attempt<'_>) {
        if attempt.answered() {
            tracing::info!(registry = %self.registry, "the registry answers again");
        }
    }

    fn failed(&self, attempt: Attempt<'_>, reason: &str) {
        if let Some(pause) = attempt.failed(reason) {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let registry = &self.registry;
            tracing::warn!(%registry, reason, pause_ms, "the registry does not answer, and is left alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(max_wait: Duration) -> Lane {
        let mut config = ClientConfig::default();
        config.retry.max_wait = max_wait;
        Lane::new(&"r.example".parse().unwrap(), &config)
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_up() {
        let lane = lane(Duration::from_secs(1));
        lane.close_for(Duration::from_millis(50));
        lane.close_for(Duration::from_millis(10));
        let until = lane.notes().closed_until.unwrap();
        assert!(lane.status().paused_for.is_some());
        assert!(lane.pass().await.is_ok());
        assert!(Instant::now() >= until);
        assert_eq!(lane.status().paused_for, None);
    }

    #[tokio::test]
    async fn a_long_pause_is_the_callers_matter() {
        let lane = lane(Duration::from_secs(1));
        lane.close_for(Duration::from_secs(60));
        let closed = lane.pass().await.map(drop).unwrap_err();
        assert!(matches!(closed, Closed::Paused(left) if left > Duration::from_secs(50)));
    }

    #[tokio::test]
    async fn answers_below_500_are_signs_of_life_and_501_is_one() {
        for (status, fails) in [(500, true), (503, true), (429, false), (404, false), (501, false)]
        {
            let lane = lane(Duration::ZERO);
            for _ in 0..5 {
                lane.pass().await.unwrap().answered(StatusCode::from_u16(status).unwrap());
            }
            let expected = if fails { CircuitState::Open } else { CircuitState::Closed };
            assert_eq!(lane.status().circuit, expected, "{status}");
        }
    }
}
