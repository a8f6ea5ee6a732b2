//! What copies saw of images: their platforms, and what refers to them. Kept for people.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AnyConnection, Row};

use super::LedgerError;
use super::looks::of_each;
use super::rows::{self, Query};

/// What is at the target with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The platforms that were copied; none where the image has no index.
    pub(crate) platforms: Vec<String>,
    /// What refers to it, by kind; None where nobody looked for that.
    pub(crate) referrers: Option<BTreeMap<String, u64>>,
    /// Whether a signature is among them. Nobody has verified it.
    pub(crate) is_signed: Option<bool>,
}

impl Contents {
    /// What stands in the columns; what makes no sense there is left out.
    fn read(platforms: &str, referrers: Option<&str>, is_signed: Option<i64>) -> Self {
        let parts = |text: &str| {
            let parts = text.split(',').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        let count = |entry: String| {
            let (kind, count) = entry.split_once('=')?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        Self {
            platforms: parts(platforms),
            referrers: referrers.map(|text| parts(text).into_iter().filter_map(count).collect()),
            is_signed: is_signed.map(|is_signed| is_signed == 1),
        }
    }
}

/// Writes down what copies saw of sources.
pub(super) async fn put(
    connection: &mut AnyConnection,
    all: &[(String, Contents)],
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO contents (source, platforms, referrers, is_signed) VALUES {tuples} \
             ON CONFLICT (source) DO UPDATE SET platforms = excluded.platforms, \
             referrers = excluded.referrers, is_signed = excluded.is_signed"
        )
    };
    let bind = |query: Query<'static>, (source, contents): &(String, Contents)| {
        let Contents { platforms, referrers, is_signed } = contents;
        let counted = referrers.as_ref().map(|referrers| {
            let counts = referrers.iter().map(|(kind, count)| format!("{kind}={count}"));
            counts.collect::<Vec<_>>().join(",")
        });
        query
            .bind(source.clone())
            .bind(platforms.join(","))
            .bind(counted)
            .bind(is_signed.map(i64::from))
    };
    rows::write(connection, all, 4, sql, bind).await.map(drop)
}

/// What copies saw of each of `sources`.
pub(super) async fn find(
    connection: &mut AnyConnection,
    sources: &[String],
) -> Result<HashMap<String, Contents>, LedgerError> {
    let sql = |place: &str| {
        format!(
            "SELECT source, platforms, referrers, is_signed FROM contents WHERE source = {place}"
        )
    };
    let mut found = HashMap::new();
    for row in of_each(connection, sources, sql).await? {
        let platforms: String = row.try_get("platforms")?;
        let referrers: Option<String> = row.try_get("referrers")?;
        let contents = Contents::read(&platforms, referrers.as_deref(), row.try_get("is_signed")?);
        found.insert(row.try_get("source")?, contents);
    }
    Ok(found)
}
