//! The rows of `replicas`: reading and writing whole records. Knows no rule of their life.

use protocol::{Digest, ImageReference, Namespace, RefusalCode, Registry, Side};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::LedgerError;
use super::charge::Charge;
use super::record::{Failure, Record, State};
use super::work::{Owner, Priority, Work};
use crate::clock::Timestamp;

/// A statement with its parameters.
pub(super) type Query<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

const COLUMNS: [&str; 23] = [
    "source",
    "target",
    "state",
    "digest",
    "size_bytes",
    "charged_to",
    "charged_bytes",
    "attempts",
    "failure_code",
    "failure_side",
    "failure_message",
    "failure_is_lasting",
    "registry",
    "namespace",
    "priority",
    "turn",
    "due_at_ms",
    "lease_owner",
    "since_ms",
    "claims",
    "checked_at_ms",
    "changed_at_ms",
    "revision",
];

/// Rows that one statement reads or writes: few enough for its parameters (SQLite takes 32,766,
/// PostgreSQL 65,535), enough to save the round trips of a burst.
pub(super) const ROWS_IN_ONE_STATEMENT: usize = 64;

/// The order in which workers take what waits; the index `replicas_waiting`.
pub(super) const ORDER: &str = "ORDER BY priority, turn, since_ms";

/// How far a claim looks past registries that have their share, in each priority. Turns put what
/// other lanes wait for near its front: only so many lanes of such registries can hide it.
const LOOK_AHEAD: u32 = 500;

/// The record of `source`.
pub(super) async fn find(
    connection: &mut AnyConnection,
    source: &ImageReference,
) -> Result<Option<Record>, LedgerError> {
    let query = select("WHERE source = $1", true);
    let query = query.bind(source.to_string());
    query.fetch_optional(connection).await?.map(|row| read(&row)).transpose()
}

/// The records of `sources`, in their order, with `lock` at the end of the SELECT.
pub(super) async fn find_all(
    connection: &mut AnyConnection,
    sources: &[ImageReference],
    lock: &str,
) -> Result<Vec<Record>, LedgerError> {
    let mut records = Vec::new();
    for sources in sources.chunks(ROWS_IN_ONE_STATEMENT) {
        let places = places(1, sources.len());
        let condition = format!("WHERE source IN ({places}) ORDER BY source{lock}");
        let mut query = select(&condition, sources.len() == 1);
        for source in sources {
            query = query.bind(source.to_string());
        }
        records.append(&mut read_all(query, connection).await?);
    }
    Ok(records)
}

/// The record that a worker takes next, of none of the registries `left_out` if there are any,
/// and into none of the repositories `held`.
pub(super) async fn next(
    connection: &mut AnyConnection,
    left_out: &[&Registry],
    held: &[String],
    lock: &str,
) -> Result<Option<Record>, LedgerError> {
    let mut condition = "WHERE turn IS NOT NULL ".to_owned();
    if !left_out.is_empty() {
        let places = places(1, left_out.len());
        let ahead = Priority::ALL.map(|priority| {
            let number = priority.as_number();
            format!(
                "SELECT source FROM (SELECT source FROM replicas \
                 WHERE turn IS NOT NULL AND priority = {number} {ORDER} LIMIT {LOOK_AHEAD}) AS p{number}"
            )
        });
        let ahead = ahead.join(" UNION ALL ");
        condition += &format!("AND source IN ({ahead}) AND registry NOT IN ({places}) ");
    }
    for number in (left_out.len() + 1..).take(held.len()) {
        let is_into = is_in_repository(number);
        condition += &format!("AND NOT {is_into} ");
    }
    condition += &format!("{ORDER} LIMIT 1{lock}");
    let mut query = select(&condition, held.is_empty());
    for registry in left_out {
        query = query.bind(registry.to_string());
    }
    for repository in held {
        query = query.bind(repository.clone());
    }
    query.fetch_optional(connection).await?.map(|row| read(&row)).transpose()
}

