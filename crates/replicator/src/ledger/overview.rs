//! How things stand, for people.

use sqlx::{Any, AnyConnection};

use super::looks::{self, Askers};
use super::queue::{self, Figures};
use super::record::{Record, State};
use super::{Ledger, LedgerError, rows};
use crate::clock::Timestamp;

/// Sources that each list of an overview has at most: more than a person reads, and what a page
/// shows in a moment.
const LISTED: u32 = 100;

/// How things stand, for people. Lists are cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// In figures.
    pub(crate) figures: Figures,
    /// How much is worked on.
    pub(crate) leased: u64,
    /// What is worked on, longest first.
    pub(crate) copying: Vec<Record>,
    /// What waits, in the order of the queue.
    pub(crate) waiting: Vec<Record>,
    /// What failed or was refused, the newest first.
    pub(crate) failed: Vec<Record>,
    /// Stale replicas, the newest failure first.
    pub(crate) stale: Vec<Record>,
    /// Who asked for these; the first few.
    pub(crate) askers: Askers,
}

impl Ledger {
    /// How things stand.
    pub(crate) async fn overview(&self) -> Result<Overview, LedgerError> {
        let now = self.now();
        self.look(async |connection| overview(connection, now).await).await
    }
}

async fn overview(connection: &mut AnyConnection, now: Timestamp) -> Result<Overview, LedgerError> {
    let figures = queue::figures(connection, now).await?;
    let sql = "SELECT COUNT(*) AS count FROM replicas WHERE lease_owner IS NOT NULL";
    let leased = sqlx::query_scalar::<Any, i64>(sql).fetch_one(&mut *connection).await?;
    let leased = leased.unsigned_abs();
    let copying = "WHERE lease_owner IS NOT NULL ORDER BY since_ms, source";
    let copying = rows::list(connection, copying, &[], LISTED).await?;
    let waiting = format!("WHERE turn IS NOT NULL {}", rows::ORDER);
    let waiting = rows::list(connection, &waiting, &[], LISTED).await?;
    let stale = newest(connection, State::Stale).await?;
    let mut failed = newest(connection, State::Failed).await?;
    failed.append(&mut newest(connection, State::Refused).await?);
    failed.sort_by(|one, other| {
        other.changed_at.cmp(&one.changed_at).then_with(|| one.source.cmp(&other.source))
    });
    failed.truncate(LISTED as usize);
    let sources = [&waiting, &failed, &stale].into_iter().flatten().map(|record| &record.source);
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    let askers = looks::askers(connection, &sources).await?;
    Ok(Overview { figures, leased, copying, waiting, failed, stale, askers })
}

/// The sources whose state was set last.
async fn newest(connection: &mut AnyConnection, state: State) -> Result<Vec<Record>, LedgerError> {
    let state = state.as_str();
    let condition = format!("WHERE state = '{state}' ORDER BY changed_at_ms DESC, source");
    rows::list(connection, &condition, &[], LISTED).await
}
