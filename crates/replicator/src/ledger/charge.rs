//! On whose behalf replicas are kept at the target, and how much that is for a namespace in all.

use protocol::{ImageReference, Namespace};
use sqlx::{Any, AssertSqlSafe, Row};

use super::rows::places;
use super::{Ledger, LedgerError};

/// What a replica counts, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    /// The namespace.
    pub(crate) namespace: Namespace,
    /// Bytes of the image, and of what refers to it.
    pub(crate) bytes: u64,
}

impl Ledger {
    /// Bytes of all replicas that are kept on behalf of `namespace`, those of `left_out` apart.
    pub(crate) async fn charged(
        &self,
        namespace: &Namespace,
        left_out: &[ImageReference],
    ) -> Result<u64, LedgerError> {
        // The whole sum is read from an index, and what is left out of it by its key.
        let sum = |condition: &str| {
            format!(
                "(SELECT CAST(COALESCE(SUM(charged_bytes), 0) AS BIGINT) FROM replicas \
                 WHERE charged_to = $1 {condition})"
            )
        };
        let mut sql = format!("SELECT {}", sum(""));
        if !left_out.is_empty() {
            let places = places(2, left_out.len());
            sql += &format!(" - {}", sum(&format!("AND source IN ({places})")));
        }
        let query = sqlx::query::<Any>(AssertSqlSafe(sql)).persistent(left_out.len() <= 1);
        let query = query.bind(namespace.to_string());
        let query = left_out.iter().fold(query, |query, source| query.bind(source.to_string()));
        let bytes: i64 = query.fetch_one(self.shared.store.readers()).await?.try_get(0)?;
        Ok(bytes.unsigned_abs())
    }
}