/// Records whose time to be tried again has come, `limit` at most.
pub(super) async fn due(
    connection: &mut AnyConnection,
    now: Timestamp,
    limit: u32,
    lock: &str,
) -> Result<Vec<Record>, LedgerError> {
    let condition = format!("WHERE due_at_ms <= $1 ORDER BY due_at_ms LIMIT {limit}{lock}");
    read_all(select(&condition, true).bind(now.as_ms()), connection).await
}

/// Records that are leased to somebody who gives no sign of life, `limit` at most. What `owner`
/// holds is never among them.
pub(super) async fn abandoned(
    connection: &mut AnyConnection,
    owner: &Owner,
    now: Timestamp,
    limit: u32,
    lock: &str,
) -> Result<Vec<Record>, LedgerError> {
    let condition = format!(
        "WHERE lease_owner IS NOT NULL AND lease_owner <> $1 AND NOT EXISTS \
         (SELECT 1 FROM replicators WHERE id = lease_owner AND until_ms > $2) LIMIT {limit}{lock}"
    );
    let query = select(&condition, true).bind(owner.as_str().to_owned()).bind(now.as_ms());
    read_all(query, connection).await
}

/// Records whose replica is about to be deleted, and that nobody has asked for since.
pub(super) async fn leaving(connection: &mut AnyConnection) -> Result<Vec<Record>, LedgerError> {
    let query = select("WHERE lease_owner IS NOT NULL AND state = $1", true);
    read_all(query.bind(State::Wanted.as_str()), connection).await
}

