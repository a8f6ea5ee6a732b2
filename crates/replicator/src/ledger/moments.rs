//! Moments that all replicators go by: when something was last so, or last done.

use sqlx::{Any, AnyConnection};

use super::LedgerError;
use crate::clock::Timestamp;

/// What happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The watch on pods knew all that ran in the cluster.
    PodsKnown,
    /// Requests were answered and not written down.
    RequestsLost,
    /// A scheduled prune ended.
    Pruned,
}

impl Moment {
    /// The name in the ledger.
    fn as_str(self) -> &'static str {
        match self {
            Self::PodsKnown => "pods-known",
            Self::RequestsLost => "requests-lost",
            Self::Pruned => "pruned",
        }
    }
}

/// When it last was; None where it never was.
pub(super) async fn find(
    connection: &mut AnyConnection,
    moment: Moment,
) -> Result<Option<Timestamp>, LedgerError> {
    let sql = "SELECT at_ms FROM moments WHERE name = $1";
    let query = sqlx::query_scalar::<Any, i64>(sql).bind(moment.as_str());
    Ok(query.fetch_optional(connection).await?.map(Timestamp::from_ms))
}

/// It was so at `at`, or later if somebody says so.
pub(super) async fn put(
    connection: &mut AnyConnection,
    moment: Moment,
    at: Timestamp,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO moments (name, at_ms) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
         SET at_ms = excluded.at_ms WHERE moments.at_ms < excluded.at_ms";
    sqlx::query::<Any>(sql).bind(moment.as_str()).bind(at.as_ms()).execute(connection).await?;
    Ok(())
}
