//! The database: one SQL for SQLite and PostgreSQL, and the few things in which they differ.
//!
//! Each write is on disk when it returns (`synchronous = FULL`, and PostgreSQL's default): a
//! trigger that was answered is never forgotten, even in a power cut, since a pod in mode
//! `rewrite` is not asked about again.

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Transaction};

use super::LedgerError;
use super::url::{Engine, LedgerUrl};
use crate::clock::{Clock, Timestamp};

/// Readers beside the one writer. Reads are short; more would only wait for the same database.
const READERS: u32 = 4;

/// How long a connection may take to be there. A trigger's whole budget is 2 s.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(800);

/// SQLite: how long a statement waits for another process's lock (a backup, say) before it fails.
/// The log of changes goes into the file at a thousand pages (SQLite's default).
const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA busy_timeout = 5000";

/// PostgreSQL: a statement that takes so long is stuck, and a replicator that stops in the middle
/// of a transaction must not hold its rows for ever. (Migrations run without these.)
const POSTGRES_SETUP: &str = "SET statement_timeout = 5000; \
     SET idle_in_transaction_session_timeout = 10000";

/// PostgreSQL's clock, since those of several replicators differ; in a transaction, too, it runs.
pub(super) const POSTGRES_NOW: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms";

/// What the schema went through, up to this release's.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!();

/// Where the rows are.
#[derive(Clone, Debug)]
pub(super) struct Store {
    engine: Engine,
    writer: AnyPool,
    readers: AnyPool,
    clock: Clock,
}

impl Store {
    /// Opens the ledger at `url`, makes it if it is not there, and brings its schema up to date.
    pub(super) async fn open(url: &LedgerUrl, clock: Clock) -> Result<Self, LedgerError> {
        let engine = url.engine();
        let options = url.options()?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        if engine == Engine::Sqlite {
            connection.execute(SQLITE_SETUP).await?;
        }
        MIGRATIONS.run(&mut connection).await?;
        connection.close().await?;
        let pool = |size| {
            let options = AnyPoolOptions::new().max_connections(size);
            let options = options.acquire_timeout(ACQUIRE_TIMEOUT);
            let setup = match engine {
                Engine::Sqlite => SQLITE_SETUP,
                Engine::Postgres => POSTGRES_SETUP,
            };
            let options = options.after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(setup).await.map(drop) })
            });
            // SQLite ends a transaction by itself where the disk is full, and the driver then takes
            // its ROLLBACK for failed and the transaction for open, for ever: no other could begin.
            options.before_acquire(|connection, _| {
                let is_in_transaction = connection.is_in_transaction();
                Box::pin(async move { Ok(!is_in_transaction) })
            })
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let readers = pool(READERS).connect_with(options).await?;
        Ok(Self { engine, writer, readers, clock })
    }

    /// Whether other processes write, too.
    pub(super) fn is_shared(&self) -> bool {
        self.engine == Engine::Postgres
    }

    /// For reading alone.
    pub(super) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins to write. One at a time.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, LedgerError> {
        Ok(match self.engine {
            Engine::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await?,
            Engine::Postgres => self.writer.begin().await?,
        })
    }

    /// The time that leases and due times go by.
    pub(super) async fn now(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Timestamp, LedgerError> {
        if self.engine == Engine::Sqlite {
            return Ok(self.clock.now());
        }
        let ms: i64 = sqlx::query_scalar(POSTGRES_NOW).fetch_one(connection).await?;
        Ok(Timestamp::from_ms(ms))
    }

    /// The time of this process.
    pub(super) fn local_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What a SELECT ends with whose rows are to be changed. SQLite has one writer at a time.
    pub(super) fn for_update(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE",
        }
    }

    /// What a SELECT ends with whose rows must stay as they are until the transaction ends.
    pub(super) fn for_share(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR SHARE",
        }
    }

    /// As [`Store::for_update`], passing over rows that somebody else is about to change.
    pub(super) fn for_update_skip_locked(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }
}
