//! How things stand, put together for people: what the ledger says, how far this replicator's
//! copies are, and what it knows of registries.

use registry::{CircuitState, Ending, RegistryStatus};

use super::Status;
use super::documents::{
    Copying, Counts, Failed, Failure, Health, LedgerHealth, Overview, Queue, Quota, RegistryHealth,
    Totals, Transfer, Waiting, Work,
};
use crate::board::Running;
use crate::ledger::overview::Overview as Found;
use crate::ledger::record::{self, Record, State};
use crate::ledger::work::{self, Owner};
use crate::ledger::{Figures, LedgerError};

impl Status {
    /// How things stand now.
    pub(super) async fn overview(&self) -> Result<Overview, LedgerError> {
        let found = self.ledger.overview().await?;
        let Found { figures, leased, copying, waiting, failed, stale, askers } = found;
        let counts = Counts::of(&figures);
        let me = self.ledger.owner();
        let copying = copying.iter().filter_map(|record| {
            Copying::of(record, |source, owner| {
                (owner == me).then(|| self.board().running(source)).flatten()
            })
        });
        Ok(Overview {
            now_ms: self.ledger.now().as_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replicator: me.to_string(),
            ledger: LedgerHealth { writable: self.ledger.is_writable() },
            queue: Queue {
                waiting: figures.waiting.iter().map(|(_, waiting, _)| waiting).sum(),
                oldest_ms: figures.waiting.iter().map(|(.., since)| since.as_ms()).min(),
            },
            totals: Totals {
                copying: leased,
                waiting: figures.waiting.iter().map(|(_, waiting, _)| waiting).sum(),
                failed: counts.failed + counts.refused,
                stale: counts.stale,
            },
            counts,
            copying: copying.collect(),
            waiting: waiting
                .iter()
                .filter_map(|record| Waiting::of(record, askers.of(record)))
                .collect(),
            failed: failed.iter().map(|record| Failed::of(record, askers.of(record))).collect(),
            stale: stale.iter().map(|record| Failed::of(record, askers.of(record))).collect(),
            registries: registries(&self.client.registries()),
            troubles: self.troubles.lines(),
        })
    }
}

impl Counts {
    fn of(figures: &Figures) -> Self {
        let mut counts = Self::default();
        for (state, count) in &figures.states {
            *match state {
                State::Wanted => &mut counts.wanted,
                State::Copying => &mut counts.copying,
                State::Present => &mut counts.present,
                State::Stale => &mut counts.stale,
                State::Failed => &mut counts.failed,
                State::Refused => &mut counts.refused,
            } = *count;
        }
        counts
    }
}

impl Copying {
    /// None where nobody works on it.
    fn of(
        record: &Record,
        running: impl Fn(&protocol::ImageReference, &Owner) -> Option<Running>,
    ) -> Option<Self> {
        let work::Work::Leased { owner, since } = &record.work else { return None };
        Some(Self {
            source: record.source.clone(),
            target: record.target.clone(),
            state: record.state,
            namespace: record.namespace.to_string(),
            replicator: owner.to_string(),
            since_ms: since.as_ms(),
            progress: running(&record.source, owner).map(Transfer::from),
        })
    }
}

impl From<Running> for Transfer {
    fn from(Running { progress, pace }: Running) -> Self {
        Self {
            layers_done: progress.layers_done,
            layers_total: progress.layers_total,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            rate_bytes_per_second: pace.bytes_per_second(),
            left_ms: pace.left(&progress).map(ms),
        }
    }
}

impl Waiting {
    /// None where it does not wait.
    fn of(record: &Record, namespaces: Vec<String>) -> Option<Self> {
        let work::Work::Waiting { since, .. } = record.work else { return None };
        Some(Self {
            source: record.source.clone(),
            state: record.state,
            namespaces,
            priority: record.priority,
            since_ms: since.as_ms(),
        })
    }
}

impl Failed {
    fn of(record: &Record, namespaces: Vec<String>) -> Self {
        Self {
            source: record.source.clone(),
            target: record.target.clone(),
            state: record.state,
            namespaces,
            failure: record.failure.as_ref().map(Failure::from),
            attempts: record.attempts,
            next_try_ms: record.next_try().map(|at| at.as_ms()),
            checked_at_ms: record.checked_at.map(|at| at.as_ms()),
        }
    }
}

impl From<&record::Failure> for Failure {
    fn from(failure: &record::Failure) -> Self {
        let record::Failure { code, side, message, is_lasting } = failure.clone();
        Self { code, side, message, is_lasting }
    }
}

impl Work {
    pub(super) fn of(record: &Record) -> Self {
        match &record.work {
            work::Work::Idle => Self::Idle,
            work::Work::Later(due_at) => Self::Later { due_at_ms: due_at.as_ms() },
            work::Work::Waiting { since, .. } => {
                Self::Waiting { since_ms: since.as_ms(), priority: record.priority }
            }
            work::Work::Leased { owner, since } => {
                Self::Leased { since_ms: since.as_ms(), replicator: owner.to_string() }
            }
        }
    }
}

/// By name, so that a page does not jump.
fn registries(all: &[RegistryStatus]) -> Vec<RegistryHealth> {
    let mut health: Vec<_> = all.iter().map(RegistryHealth::from).collect();
    health.sort_unstable_by(|one, other| one.registry.cmp(&other.registry));
    health
}

impl From<&RegistryStatus> for RegistryHealth {
    fn from(status: &RegistryStatus) -> Self {
        let traffic = &status.traffic;
        let requests =
            Ending::ALL.map(|ending| (ending.as_str().to_owned(), traffic.requests(ending)));
        Self {
            registry: status.registry.to_string(),
            health: match (status.circuit, status.paused_for) {
                (CircuitState::Open, _) => Health::Dead,
                (CircuitState::HalfOpen, _) => Health::Probed,
                (CircuitState::Closed, Some(_)) => Health::Paused,
                (CircuitState::Closed, None) => Health::Well,
            },
            in_flight: status.in_flight as u64,
            allowed: status.allowed as u64,
            paused_ms: status.paused_for.map(ms),
            quota: status.quota.as_ref().map(|quota| Quota {
                remaining: quota.remaining,
                limit: quota.limit,
                window_ms: quota.window.map(ms),
            }),
            requests: requests.into_iter().collect(),
            read_bytes: traffic.read_bytes,
            written_bytes: traffic.written_bytes,
            retries: traffic.retries,
        }
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
