//! What was asked for by whom, and what was copied: kept for people, and read to decide nothing
//! but which replicas nobody uses.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::{Digest, ImageReference};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::LedgerError;
use super::record::Settlement;
use super::rows::{self, Query, clamp};
use super::work::{Asker, Ticket};
use crate::clock::Timestamp;

/// Different requests that wait in memory to be written down: about 300 bytes each. What comes
/// beyond is not counted; that some were lost is written down.
const WAITING_REQUESTS: usize = 10_000;

/// How long history is kept: a quarter, so that a rare CronJob's images are still seen.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Copies that are kept: about 25 MiB.
const KEPT_COPIES: u32 = 100_000;

/// Rows of what no pod runs any more that are kept: about 50 MiB.
const KEPT_USES: u32 = 200_000;

/// How long these are kept: longer than the longest time after which an image counts as unused.
const USES_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Rows that one step of pruning takes away: some ten milliseconds. At a step a minute that is
/// more than 50 copies a second.
const PRUNED_AT_ONCE: u32 = 5_000;

/// Who asked for what. Text, since nothing is decided by it.
type Key = (String, String, String);

#[derive(Clone, Copy, Debug)]
struct Tally {
    first_at: Timestamp,
    last_at: Timestamp,
    count: u64,
}

/// Requests, counted. In the order of their keys, so that two replicators that write the same
/// ones wait for each other in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies(BTreeMap<Key, Tally>);

impl Tallies {
    /// Counts one request.
    pub(super) fn add(&mut self, source: &ImageReference, asker: &Asker, now: Timestamp) {
        let key =
            (source.to_string(), asker.namespace.to_string(), asker.caller.as_ref().to_owned());
        let tally = self.0.entry(key).or_insert(Tally { first_at: now, last_at: now, count: 0 });
        tally.last_at = now;
        tally.count += 1;
    }
}

/// Requests for what was known already: counted in memory, written now and then.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Mutex<Tallies>,
    has_lost: AtomicBool,
}

impl Requests {
    /// Counts one, if there is room.
    pub(super) fn add(&self, source: &ImageReference, asker: &Asker, now: Timestamp) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.0.len() < WAITING_REQUESTS {
            waiting.add(source, asker, now);
        } else {
            self.lose();
        }
    }

    /// What was counted could not be written down, or not all that came was counted.
    pub(super) fn lose(&self) {
        self.has_lost.store(true, Ordering::Relaxed);
    }

    /// Whether any were lost since this was asked last.
    pub(super) fn take_lost(&self) -> bool {
        self.has_lost.swap(false, Ordering::Relaxed)
    }

    /// Takes all that wait.
    pub(super) fn take(&self) -> Tallies {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A copy that ended.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    ticket: Ticket,
    result: &'static str,
    digest: Option<Digest>,
    bytes_moved: u64,
    began_at: Timestamp,
    ended_at: Timestamp,
}

impl Copied {
    /// What is to be told of one.
    pub(super) fn new(
        ticket: Ticket,
        settlement: &Settlement,
        bytes_moved: u64,
        began_at: Timestamp,
        ended_at: Timestamp,
    ) -> Self {
        let digest = match settlement {
            Settlement::Copied { digest, .. } => Some(digest.clone()),
            Settlement::Failed { .. } | Settlement::HandedBack => None,
        };
        Self { result: settlement.as_str(), ticket, digest, bytes_moved, began_at, ended_at }
    }
}

/// Writes requests down.
pub(super) async fn put_requests(
    connection: &mut AnyConnection,
    tallies: &Tallies,
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO requests (source, namespace, caller, first_at_ms, last_at_ms, count) \
             VALUES {tuples} ON CONFLICT (source, namespace, caller) DO UPDATE \
             SET last_at_ms = excluded.last_at_ms, count = requests.count + excluded.count"
        )
    };
    let bind = |query: Query<'static>, (key, tally): &(&Key, &Tally)| {
        let (source, namespace, caller) = key;
        query
            .bind(source.clone())
            .bind(namespace.clone())
            .bind(caller.clone())
            .bind(tally.first_at.as_ms())
            .bind(tally.last_at.as_ms())
            .bind(clamp(tally.count))
    };
    let tallies: Vec<_> = tallies.0.iter().collect();
    rows::write(connection, &tallies, 6, sql, bind).await.map(drop)
}

