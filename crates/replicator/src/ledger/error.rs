//! Why the ledger could not answer.

use std::sync::Arc;

use sqlx::migrate::MigrateError;

use super::gate::PLACES;

/// Why the ledger could not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The database says no.
    #[error("the ledger's database failed: {0}")]
    Storage(Arc<sqlx::Error>),
    /// The database is not there, or says nothing.
    #[error("the ledger's database does not answer: {0}")]
    Unreachable(Arc<sqlx::Error>),
    /// The schema could not be brought up to date.
    #[error("the ledger's schema does not fit this release: {0}")]
    Schema(Arc<MigrateError>),
    /// A newer release has changed the schema.
    #[error(
        "the ledger was written by a newer release; use that one, or restore a backup from before it"
    )]
    Newer,
    /// A row holds what no release wrote.
    #[error("the ledger is damaged: {column} holds '{value}'")]
    Damaged {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Another replicator changed the same rows at the same moment, again and again.
    #[error("another replicator changed the same rows of the ledger; asking again helps")]
    Conflict,
    /// The queue is as long as it may be.
    #[error("{limit} images wait to be copied already, and no more are taken on; ask again later")]
    TooMany {
        /// How long it may be.
        limit: u64,
    },
    /// As many triggers wait for the database as may.
    #[error("{PLACES} others wait for the ledger already; ask again in a moment")]
    Crowded,
    /// The database is behind.
    #[error("the ledger's database is too slow: it did not do in time what was asked of it")]
    Busy,
    /// What was to be held is held by another replicator.
    #[error("another replicator removes replicas at this moment")]
    Held,
    /// The writer has ended.
    #[error("the ledger is closed")]
    Closed,
}

/// SQLSTATEs after which the same transaction can succeed: serialization_failure,
/// deadlock_detected.
const RETRIED: [&str; 2] = ["40001", "40P01"];

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database)
                if database.code().is_some_and(|code| RETRIED.contains(&code.as_ref())) =>
            {
                Self::Conflict
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => {
                Self::Unreachable(Arc::new(error))
            }
            _ => Self::Storage(Arc::new(error)),
        }
    }
}

impl From<MigrateError> for LedgerError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) => Self::Newer,
            MigrateError::Execute(error) => error.into(),
            error => Self::Schema(Arc::new(error)),
        }
    }
}
