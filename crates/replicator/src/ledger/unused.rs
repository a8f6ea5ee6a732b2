//! Which replicas nobody has asked for, and what pods ran: read a part at a time, so that ten
//! million rows take no more memory than a thousand.

use std::collections::HashSet;

use protocol::{Digest, ImageReference};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row};

use super::record::Record;
use super::rows::{self, places};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;

/// Digests or sources that one statement asks for.
const ASKED_AT_ONCE: usize = 64;

/// A record, and when somebody asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The record.
    pub(crate) record: Record,
    /// When it was asked for at last, by anybody; None where that is not known.
    pub(crate) last_at: Option<Timestamp>,
}

impl Asked {
    /// When it was of use at last, as far as requests tell. One of which none is known counts from
    /// when it was looked at.
    pub(crate) fn counts_from(&self) -> Timestamp {
        let Record { state, checked_at, changed_at, .. } = &self.record;
        match self.last_at {
            Some(at) => at,
            None if state.is_there() => checked_at.unwrap_or(*changed_at),
            None => Timestamp::from_ms(0),
        }
    }
}

/// What pods ran, all namespaces together.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    /// The reference that they had.
    pub(crate) image: ImageReference,
    /// What the kubelet said it ran.
    pub(crate) digest: Option<Digest>,
    /// How many run now.
    pub(crate) pods: u64,
    /// When one was seen at last, where none runs.
    pub(crate) last_at: Timestamp,
}

/// When a source was asked for at last, by what is kept in two places.
const LAST_ASKED: &str = "\
    (SELECT MAX(last_at_ms) FROM requests WHERE requests.source = replicas.source) AS asked_at_ms, \
    (SELECT MAX(last_at_ms) FROM requests_before WHERE requests_before.source = replicas.source) \
    AS asked_before_ms";

impl Ledger {
    /// Records that rest, and that nobody has asked for since `cutoff`, behind `after` in the
    /// order of the ledger, `limit` at most. Some may have been looked at since.
    pub(crate) async fn unasked(
        &self,
        cutoff: Timestamp,
        after: Option<&ImageReference>,
        limit: u32,
    ) -> Result<Vec<Asked>, LedgerError> {
        let sql = format!(
            "SELECT {columns}, {LAST_ASKED} FROM replicas \
             WHERE source > $1 AND turn IS NULL AND lease_owner IS NULL AND NOT EXISTS \
             (SELECT 1 FROM requests WHERE requests.source = replicas.source AND last_at_ms >= $2) \
             ORDER BY source LIMIT {limit}",
            columns = rows::columns(),
        );
        let query = sqlx::query::<Any>(AssertSqlSafe(sql));
        let query = query.bind(after.map_or_else(String::new, ToString::to_string));
        let rows = query.bind(cutoff.as_ms()).fetch_all(self.shared.store.readers()).await?;
        rows.iter().map(read_asked).collect()
    }

    /// All records of some digests, at whatever repository.
    pub(crate) async fn with_digests(
        &self,
        digests: &[&Digest],
    ) -> Result<Vec<Asked>, LedgerError> {
        let mut found = Vec::new();
        for digests in digests.chunks(ASKED_AT_ONCE) {
            let sql = format!(
                "SELECT {columns}, {LAST_ASKED} FROM replicas WHERE digest IN ({places})",
                columns = rows::columns(),
                places = places(1, digests.len()),
            );
            let query = sqlx::query::<Any>(AssertSqlSafe(sql)).persistent(false);
            let query = digests.iter().fold(query, |query, digest| query.bind(digest.to_string()));
            let rows = query.fetch_all(self.shared.store.readers()).await?;
            for row in &rows {
                found.push(read_asked(row)?);
            }
        }
        Ok(found)
    }

    /// Of these sources, those that somebody has asked for since.
    pub(crate) async fn asked_since(
        &self,
        sources: &[&ImageReference],
        since: Timestamp,
    ) -> Result<HashSet<ImageReference>, LedgerError> {
        let mut found = HashSet::new();
        for sources in sources.chunks(ASKED_AT_ONCE) {
            let sql = format!(
                "SELECT DISTINCT source FROM requests WHERE last_at_ms >= $1 AND source IN ({})",
                places(2, sources.len()),
            );
            let query = sqlx::query_scalar::<Any, String>(AssertSqlSafe(sql)).persistent(false);
            let query = query.bind(since.as_ms());
            let query = sources.iter().fold(query, |query, source| query.bind(source.to_string()));
            for source in query.fetch_all(self.shared.store.readers()).await? {
                found.insert(source.parse().map_err(|_| rows::damaged("source", &source))?);
            }
        }
        Ok(found)
    }

    /// All that is remembered of what pods ran.
    pub(crate) async fn ran(&self) -> Result<Vec<Ran>, LedgerError> {
        let sql = "SELECT image, digest, CAST(SUM(pods) AS BIGINT) AS pods, \
             MAX(last_seen_at_ms) AS last_seen_at_ms FROM uses GROUP BY image, digest";
        let rows = sqlx::query::<Any>(sql).fetch_all(self.shared.store.readers()).await?;
        rows.iter().map(read_ran).collect()
    }
}

fn read_asked(row: &AnyRow) -> Result<Asked, LedgerError> {
    let (kept, before): (Option<i64>, Option<i64>) =
        (row.try_get("asked_at_ms")?, row.try_get("asked_before_ms")?);
    Ok(Asked { record: rows::read(row)?, last_at: kept.max(before).map(Timestamp::from_ms) })
}

fn read_ran(row: &AnyRow) -> Result<Ran, LedgerError> {
    let (image, digest): (String, String) = (row.try_get("image")?, row.try_get("digest")?);
    let (pods, last_at): (i64, i64) = (row.try_get("pods")?, row.try_get("last_seen_at_ms")?);
    let digest = match digest.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| rows::damaged("digest", text))?),
    };
    Ok(Ran {
        image: image.parse().map_err(|_| rows::damaged("image", &image))?,
        digest,
        pods: pods.unsigned_abs(),
        last_at: Timestamp::from_ms(last_at),
    })
}