/// Writes copies down.
pub(super) async fn put_copies(
    connection: &mut AnyConnection,
    copies: &[Copied],
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO copies (source, claim, replicator, result, digest, bytes_moved, \
             began_at_ms, ended_at_ms) VALUES {tuples}"
        )
    };
    let bind = |query: Query<'static>, copy: &Copied| {
        query
            .bind(copy.ticket.source.to_string())
            .bind(clamp(copy.ticket.claim))
            .bind(copy.ticket.owner.to_string())
            .bind(copy.result.to_owned())
            .bind(copy.digest.as_ref().map(Digest::to_string))
            .bind(clamp(copy.bytes_moved))
            .bind(copy.began_at.as_ms())
            .bind(copy.ended_at.as_ms())
    };
    rows::write(connection, copies, 8, sql, bind).await.map(drop)
}

/// How often each of these sources was claimed, as far as its copies tell. Of one that they do not
/// know nothing is told.
pub(super) async fn claims(
    connection: &mut AnyConnection,
    sources: &[ImageReference],
) -> Result<HashMap<ImageReference, u64>, LedgerError> {
    let mut known = HashMap::new();
    for sources in sources.chunks(rows::ROWS_IN_ONE_STATEMENT) {
        let sql = format!(
            "SELECT source, MAX(claim) AS claim FROM copies WHERE source IN ({}) GROUP BY source",
            rows::places(1, sources.len()),
        );
        let query = sqlx::query::<Any>(AssertSqlSafe(sql)).persistent(sources.len() == 1);
        let query = sources.iter().fold(query, |query, source| query.bind(source.to_string()));
        for row in query.fetch_all(&mut *connection).await? {
            let source: String = row.try_get("source")?;
            let claim: i64 = row.try_get("claim")?;
            let source = source.parse().map_err(|_| rows::damaged("source", &source))?;
            known.insert(source, claim.unsigned_abs());
        }
    }
    Ok(known)
}

/// Takes away a little of what is older than is kept, or more than is kept.
pub(super) async fn prune(
    connection: &mut AnyConnection,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let oldest = now.as_ms() - ms(KEPT);
    remember_times(connection, oldest).await?;
    let all = "TRUE";
    let ended = "pods = 0";
    for (table, key, age, which, kept) in [
        ("copies", "(source, claim)", "ended_at_ms", all, Some(KEPT_COPIES)),
        ("requests", "(source, namespace, caller)", "last_at_ms", all, None),
        ("grants", "(source, identity)", "until_ms", all, None),
        ("blob_places", "(registry, digest)", "seen_at_ms", all, None),
        ("uses", "(image, namespace, digest)", "last_seen_at_ms", ended, Some(KEPT_USES)),
    ] {
        let oldest = if table == "uses" { now.as_ms() - ms(USES_KEPT) } else { oldest };
        let before = match kept {
            Some(kept) => {
                let sql = format!(
                    "SELECT {age} FROM {table} WHERE {which} ORDER BY {age} DESC LIMIT 1 OFFSET {kept}"
                );
                let query = sqlx::query_scalar::<Any, i64>(AssertSqlSafe(sql));
                query.fetch_optional(&mut *connection).await?.map_or(oldest, |ms| ms.max(oldest))
            }
            None => oldest,
        };
        let columns = key.trim_matches(['(', ')']);
        let sql = format!(
            "DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} \
             WHERE {which} AND {age} < $1 ORDER BY {age} LIMIT {PRUNED_AT_ONCE})"
        );
        let query = sqlx::query::<Any>(AssertSqlSafe(sql)).bind(before);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Keeps when the requests were made that are about to go: the inventory tells of it for ever.
async fn remember_times(connection: &mut AnyConnection, oldest: i64) -> Result<(), LedgerError> {
    let sql = format!(
        "INSERT INTO requests_before (source, first_at_ms, last_at_ms) \
         SELECT source, MIN(first_at_ms), MAX(last_at_ms) FROM (SELECT source, first_at_ms, \
         last_at_ms FROM requests WHERE last_at_ms < $1 ORDER BY last_at_ms LIMIT {PRUNED_AT_ONCE}) \
         AS going GROUP BY source ORDER BY source ON CONFLICT (source) DO UPDATE SET \
         first_at_ms = CASE WHEN excluded.first_at_ms < requests_before.first_at_ms \
         THEN excluded.first_at_ms ELSE requests_before.first_at_ms END, \
         last_at_ms = CASE WHEN excluded.last_at_ms > requests_before.last_at_ms \
         THEN excluded.last_at_ms ELSE requests_before.last_at_ms END"
    );
    sqlx::query::<Any>(AssertSqlSafe(sql)).bind(oldest).execute(connection).await?;
    Ok(())
}
