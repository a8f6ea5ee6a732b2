//! Leaves a dead registry in peace: after some failures in a row nothing is sent to it for a
//! while, then a single request finds out whether it is back. Others that come meanwhile wait for
//! what it finds, though not for long.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// When a registry is taken for dead, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CircuitPolicy {
    /// Failures in a row that open the circuit: no connection, silence, or a status of 5xx.
    pub failures: u32,
    /// The longest time for which it is open at first; doubled with each failed probe.
    pub min_open: Duration,
    /// The longest time of all.
    pub max_open: Duration,
}

impl Default for CircuitPolicy {
    fn default() -> Self {
        Self {
            failures: limits::CIRCUIT_FAILURES,
            min_open: limits::MIN_CIRCUIT_OPEN,
            max_open: limits::MAX_CIRCUIT_OPEN,
        }
    }
}

/// What a circuit lets happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Requests go.
    Closed,
    /// The registry failed too often: requests fail at once.
    Open,
    /// One request finds out whether it is back; others wait for that, or fail.
    HalfOpen,
}

/// The circuit of one registry.
pub(super) struct Circuit {
    policy: CircuitPolicy,
    state: Mutex<State>,
    /// Tells those who wait that no probe is under way any more.
    probed: Notify,
}

#[derive(Default)]
struct State {
    /// In a row. What failed together counts once.
    failures: u32,
    /// Why the last of them did.
    reason: String,
    open: Open,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    #[default]
    No,
    /// Nothing is sent until then.
    Until(Instant),
    /// One request is on its way.
    Probing,
}

/// Nothing is sent: the registry failed too often.
#[derive(Debug)]
pub(crate) struct Refused {
    /// When to ask again.
    pub(crate) after: Duration,
    failures: u32,
    reason: String,
    is_probing: bool,
}

/// A request that may go. Dropped before its end is known it has found out nothing.
pub(super) struct Attempt<'a> {
    circuit: &'a Circuit,
    /// Failures when it began.
    failures: u32,
    is_probe: bool,
}

impl Circuit {
    pub(super) fn new(policy: CircuitPolicy) -> Self {
        Self { policy, state: Mutex::default(), probed: Notify::new() }
    }

    /// Whether a request may go now.
    pub(super) fn check(&self) -> Result<(), Refused> {
        self.check_in(&self.lock())
    }

    /// The same when no probe is under way any more.
    pub(super) async fn settled(&self) -> Result<(), Refused> {
        self.after_probe(|| self.check()).await
    }