/// Whether anybody copies into the repository of that name.
pub(super) async fn is_copied_into(
    connection: &mut AnyConnection,
    repository: &str,
) -> Result<bool, LedgerError> {
    let is_into = is_in_repository(2);
    let condition = format!("WHERE lease_owner IS NOT NULL AND state <> $1 AND {is_into} LIMIT 1");
    let query = select(&condition, true).bind(State::Wanted.as_str()).bind(repository.to_owned());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// That a record's target is in the repository whose name is parameter `number`.
fn is_in_repository(number: usize) -> String {
    format!(
        "SUBSTR(target, 1, LENGTH(CAST(${number} AS TEXT)) + 1) IN (CAST(${number} AS TEXT) || ':', CAST(${number} AS TEXT) || '@')"
    )
}

/// Forgets records, and what is kept beside them.
pub(super) async fn forget(
    connection: &mut AnyConnection,
    sources: &[ImageReference],
) -> Result<(), LedgerError> {
    for sources in sources.chunks(ROWS_IN_ONE_STATEMENT) {
        for table in ["replicas", "contents", "requests", "requests_before"] {
            let places = places(1, sources.len());
            let sql = format!("DELETE FROM {table} WHERE source IN ({places})");
            let query = sqlx::query::<Any>(AssertSqlSafe(sql)).persistent(sources.len() == 1);
            let bind =
                |query: Query<'static>, source: &ImageReference| query.bind(source.to_string());
            sources.iter().fold(query, bind).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Records that are leased to `owner`.
pub(super) async fn leased_to(
    connection: &mut AnyConnection,
    owner: &Owner,
    lock: &str,
) -> Result<Vec<Record>, LedgerError> {
    let query = select(&format!("WHERE lease_owner = $1{lock}"), true);
    read_all(query.bind(owner.as_str().to_owned()), connection).await
}

/// Records that a person wants to see: those that fulfil `condition`, in its order, `limit` at most.
pub(super) async fn list(
    connection: &mut AnyConnection,
    condition: &str,
    values: &[String],
    limit: u32,
) -> Result<Vec<Record>, LedgerError> {
    let query = select(&format!("{condition} LIMIT {limit}"), false);
    let query = values.iter().fold(query, |query, value| query.bind(value.clone()));
    read_all(query, connection).await
}

/// Writes records, new ones or newer ones than are there. An error where one is not newer: then
/// somebody else has written it meanwhile.
pub(super) async fn put(
    connection: &mut AnyConnection,
    records: &[&Record],
) -> Result<(), LedgerError> {
    let bind = |query, record: &&Record| bind(query, record);
    let written = write(connection, records, COLUMNS.len(), upsert, bind).await?;
    if written == records.len() as u64 { Ok(()) } else { Err(LedgerError::Conflict) }
}

/// Runs a statement over rows of `columns` values, some of them at a time: `sql` makes it of the
/// parameters for all values, and `bind` binds those of one row. Returns how many rows it changed.
pub(super) async fn write<T>(
    connection: &mut AnyConnection,
    rows: &[T],
    columns: usize,
    sql: impl Fn(&str) -> String,
    bind: impl Fn(Query<'static>, &T) -> Query<'static>,
) -> Result<u64, LedgerError> {
    let mut written = 0;
    for rows in rows.chunks(ROWS_IN_ONE_STATEMENT) {
        let sql = sql(&tuples(rows.len(), columns));
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(rows.len() == 1);
        let query = rows.iter().fold(query, &bind);
        written += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(written)
}

/// The columns of a record, for a statement that has more.
pub(super) fn columns() -> String {
    COLUMNS.join(", ")
}

fn select<'q>(condition: &str, is_constant: bool) -> Query<'q> {
    let sql = format!("SELECT {} FROM replicas {condition}", COLUMNS.join(", "));
    sqlx::query(AssertSqlSafe(sql)).persistent(is_constant)
}

fn upsert(tuples: &str) -> String {
    let set: Vec<_> =
        COLUMNS.iter().skip(1).map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO replicas ({}) VALUES {tuples} ON CONFLICT (source) DO UPDATE SET {} \
         WHERE replicas.revision < excluded.revision",
        COLUMNS.join(", "),
        set.join(", "),
    )
}

/// `count` parameters from `$first` on.
pub(super) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// The parameters of `count` rows of `columns` values.
fn tuples(count: usize, columns: usize) -> String {
    let tuple = |row| format!("({})", places(row * columns + 1, columns));
    (0..count).map(tuple).collect::<Vec<_>>().join(", ")
}

fn bind<'q>(query: Query<'q>, record: &Record) -> Query<'q> {
    let (failure, charge) = (record.failure.as_ref(), record.charge.as_ref());
    let (turn, due_at, owner, since) = match &record.work {
        Work::Idle => (None, None, None, None),
        Work::Later(due_at) => (None, Some(*due_at), None, None),
        Work::Waiting { turn, since } => (Some(*turn), None, None, Some(*since)),
        Work::Leased { owner, since } => (None, None, Some(owner), Some(*since)),
    };
    query
        .bind(record.source.to_string())
        .bind(record.target.to_string())
        .bind(record.state.as_str().to_owned())
        .bind(record.digest.as_ref().map(Digest::to_string))
        .bind(record.size_bytes.map(clamp))
        .bind(charge.map(|charge| charge.namespace.to_string()))
        .bind(charge.map(|charge| clamp(charge.bytes)))
        .bind(i64::from(record.attempts))
        .bind(failure.map(|failure| failure.code.as_str().to_owned()))
        .bind(failure.map(|failure| failure.side.to_string()))
        .bind(failure.map(|failure| failure.message.clone()))
        .bind(failure.map(|failure| i64::from(failure.is_lasting)))
        .bind(record.source.registry().to_string())
        .bind(record.namespace.to_string())
        .bind(record.priority.as_number())
        .bind(turn)
        .bind(due_at.map(Timestamp::as_ms))
        .bind(owner.map(|owner| owner.as_str().to_owned()))
        .bind(since.map(Timestamp::as_ms))
        .bind(clamp(record.claims))
        .bind(record.checked_at.map(Timestamp::as_ms))
        .bind(record.changed_at.as_ms())
        .bind(clamp(record.revision))
}

async fn read_all(
    query: Query<'_>,
    connection: &mut AnyConnection,
) -> Result<Vec<Record>, LedgerError> {
    query.fetch_all(connection).await?.iter().map(read).collect()
}

pub(super) fn read(row: &AnyRow) -> Result<Record, LedgerError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let number = |column: &str| row.try_get::<i64, _>(column);
    let time = |column: &str| {
        Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_ms))
    };
    let source = text("source")?;
    let target = text("target")?;
    let state = text("state")?;
    let namespace = text("namespace")?;
    let digest: Option<String> = row.try_get("digest")?;
    let size_bytes: Option<i64> = row.try_get("size_bytes")?;
    let priority = number("priority")?;
    Ok(Record {
        state: State::parse(&state).ok_or_else(|| damaged("state", &state))?,
        digest: digest.map(|digest| read_digest(&digest)).transpose()?,
        size_bytes: size_bytes.map(i64::unsigned_abs),
        charge: read_charge(row)?,
        attempts: u32::try_from(number("attempts")?).unwrap_or(u32::MAX),
        failure: read_failure(row)?,
        work: read_work(row)?,
        priority: Priority::from_number(priority)
            .ok_or_else(|| damaged("priority", &priority.to_string()))?,
        namespace: read_namespace("namespace", &namespace)?,
        claims: number("claims")?.unsigned_abs(),
        checked_at: time("checked_at_ms")?,
        changed_at: Timestamp::from_ms(number("changed_at_ms")?),
        revision: number("revision")?.unsigned_abs(),
        source: source.parse().map_err(|_| damaged("source", &source))?,
        target: target.parse().map_err(|_| damaged("target", &target))?,
    })
}

