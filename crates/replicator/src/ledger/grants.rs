//! The rows of `grants`, and what a process remembers of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row};

use super::LedgerError;
use super::grant::{Grant, Grants, Identity, SourceName, Verdict};
use super::rows::{self, Query, damaged};
use crate::clock::Timestamp;

/// Repositories whose grants are kept in memory: as many as records are.
const REMEMBERED_SOURCES: u64 = 20_000;

/// How long a process believes what it read where others write, too: so much later than its own
/// replicator another one hears that a right is no more, or is there.
const BELIEVED: Duration = Duration::from_secs(5);

/// What a process remembers.
#[derive(Debug)]
pub(super) struct Memory {
    known: moka::sync::Cache<SourceName, Remembered>,
    /// Grows with each change that this process wrote, so that what was read before one is not
    /// kept after it.
    changes: Mutex<u64>,
    is_shared: bool,
}

/// What was read, and when.
#[derive(Clone, Debug)]
struct Remembered {
    grants: Arc<Grants>,
    read_at: Timestamp,
}

impl Memory {
    /// An empty one, of rows that other processes change, or do not.
    pub(super) fn new(is_shared: bool) -> Self {
        let known = moka::sync::Cache::new(REMEMBERED_SOURCES);
        Self { known, changes: Mutex::default(), is_shared }
    }

    /// What is remembered, and whether it is believed.
    pub(super) fn recall(
        &self,
        source: &SourceName,
        now: Timestamp,
    ) -> Option<(Arc<Grants>, bool)> {
        let Remembered { grants, read_at } = self.known.get(source)?;
        Some((grants, !self.is_shared || now.apart(read_at) < BELIEVED))
    }

    /// How many changes were written up to now.
    pub(super) fn changes(&self) -> u64 {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was read at `read_at`, if there are as many changes now as there were then.
    pub(super) fn remember(
        &self,
        source: &SourceName,
        grants: &Arc<Grants>,
        read_at: Timestamp,
        changes: u64,
    ) {
        let now = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == changes {
            self.known.insert(source.clone(), Remembered { grants: Arc::clone(grants), read_at });
        }
    }

    /// Others were written.
    pub(super) fn forget(&self, source: &SourceName) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.known.invalidate(source);
    }
}

/// What is known of `source`.
pub(super) async fn find(
    connection: &mut AnyConnection,
    source: &SourceName,
) -> Result<Grants, LedgerError> {
    let sql =
        "SELECT identity, verdict, reason, asked_at_ms, until_ms FROM grants WHERE source = $1";
    let query = sqlx::query::<Any>(sql).bind(source.as_str().to_owned());
    let rows = query.fetch_all(connection).await?;
    let grants = rows.iter().map(read).collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Grants(grants))
}

/// Writes down what is known of `source`.
pub(super) async fn put(
    connection: &mut AnyConnection,
    source: &SourceName,
    grants: &Grants,
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO grants (source, identity, verdict, reason, asked_at_ms, until_ms) \
             VALUES {tuples} ON CONFLICT (source, identity) DO UPDATE SET \
             verdict = excluded.verdict, reason = excluded.reason, \
             asked_at_ms = excluded.asked_at_ms, until_ms = excluded.until_ms"
        )
    };
    let bind = |query: Query<'static>, (identity, grant): &(&Identity, &Grant)| {
        let (verdict, reason) = words(&grant.verdict);
        query
            .bind(source.as_str().to_owned())
            .bind(identity.word().into_owned())
            .bind(verdict.to_owned())
            .bind(reason.to_owned())
            .bind(grant.asked_at.as_ms())
            .bind(grant.until.as_ms())
    };
    let grants: Vec<_> = grants.0.iter().collect();
    rows::write(connection, &grants, 6, sql, bind).await.map(drop)
}

fn words(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Allowed => ("allowed", ""),
        Verdict::Denied(reason) => ("denied", reason),
        Verdict::Unanswered(reason) => ("unanswered", reason),
    }
}

fn read(row: &AnyRow) -> Result<(Identity, Grant), LedgerError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let time = |column: &str| row.try_get::<i64, _>(column).map(Timestamp::from_ms);
    let (identity, verdict, reason) = (text("identity")?, text("verdict")?, text("reason")?);
    let verdict = match verdict.as_str() {
        "allowed" => Verdict::Allowed,
        "denied" => Verdict::Denied(reason),
        "unanswered" => Verdict::Unanswered(reason),
        other => return Err(damaged("verdict", other)),
    };
    let grant = Grant { verdict, asked_at: time("asked_at_ms")?, until: time("until_ms")? };
    Ok((Identity::parse(&identity).ok_or_else(|| damaged("identity", &identity))?, grant))
}