    /// Lets a request go; the first one after the pause as the probe.
    pub(super) async fn begin(&self) -> Result<Attempt<'_>, Refused> {
        self.after_probe(|| self.begin_now()).await
    }

    fn begin_now(&self) -> Result<Attempt<'_>, Refused> {
        let mut state = self.lock();
        self.check_in(&state)?;
        let is_probe = state.open != Open::No;
        if is_probe {
            state.open = Open::Probing;
        }
        Ok(Attempt { circuit: self, failures: state.failures, is_probe })
    }

    /// What `ask` says when the probe under way has found out, for which nobody waits longer
    /// than a circuit is open. Were its companions refused at once, a copy that asks for two
    /// things together would fail of the second, drop the probe with it, and never find out.
    async fn after_probe<T>(&self, ask: impl Fn() -> Result<T, Refused>) -> Result<T, Refused> {
        let patience = Instant::now() + self.policy.min_open;
        loop {
            let probed = self.probed.notified();
            match ask() {
                Err(refused) if refused.is_probing && Instant::now() < patience => {
                    timeout_at(patience, probed).await.map_err(|_| refused)?;
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.lock().open {
            Open::No => CircuitState::Closed,
            Open::Until(_) => CircuitState::Open,
            Open::Probing => CircuitState::HalfOpen,
        }
    }

    fn check_in(&self, state: &State) -> Result<(), Refused> {
        let (after, is_probing) = match state.open {
            Open::No => return Ok(()),
            Open::Until(until) => (until.saturating_duration_since(Instant::now()), false),
            Open::Probing => (self.policy.min_open, true),
        };
        if after.is_zero() && !is_probing {
            return Ok(());
        }
        let (failures, reason) = (state.failures, state.reason.clone());
        Err(Refused { after, failures, reason, is_probing })
    }

    /// Jitter in the upper half: replicators that saw the same failure do not come back together.
    fn open_time(&self, failures: u32) -> Duration {
        let probes = failures.saturating_sub(self.policy.failures).min(16);
        let longest = self.policy.min_open.saturating_mul(1 << probes).min(self.policy.max_open);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The registry is there. True where that was not to be expected.
    pub(super) fn answered(self) -> bool {
        let mut state = self.circuit.lock();
        let was_open = state.open != Open::No;
        if state.failures > 0 {
            *state = State::default();
            self.circuit.probed.notify_waiters();
        }
        was_open
    }

    /// The registry failed. What began before the last failure was seen is part of that one.
    /// The time for which it is left alone where this opened the circuit.
    pub(super) fn failed(self, reason: &str) -> Option<Duration> {
        let mut state = self.circuit.lock();
        if state.failures != self.failures {
            return None;
        }
        state.failures = state.failures.saturating_add(1);
        reason.clone_into(&mut state.reason);
        if state.failures < self.circuit.policy.failures {
            return None;
        }
        let pause = self.circuit.open_time(state.failures);
        state.open = Open::Until(Instant::now() + pause);
        self.circuit.probed.notify_waiters();
        Some(pause)
    }
}

impl Drop for Attempt<'_> {
    /// A probe without a finding lets the next one go.
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut state = self.circuit.lock();
        if state.open == Open::Probing {
            state.open = Open::Until(Instant::now());
            self.circuit.probed.notify_waiters();
        }
    }
}

/// Follows the registry's name.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "did not answer {} times in a row (last: {}); ", self.failures, self.reason)?;
        if self.is_probing {
            return f.write_str("one request finds out whether it is back");
        }
        write!(f, "it is asked again in {} s", self.after.as_secs_f64().ceil())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens at the second failure.
    fn circuit(min_open: Duration) -> Circuit {
        Circuit::new(CircuitPolicy { failures: 2, min_open, max_open: min_open * 4 })
    }

    fn fail(circuit: &Circuit) -> Option<Duration> {
        circuit.begin_now().unwrap().failed("connection refused")
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let circuit = circuit(Duration::from_secs(60));
        assert_eq!(fail(&circuit), None);
        assert!(!circuit.begin_now().unwrap().answered());
        assert_eq!(fail(&circuit), None);
        let pause = fail(&circuit).unwrap();
        assert_eq!(circuit.state(), CircuitState::Open);
        let refused = circuit.begin_now().map(drop).unwrap_err();
        assert!(refused.after <= pause, "{refused:?}");
        let expected = format!(
            "did not answer 2 times in a row (last: connection refused); it is asked again in {} s",
            refused.after.as_secs_f64().ceil()
        );
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn one_probe_goes_and_its_answer_closes_it() {
        let circuit = circuit(Duration::ZERO);
        fail(&circuit);
        fail(&circuit);
        let probe = circuit.begin_now().unwrap();
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        let refused = circuit.begin_now().map(drop).unwrap_err().to_string();
        assert!(refused.ends_with("; one request finds out whether it is back"), "{refused}");
        assert!(probe.answered());
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(fail(&circuit), None);
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_a_dropped_one_lets_the_next_go() {
        let circuit = circuit(Duration::ZERO);
        fail(&circuit);
        fail(&circuit);
        assert!(fail(&circuit).is_some());
        drop(circuit.begin_now().unwrap());
        assert_eq!(circuit.state(), CircuitState::Open);
        assert!(circuit.begin_now().unwrap().answered());
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_the_cap() {
        let circuit = circuit(Duration::from_secs(10));
        for (failures, longest) in [(2, 10), (3, 20), (4, 40), (5, 40), (u32::MAX, 40)] {
            let pause = circuit.open_time(failures).as_secs_f64();
            let longest = f64::from(longest);
            assert!((longest / 2.0..=longest).contains(&pause), "{failures}: {pause}");
        }
    }

    #[test]
    fn what_failed_together_counts_once() {
        let circuit = circuit(Duration::from_secs(60));
        let together: Vec<_> = (0..9).map(|_| circuit.begin_now().unwrap()).collect();
        assert!(together.into_iter().all(|one| one.failed("reset").is_none()));
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(fail(&circuit).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn others_wait_for_what_the_probe_finds() {
        let circuit = circuit(Duration::from_secs(10));
        fail(&circuit);
        fail(&circuit);
        tokio::time::advance(Duration::from_secs(10)).await;
        let probe = circuit.begin_now().unwrap();
        // One that finds nothing is followed by one who waited, and that one by the next.
        let (first, second, ()) = tokio::join!(
            async { circuit.begin().await.unwrap().answered() },
            async { circuit.begin().await.unwrap().answered() },
            async { drop(probe) },
        );
        assert!(first != second, "one of them was the next probe");
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn others_are_refused_with_the_probe_or_when_it_takes_long() {
        let circuit = circuit(Duration::from_secs(10));
        fail(&circuit);
        fail(&circuit);
        tokio::time::advance(Duration::from_secs(10)).await;
        let probe = circuit.begin_now().unwrap();
        let refused = circuit.settled().await.unwrap_err();
        assert!(refused.is_probing, "{refused}");
        let (refused, failed) = tokio::join!(circuit.begin(), async { probe.failed("silence") });
        assert!(failed.is_some());
        assert!(!refused.map(drop).unwrap_err().is_probing);
    }
}
