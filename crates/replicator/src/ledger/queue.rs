//! The queue's SQL beside whole records: turns, shares, length, and signs of life.

use std::collections::HashMap;
use std::time::Duration;

use protocol::{Namespace, Registry};

use sqlx::{Any, AnyConnection, Row};

use super::LedgerError;
use super::record::State;
use super::work::{Owner, Priority};
use crate::clock::Timestamp;

/// The turns that were given in one transaction, so that a burst of one lane asks once.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lowest: HashMap<Priority, Option<i64>>,
    last: HashMap<(Priority, Registry, Namespace), i64>,
}

impl Turns {
    /// The turn of what joins the queue now: after all that its lane has waiting, and after the
    /// lowest that anybody has.
    pub(super) async fn next(
        &mut self,
        connection: &mut AnyConnection,
        priority: Priority,
        registry: &Registry,
        namespace: &Namespace,
    ) -> Result<i64, LedgerError> {
        let lane = (priority, registry.clone(), namespace.clone());
        let last = match self.last.get(&lane) {
            Some(last) => *last,
            None => {
                let lowest = self.lowest(connection, priority).await?;
                last_of(connection, &lane).await?.max(lowest).unwrap_or(0)
            }
        };
        self.last.insert(lane, last + 1);
        Ok(last + 1)
    }

    /// The turn of what was at the front before, and goes there again: before all that waits.
    pub(super) async fn front(
        &mut self,
        connection: &mut AnyConnection,
        priority: Priority,
    ) -> Result<i64, LedgerError> {
        Ok(self.lowest(connection, priority).await?.map_or(1, |lowest| lowest - 1))
    }

    async fn lowest(
        &mut self,
        connection: &mut AnyConnection,
        priority: Priority,
    ) -> Result<Option<i64>, LedgerError> {
        if let Some(lowest) = self.lowest.get(&priority) {
            return Ok(*lowest);
        }
        let sql = "SELECT MIN(turn) AS turn FROM replicas WHERE priority = $1 AND turn IS NOT NULL";
        let query = sqlx::query_scalar::<Any, Option<i64>>(sql).bind(priority.as_number());
        let lowest = query.fetch_one(connection).await?;
        self.lowest.insert(priority, lowest);
        Ok(lowest)
    }
}

async fn last_of(
    connection: &mut AnyConnection,
    (priority, registry, namespace): &(Priority, Registry, Namespace),
) -> Result<Option<i64>, LedgerError> {
    let sql = "SELECT MAX(turn) AS turn FROM replicas \
         WHERE registry = $1 AND namespace = $2 AND priority = $3 AND turn IS NOT NULL";
    let query = sqlx::query_scalar::<Any, Option<i64>>(sql)
        .bind(registry.to_string())
        .bind(namespace.to_string())
        .bind(priority.as_number());
    Ok(query.fetch_one(connection).await?)
}

/// The registries of which `owner` has copies under way, each as often as it has.
pub(super) async fn registries_at_work(
    connection: &mut AnyConnection,
    owner: &Owner,
) -> Result<Vec<Registry>, LedgerError> {
    let sql = "SELECT registry FROM replicas WHERE lease_owner = $1 AND state <> $2";
    let query = sqlx::query_scalar::<Any, String>(sql).bind(owner.as_str().to_owned());
    // What is about to be deleted is no copy.
    let query = query.bind(State::Wanted.as_str());
    let names = query.fetch_all(connection).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Gives a sign of life: what `owner` holds is its own until then. `lives` is how often it has
/// written down what it had counted since the last one.
pub(super) async fn give_sign(
    connection: &mut AnyConnection,
    owner: &Owner,
    until: Timestamp,
    lives: i64,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO replicators (id, until_ms, lives) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET until_ms = excluded.until_ms, \
         lives = replicators.lives + excluded.lives";
    let query = sqlx::query(sql).bind(owner.as_str().to_owned()).bind(until.as_ms()).bind(lives);
    query.execute(connection).await?;
    Ok(())
}

/// Takes back signs of life: of `owner`, or of all. Returns how many there were.
pub(super) async fn take_back_signs(
    connection: &mut AnyConnection,
    owner: Option<&Owner>,
) -> Result<u64, LedgerError> {
    let query = match owner {
        Some(owner) => {
            let sql = "DELETE FROM replicators WHERE id = $1";
            sqlx::query::<Any>(sql).bind(owner.as_str().to_owned())
        }
        None => sqlx::query("DELETE FROM replicators"),
    };
    Ok(query.execute(connection).await?.rows_affected())
}

/// Takes back the signs of those who have given none for long, and hold nothing.
pub(super) async fn forget_silent(
    connection: &mut AnyConnection,
    before: Timestamp,
) -> Result<(), LedgerError> {
    let sql = "DELETE FROM replicators WHERE until_ms < $1";
    sqlx::query::<Any>(sql).bind(before.as_ms()).execute(connection).await?;
    Ok(())
}

/// How many sources wait, or will by themselves.
pub(super) async fn length(connection: &mut AnyConnection) -> Result<u64, LedgerError> {
    let sql = "SELECT (SELECT COUNT(*) FROM replicas WHERE turn IS NOT NULL) \
         + (SELECT COUNT(*) FROM replicas WHERE due_at_ms IS NOT NULL) AS length";
    let length: i64 = sqlx::query_scalar(sql).fetch_one(connection).await?;
    Ok(length.unsigned_abs())
}

/// The ledger in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How many sources there are in each state.
    pub(crate) states: Vec<(State, u64)>,
    /// How many wait in each priority, and since when the one that has waited longest.
    pub(crate) waiting: Vec<(Priority, u64, Timestamp)>,
    /// When that stale replica was last found to be what its source is for which this is longest
    /// ago, of those that are in use.
    pub(crate) stale_since: Option<Timestamp>,
}

/// A stale replica whose source nobody looked at for so long is one that nobody asks for any more:
/// it stays as it is, and nobody need act on it.
const STALE_IN_USE: Duration = Duration::from_secs(24 * 60 * 60);

/// The ledger in figures. Reads an index with all sources: a million take about 0.1 s. Of those
/// that are stale it reads the rows; they are few, or all of one registry.
pub(super) async fn figures(
    connection: &mut AnyConnection,
    now: Timestamp,
) -> Result<Figures, LedgerError> {
    let sql = "SELECT state, COUNT(*) AS count FROM replicas GROUP BY state";
    let mut figures = Figures::default();
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let state: String = row.try_get("state")?;
        let count: i64 = row.try_get("count")?;
        figures.states.extend(State::parse(&state).map(|state| (state, count.unsigned_abs())));
    }
    let sql = "SELECT priority, COUNT(*) AS count, MIN(since_ms) AS since_ms FROM replicas \
         WHERE turn IS NOT NULL GROUP BY priority";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let count: i64 = row.try_get("count")?;
        let since: i64 = row.try_get("since_ms")?;
        figures.waiting.extend(
            Priority::from_number(row.try_get("priority")?)
                .map(|priority| (priority, count.unsigned_abs(), Timestamp::from_ms(since))),
        );
    }
    let sql = "SELECT MIN(checked_at_ms) AS checked_at_ms FROM replicas \
         WHERE state = $1 AND changed_at_ms > $2";
    let in_use_ms = now.as_ms() - i64::try_from(STALE_IN_USE.as_millis()).unwrap_or(i64::MAX);
    let query = sqlx::query_scalar::<Any, Option<i64>>(sql).bind(State::Stale.as_str());
    let query = query.bind(in_use_ms);
    figures.stale_since = query.fetch_one(connection).await?.map(Timestamp::from_ms);
    Ok(figures)
}
