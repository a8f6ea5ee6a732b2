//! Questions of people: never on the way of a trigger. A few at a time, each within a limit, and
//! each answer bounded. Also what several of them ask.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::record::Record;
use super::{Ledger, LedgerError, rows};
use crate::clock::Timestamp;

/// Questions of people that the database answers at once: half of the readers, so that triggers
/// always find one.
pub(super) const LOOKS_AT_ONCE: usize = 2;

/// How long a person's question may take, waiting included. A hundred thousand images are searched in
/// a tenth of it; a ledger for which it is too short answers the rest of what people ask.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Namespaces that are told of one source.
pub(super) const NAMESPACES: u32 = 10;

/// The namespaces that asked for some sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Askers(HashMap<String, Vec<String>>);

impl Askers {
    /// Who asked for what `record` is about: the first few, or on whose behalf it was copied
    /// where the requests are forgotten.
    pub(crate) fn of(&self, record: &Record) -> Vec<String> {
        let known = self.0.get(&record.source.to_string()).filter(|known| !known.is_empty());
        known.cloned().unwrap_or_else(|| vec![record.namespace.to_string()])
    }
}

impl Ledger {
    /// Answers a person's question, in time or not at all.
    pub(super) async fn look<T>(
        &self,
        ask: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let answer = async {
            let _place = self.shared.looking.acquire().await.map_err(|_| LedgerError::Closed)?;
            let mut connection = self.shared.store.readers().acquire().await?;
            ask(&mut connection).await
        };
        tokio::time::timeout(LOOK_TIMEOUT, answer).await.unwrap_or(Err(LedgerError::Busy))
    }
}

/// The first few namespaces that asked for each of `sources`.
pub(super) async fn askers(
    connection: &mut AnyConnection,
    sources: &[String],
) -> Result<Askers, LedgerError> {
    let sql = |place: &str| {
        format!(
            "SELECT source, namespace FROM (SELECT source, namespace FROM requests \
             WHERE source = {place} GROUP BY source, namespace ORDER BY namespace \
             LIMIT {NAMESPACES}) AS found"
        )
    };
    let mut known = HashMap::<String, Vec<String>>::new();
    for row in of_each(connection, sources, sql).await? {
        known.entry(row.try_get("source")?).or_default().push(row.try_get("namespace")?);
    }
    Ok(Askers(known))
}

/// When each of `sources` was asked for, first and last.
pub(super) async fn asked(
    connection: &mut AnyConnection,
    sources: &[String],
) -> Result<HashMap<String, (Timestamp, Timestamp)>, LedgerError> {
    let sql = |place: &str| {
        format!(
            "SELECT source, MIN(first_at_ms) AS first_at_ms, MAX(last_at_ms) AS last_at_ms FROM \
             (SELECT source, first_at_ms, last_at_ms FROM requests WHERE source = {place} UNION ALL \
             SELECT source, first_at_ms, last_at_ms FROM requests_before WHERE source = {place}) \
             AS found GROUP BY source"
        )
    };
    let rows = of_each(connection, sources, sql).await?;
    let read = |row: AnyRow| {
        let asked = (time(&row, "first_at_ms")?, time(&row, "last_at_ms")?);
        Ok((row.try_get("source")?, asked))
    };
    rows.into_iter().map(read).collect()
}

/// The rows of one statement that asks `sql` for each of `sources`, some of them at a time.
pub(super) async fn of_each(
    connection: &mut AnyConnection,
    sources: &[String],
    sql: impl Fn(&str) -> String,
) -> Result<Vec<AnyRow>, LedgerError> {
    let mut all = Vec::new();
    for sources in sources.chunks(rows::ROWS_IN_ONE_STATEMENT) {
        let each = (1..=sources.len()).map(|number| sql(&format!("${number}")));
        let statement = each.collect::<Vec<_>>().join(" UNION ALL ");
        let query = sqlx::query::<Any>(AssertSqlSafe(statement)).persistent(false);
        let query = sources.iter().fold(query, |query, source| query.bind(source.clone()));
        all.append(&mut query.fetch_all(&mut *connection).await?);
    }
    Ok(all)
}

pub(super) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, LedgerError> {
    Ok(Timestamp::from_ms(row.try_get(column)?))
}