pub(super) fn read_digest(digest: &str) -> Result<Digest, LedgerError> {
    digest.parse().map_err(|_| damaged("digest", digest))
}

fn read_namespace(column: &'static str, name: &str) -> Result<Namespace, LedgerError> {
    name.parse().map_err(|_| damaged(column, name))
}

fn read_charge(row: &AnyRow) -> Result<Option<Charge>, LedgerError> {
    let namespace: Option<String> = row.try_get("charged_to")?;
    let bytes: Option<i64> = row.try_get("charged_bytes")?;
    let (Some(namespace), Some(bytes)) = (namespace, bytes) else { return Ok(None) };
    let namespace = read_namespace("charged_to", &namespace)?;
    Ok(Some(Charge { namespace, bytes: bytes.unsigned_abs() }))
}

fn read_work(row: &AnyRow) -> Result<Work, LedgerError> {
    let turn: Option<i64> = row.try_get("turn")?;
    let due_at: Option<i64> = row.try_get("due_at_ms")?;
    let owner: Option<String> = row.try_get("lease_owner")?;
    let since: Option<i64> = row.try_get("since_ms")?;
    let since = Timestamp::from_ms(since.unwrap_or(0));
    Ok(match (owner, turn, due_at) {
        (Some(owner), _, _) => Work::Leased { owner: owner.into(), since },
        (None, Some(turn), _) => Work::Waiting { turn, since },
        (None, None, Some(due_at)) => Work::Later(Timestamp::from_ms(due_at)),
        (None, None, None) => Work::Idle,
    })
}

fn read_failure(row: &AnyRow) -> Result<Option<Failure>, LedgerError> {
    let code: Option<String> = row.try_get("failure_code")?;
    let side: Option<String> = row.try_get("failure_side")?;
    let message: Option<String> = row.try_get("failure_message")?;
    let is_lasting: Option<i64> = row.try_get("failure_is_lasting")?;
    let (Some(code), Some(side), Some(message)) = (code, side, message) else { return Ok(None) };
    Ok(Some(Failure {
        code: RefusalCode::parse(&code),
        side: Side::parse(&side).ok_or_else(|| damaged("failure_side", &side))?,
        message,
        is_lasting: is_lasting == Some(1),
    }))
}

pub(super) fn damaged(column: &'static str, value: &str) -> LedgerError {
    LedgerError::Damaged { column, value: value.to_owned() }
}

/// SQL has signed integers only; 2^63 bytes or changes are out of reach.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
