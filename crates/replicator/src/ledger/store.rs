//! The ledger's rows in SQL: reading and writing whole records. Knows no rule of their life.
//!
//! The SQL is what SQLite and PostgreSQL both understand. Each write is on disk when it returns
//! (`synchronous = FULL`): a trigger that was answered is never forgotten, even in a power cut,
//! since a pod in mode `rewrite` is not asked about again.

use std::str::FromStr;
use std::time::Duration;

use protocol::{Digest, ImageReference, RefusalCode, Registry, Side};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, Row};

use super::LedgerError;
use super::record::{Failure, Record, State};
use crate::clock::Timestamp;

/// Readers beside the one writer. Reads are short; more would only wait for the same file.
const READERS: u32 = 4;

/// How long a statement waits for another process's lock (a backup, say) before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const COLUMNS: &str = "source, target, state, digest, size_bytes, attempts, failure_code, \
     failure_side, failure_message, failure_is_lasting, due_at_ms, changed_at_ms, revision";

/// Where the rows are.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
}

impl Store {
    /// Opens the ledger at `url`, makes it if it is not there, and brings its schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        sqlx::migrate!().run(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }
}

/// The record of `source`.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    source: &ImageReference,
) -> Result<Option<Record>, LedgerError> {
    let sql = select("WHERE source = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(source.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| read(&row)).transpose()
}

/// The record that is due longest, of those whose source is not in one of `left_out`, which are
/// few. Each due record before it is looked at; 50,000 take about 50 ms.
pub(super) async fn first_due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    left_out: impl Iterator<Item = &Registry>,
) -> Result<Option<Record>, LedgerError> {
    // A source begins with its registry and a slash.
    let left_out: Vec<String> = left_out.map(|registry| format!("{registry}/")).collect();
    let mut condition = "WHERE due_at_ms <= $1".to_owned();
    for (prefix, number) in left_out.iter().zip(2..) {
        condition += &format!(" AND substr(source, 1, {}) <> ${number}", prefix.len());
    }
    let sql = select(&(condition + " ORDER BY due_at_ms LIMIT 1"));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now.as_ms());
    for prefix in left_out {
        query = query.bind(prefix);
    }
    let row = query.fetch_optional(connection).await?;
    row.map(|row| read(&row)).transpose()
}

/// All records that a worker held when the last process ended.
pub(super) async fn copying(connection: &mut SqliteConnection) -> Result<Vec<Record>, LedgerError> {
    let sql = select("WHERE state = 'copying'");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// How many records there are in each state.
pub(super) async fn count_by_state(pool: &SqlitePool) -> Result<Vec<(State, u64)>, LedgerError> {
    let rows =
        sqlx::query("SELECT state, COUNT(*) FROM replicas GROUP BY state").fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let state: String = row.try_get(0)?;
            let count: i64 = row.try_get(1)?;
            let state = State::parse(&state).ok_or_else(|| damaged("state", &state))?;
            Ok((state, count.unsigned_abs()))
        })
        .collect()
}

/// Writes a record, new or changed.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    record: &Record,
) -> Result<(), LedgerError> {
    let failure = record.failure.as_ref();
    sqlx::query(
        "INSERT INTO replicas (source, target, state, digest, size_bytes, attempts, \
             failure_code, failure_side, failure_message, failure_is_lasting, due_at_ms, \
             changed_at_ms, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (source) DO UPDATE SET target = $2, state = $3, digest = $4, \
             size_bytes = $5, attempts = $6, failure_code = $7, failure_side = $8, \
             failure_message = $9, failure_is_lasting = $10, due_at_ms = $11, \
             changed_at_ms = $12, revision = $13",
    )
    .bind(record.source.to_string())
    .bind(record.target.to_string())
    .bind(record.state.as_str())
    .bind(record.digest.as_ref().map(Digest::to_string))
    .bind(record.size_bytes.map(clamp))
    .bind(i64::from(record.attempts))
    .bind(failure.map(|failure| failure.code.as_str()))
    .bind(failure.map(|failure| failure.side.to_string()))
    .bind(failure.map(|failure| failure.message.as_str()))
    .bind(failure.map(|failure| failure.is_lasting))
    .bind(record.due_at.map(Timestamp::as_ms))
    .bind(record.changed_at.as_ms())
    .bind(clamp(record.revision))
    .execute(connection)
    .await?;
    Ok(())
}

fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM replicas {condition}")
}

fn read(row: &SqliteRow) -> Result<Record, LedgerError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let number = |column: &str| row.try_get::<i64, _>(column);
    let source = text("source")?;
    let target = text("target")?;
    let state = text("state")?;
    let digest: Option<String> = row.try_get("digest")?;
    let size_bytes: Option<i64> = row.try_get("size_bytes")?;
    let due_at_ms: Option<i64> = row.try_get("due_at_ms")?;
    Ok(Record {
        state: State::parse(&state).ok_or_else(|| damaged("state", &state))?,
        digest: match digest {
            Some(digest) => Some(digest.parse().map_err(|_| damaged("digest", &digest))?),
            None => None,
        },
        size_bytes: size_bytes.map(i64::unsigned_abs),
        attempts: u32::try_from(number("attempts")?).unwrap_or(u32::MAX),
        failure: read_failure(row)?,
        due_at: due_at_ms.map(Timestamp::from_ms),
        changed_at: Timestamp::from_ms(number("changed_at_ms")?),
        revision: number("revision")?.unsigned_abs(),
        source: source.parse().map_err(|_| damaged("source", &source))?,
        target: target.parse().map_err(|_| damaged("target", &target))?,
    })
}

fn read_failure(row: &SqliteRow) -> Result<Option<Failure>, LedgerError> {
    let code: Option<String> = row.try_get("failure_code")?;
    let side: Option<String> = row.try_get("failure_side")?;
    let message: Option<String> = row.try_get("failure_message")?;
    let is_lasting: Option<bool> = row.try_get("failure_is_lasting")?;
    let (Some(code), Some(side), Some(message)) = (code, side, message) else { return Ok(None) };
    Ok(Some(Failure {
        code: RefusalCode::parse(&code),
        side: Side::parse(&side).ok_or_else(|| damaged("failure_side", &side))?,
        message,
        is_lasting: is_lasting.unwrap_or(false),
    }))
}

fn damaged(column: &'static str, value: &str) -> LedgerError {
    LedgerError::Damaged { column, value: value.to_owned() }
}

/// SQL has signed integers only; 2^63 bytes or changes are out of reach.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
