//! The rows of `removals`: repositories at the target from which something is being deleted. A
//! holder that gives no sign of life holds nothing.

use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::LedgerError;
use super::work::Owner;
use crate::clock::Timestamp;

/// The name that is no repository's: who holds it prunes.
pub(super) const PRUNE: &str = "*";

/// Of a claim and a removal that begin at the same moment one waits here for the other, and then
/// sees what it did.
async fn pass(connection: &mut AnyConnection, lock: &str) -> Result<(), LedgerError> {
    let sql = format!("SELECT at_ms FROM moments WHERE name = 'removals'{lock}");
    sqlx::query_scalar::<Any, i64>(AssertSqlSafe(sql)).fetch_optional(connection).await?;
    Ok(())
}

/// What is held at this moment, by anybody.
pub(super) async fn held(
    connection: &mut AnyConnection,
    now: Timestamp,
    lock: &str,
) -> Result<Vec<String>, LedgerError> {
    pass(connection, lock).await?;
    let sql = "SELECT name FROM removals INNER JOIN replicators ON replicators.id = removals.owner \
         WHERE replicators.until_ms > $1 AND name <> $2";
    let query = sqlx::query_scalar::<Any, String>(sql).bind(now.as_ms()).bind(PRUNE);
    Ok(query.fetch_all(connection).await?)
}

/// Holds `name`. False where another replicator does.
pub(super) async fn hold(
    connection: &mut AnyConnection,
    name: &str,
    owner: &Owner,
    now: Timestamp,
    lock: &str,
) -> Result<bool, LedgerError> {
    pass(connection, lock).await?;
    let sql = "INSERT INTO removals (name, owner) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
         SET owner = excluded.owner WHERE removals.owner = excluded.owner OR NOT EXISTS \
         (SELECT 1 FROM replicators WHERE id = removals.owner AND until_ms > $3)";
    let query = sqlx::query::<Any>(sql).bind(name.to_owned()).bind(owner.as_str().to_owned());
    let result = query.bind(now.as_ms()).execute(connection).await?;
    Ok(result.rows_affected() > 0)
}

/// Lets go of `name`.
pub(super) async fn release(
    connection: &mut AnyConnection,
    name: &str,
    owner: &Owner,
) -> Result<(), LedgerError> {
    let sql = "DELETE FROM removals WHERE name = $1 AND owner = $2";
    let query = sqlx::query::<Any>(sql).bind(name.to_owned()).bind(owner.as_str().to_owned());
    query.execute(connection).await?;
    Ok(())
}

/// Lets go of what replicators held that are forgotten.
pub(super) async fn forget_lost(connection: &mut AnyConnection) -> Result<(), LedgerError> {
    let sql = "DELETE FROM removals WHERE owner NOT IN (SELECT id FROM replicators)";
    sqlx::query::<Any>(sql).execute(connection).await?;
    Ok(())
}
