//! How a ledger looks from outside, for a person: reads a little, writes nothing, and takes nothing
//! over from a replicator that may run.

use sqlx::{AnyConnection, Connection};

use super::LedgerError;
use super::store::{MIGRATIONS, POSTGRES_NOW};
use super::url::{Engine, LedgerUrl};
use crate::clock::Timestamp;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkup {
    /// The version of its schema; None where nothing was ever written.
    pub(crate) version: Option<i64>,
    /// The version that this release brings it to.
    pub(crate) known: i64,
    /// Whether its database takes no writes, as a standby's.
    pub(crate) is_read_only: bool,
    /// The time of its database; None where that is ours.
    pub(crate) now: Option<Timestamp>,
}

impl Checkup {
    /// Looks at the ledger at `url`.
    pub(crate) async fn of(url: &LedgerUrl) -> Result<Self, LedgerError> {
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let nothing = Self { version: None, known, is_read_only: false, now: None };
        if url.file().is_some_and(|file| !file.exists()) {
            return Ok(nothing);
        }
        let options = url.for_reading().options()?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        let checkup = match url.engine() {
            Engine::Sqlite => {
                Self { version: version(&mut connection, SQLITE_TABLES).await?, ..nothing }
            }
            Engine::Postgres => {
                let read_only: String =
                    sqlx::query_scalar(READ_ONLY).fetch_one(&mut connection).await?;
                let now_ms: i64 =
                    sqlx::query_scalar(POSTGRES_NOW).fetch_one(&mut connection).await?;
                Self {
                    version: version(&mut connection, POSTGRES_TABLES).await?,
                    is_read_only: read_only == "on",
                    now: Some(Timestamp::from_ms(now_ms)),
                    ..nothing
                }
            }
        };
        connection.close().await?;
        Ok(checkup)
    }
}

/// How many tables of migrations there are.
const SQLITE_TABLES: &str = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
const POSTGRES_TABLES: &str = "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()";

/// Of a standby, and of a user or database that was told so.
const READ_ONLY: &str = "SELECT current_setting('transaction_read_only')";

async fn version(
    connection: &mut AnyConnection,
    tables: &'static str,
) -> Result<Option<i64>, LedgerError> {
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(None);
    }
    let newest = "SELECT MAX(version) FROM _sqlx_migrations";
    Ok(sqlx::query_scalar(newest).fetch_one(connection).await?)
}
