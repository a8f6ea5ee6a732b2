//! What people ask the ledger: how things stand, and every image that ever entered. Reads alone,
//! never on the way of a trigger: a few at a time, each within a limit, and each answer bounded.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use protocol::{Digest, ImageReference, Namespace};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::queue::Figures;
use super::record::{Record, State};
use super::rows::{self, places};
use super::{Ledger, LedgerError, queue};
use crate::clock::Timestamp;

/// Questions of people that the database answers at once: half of the readers, so that triggers
/// always find one.
pub(super) const LOOKS_AT_ONCE: usize = 2;

/// How long a person's question may take, waiting included. A million images are searched in less.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Sources that each list of an overview has at most: more than a person reads, and what a page
/// shows in a moment.
const LISTED: u32 = 100;

/// Namespaces that are told of one source.
const NAMESPACES: u32 = 10;

/// Requests and copies that are told of one source, each.
const TOLD_OF_ONE: u32 = 100;

/// The most images on one page of the inventory: about 1 MiB.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// How things stand, for people. Lists are cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overview {
    /// In figures.
    pub(crate) figures: Figures,
    /// How much is worked on.
    pub(crate) leased: u64,
    /// What is worked on, longest first.
    pub(crate) copying: Vec<Record>,
    /// What waits, in the order of the queue.
    pub(crate) waiting: Vec<Record>,
    /// What failed or was refused, the newest first.
    pub(crate) failed: Vec<Record>,
    /// Stale replicas, the newest failure first.
    pub(crate) stale: Vec<Record>,
    /// Who asked for these; the first few.
    pub(crate) askers: Askers,
}

/// Which images a person wants to see. `Filter::default()` is all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Those that pods of this namespace asked for.
    pub(crate) namespace: Option<Namespace>,
    /// Those in this state.
    pub(crate) state: Option<State>,
    /// Those with this text in their reference, whatever the case.
    pub(crate) search: Option<String>,
}

/// One image of the inventory.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What is known of the source.
    pub(crate) record: Record,
    /// What a copy saw of it.
    pub(crate) contents: Option<Contents>,
    /// Who asked for it; the first few.
    pub(crate) namespaces: Vec<String>,
    /// When it was asked for, first and last.
    pub(crate) asked: Option<(Timestamp, Timestamp)>,
}

/// What is at the target with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The platforms that were copied.
    pub(crate) platforms: Vec<String>,
    /// What refers to it, by kind.
    pub(crate) referrers: BTreeMap<String, u64>,
}

/// All that is known of one image.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    /// As in a list.
    pub(crate) seen: Seen,
    /// Who asked for it, the newest first.
    pub(crate) requests: Vec<Request>,
    /// Its last copies, the newest first.
    pub(crate) copies: Vec<Copied>,
}

/// Who asked for an image, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) namespace: String,
    pub(crate) caller: String,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) count: u64,
}

/// A copy that ended.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) result: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) bytes_moved: u64,
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) replicator: String,
}

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
    /// How things stand.
    pub(crate) async fn overview(&self) -> Result<Overview, LedgerError> {
        let now = self.now();
        self.look(async |connection| overview(connection, now).await).await
    }

    /// A page of the inventory: at most `limit` images in the order of their sources, after the
    /// source `after`.
    pub(crate) async fn images(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Seen>, LedgerError> {
        self.look(async |connection| images(connection, filter, after, limit).await).await
    }

    /// All that is known of `source`; None where nobody asked for it.
    pub(crate) async fn image(
        &self,
        source: &ImageReference,
    ) -> Result<Option<Details>, LedgerError> {
        self.look(async |connection| image(connection, source).await).await
    }

    /// Answers a person's question, in time or not at all.
    async fn look<T>(
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

async fn overview(connection: &mut AnyConnection, now: Timestamp) -> Result<Overview, LedgerError> {
    let figures = queue::figures(connection, now).await?;
    let sql = "SELECT COUNT(*) AS count FROM replicas WHERE lease_owner IS NOT NULL";
    let leased = sqlx::query_scalar::<Any, i64>(sql).fetch_one(&mut *connection).await?;
    let leased = leased.unsigned_abs();
    let copying = "WHERE lease_owner IS NOT NULL ORDER BY since_ms, source";
    let copying = rows::list(connection, copying, &[], LISTED).await?;
    let waiting = format!("WHERE turn IS NOT NULL {}", rows::ORDER);
    let waiting = rows::list(connection, &waiting, &[], LISTED).await?;
    let stale = newest(connection, State::Stale).await?;
    let mut failed = newest(connection, State::Failed).await?;
    failed.append(&mut newest(connection, State::Refused).await?);
    failed.sort_by(|one, other| {
        other.changed_at.cmp(&one.changed_at).then_with(|| one.source.cmp(&other.source))
    });
    failed.truncate(LISTED as usize);
    let sources = [&waiting, &failed, &stale].into_iter().flatten().map(|record| &record.source);
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    let askers = askers(connection, &sources).await?;
    Ok(Overview { figures, leased, copying, waiting, failed, stale, askers })
}

/// The sources whose state was set last.
async fn newest(connection: &mut AnyConnection, state: State) -> Result<Vec<Record>, LedgerError> {
    let state = state.as_str();
    let condition = format!("WHERE state = '{state}' ORDER BY changed_at_ms DESC, source");
    rows::list(connection, &condition, &[], LISTED).await
}

/// The first few namespaces that asked for each of `sources`.
async fn askers(connection: &mut AnyConnection, sources: &[String]) -> Result<Askers, LedgerError> {
    let sql = |place: &str| {
        format!(
            "SELECT source, namespace FROM (SELECT source, namespace FROM requests \
             WHERE source = {place} GROUP BY source, namespace ORDER BY namespace \
             LIMIT {NAMESPACES}) AS some"
        )
    };
    let mut known = HashMap::<String, Vec<String>>::new();
    for row in of_each(connection, sources, sql).await? {
        known.entry(row.try_get("source")?).or_default().push(row.try_get("namespace")?);
    }
    Ok(Askers(known))
}

/// When each of `sources` was asked for, first and last.
async fn asked(
    connection: &mut AnyConnection,
    sources: &[String],
) -> Result<HashMap<String, (Timestamp, Timestamp)>, LedgerError> {
    let sql = |place: &str| {
        format!(
            "SELECT source, MIN(first_at_ms) AS first_at_ms, MAX(last_at_ms) AS last_at_ms FROM \
             (SELECT source, first_at_ms, last_at_ms FROM requests WHERE source = {place} UNION ALL \
             SELECT source, first_at_ms, last_at_ms FROM requests_before WHERE source = {place}) \
             AS some GROUP BY source"
        )
    };
    let rows = of_each(connection, sources, sql).await?;
    let read = |row: AnyRow| {
        let asked = (time(&row, "first_at_ms")?, time(&row, "last_at_ms")?);
        Ok((row.try_get("source")?, asked))
    };
    rows.into_iter().map(read).collect()
}

/// What copies saw of each of `sources`.
async fn contents(
    connection: &mut AnyConnection,
    sources: &[String],
) -> Result<HashMap<String, Contents>, LedgerError> {
    let sql = |place: &str| {
        format!("SELECT source, platforms, referrers FROM contents WHERE source = {place}")
    };
    let rows = of_each(connection, sources, sql).await?;
    let read = |row: AnyRow| {
        let (platforms, referrers): (String, String) =
            (row.try_get("platforms")?, row.try_get("referrers")?);
        Ok((row.try_get("source")?, Contents::read(&platforms, &referrers)))
    };
    rows.into_iter().map(read).collect()
}

/// The rows of one statement that asks `sql` for each of `sources`, some of them at a time.
async fn of_each(
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

async fn images(
    connection: &mut AnyConnection,
    filter: &Filter,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Seen>, LedgerError> {
    let (condition, values) = filter.condition(after);
    let records = rows::list(connection, &condition, &values, limit.min(MAX_PAGE)).await?;
    seen(connection, records).await
}

/// The same records with what else is known of their sources.
async fn seen(
    connection: &mut AnyConnection,
    records: Vec<Record>,
) -> Result<Vec<Seen>, LedgerError> {
    let sources: Vec<_> = records.iter().map(|record| record.source.to_string()).collect();
    let askers = askers(connection, &sources).await?;
    let mut asked = asked(connection, &sources).await?;
    let mut contents = contents(connection, &sources).await?;
    let seen = records.into_iter().zip(sources).map(|(record, source)| Seen {
        namespaces: askers.of(&record),
        asked: asked.remove(&source),
        contents: contents.remove(&source),
        record,
    });
    Ok(seen.collect())
}

async fn image(
    connection: &mut AnyConnection,
    source: &ImageReference,
) -> Result<Option<Details>, LedgerError> {
    let Some(record) = rows::find(connection, source).await? else { return Ok(None) };
    let seen = seen(connection, vec![record]).await?.into_iter().next();
    let Some(seen) = seen else { return Ok(None) };
    let requests = format!(
        "SELECT namespace, caller, first_at_ms, last_at_ms, count FROM requests \
         WHERE source = $1 ORDER BY last_at_ms DESC, namespace, caller LIMIT {TOLD_OF_ONE}"
    );
    let requests = sqlx::query::<Any>(AssertSqlSafe(requests)).bind(source.to_string());
    let requests = requests.fetch_all(&mut *connection).await?;
    let copies = format!(
        "SELECT result, digest, bytes_moved, began_at_ms, ended_at_ms, replicator FROM copies \
         WHERE source = $1 ORDER BY claim DESC LIMIT {TOLD_OF_ONE}"
    );
    let copies = sqlx::query::<Any>(AssertSqlSafe(copies)).bind(source.to_string());
    let copies = copies.fetch_all(&mut *connection).await?;
    Ok(Some(Details {
        seen,
        requests: requests.iter().map(read_request).collect::<Result<_, _>>()?,
        copies: copies.iter().map(read_copy).collect::<Result<_, _>>()?,
    }))
}

fn read_request(row: &AnyRow) -> Result<Request, LedgerError> {
    Ok(Request {
        namespace: row.try_get("namespace")?,
        caller: row.try_get("caller")?,
        first_at: time(row, "first_at_ms")?,
        last_at: time(row, "last_at_ms")?,
        count: row.try_get::<i64, _>("count")?.unsigned_abs(),
    })
}

fn read_copy(row: &AnyRow) -> Result<Copied, LedgerError> {
    let digest: Option<String> = row.try_get("digest")?;
    Ok(Copied {
        result: row.try_get("result")?,
        digest: digest.map(|digest| rows::read_digest(&digest)).transpose()?,
        bytes_moved: row.try_get::<i64, _>("bytes_moved")?.unsigned_abs(),
        began_at: time(row, "began_at_ms")?,
        ended_at: time(row, "ended_at_ms")?,
        replicator: row.try_get("replicator")?,
    })
}

fn time(row: &AnyRow, column: &str) -> Result<Timestamp, LedgerError> {
    Ok(Timestamp::from_ms(row.try_get(column)?))
}

impl Filter {
    /// What a row has to be, its order, and the values of the parameters in it.
    fn condition(&self, after: Option<&str>) -> (String, Vec<String>) {
        let Self { namespace, state, search } = self;
        let mut conditions = vec!["source > $1".to_owned()];
        let mut values = vec![after.unwrap_or_default().to_owned()];
        let mut add = |condition: &dyn Fn(&str) -> String, value: String| {
            values.push(value);
            conditions.push(condition(&places(values.len(), 1)));
        };
        if let Some(state) = state {
            add(&|place| format!("state = {place}"), state.as_str().to_owned());
        }
        if let Some(namespace) = namespace {
            let asked = |place: &str| {
                format!("source IN (SELECT source FROM requests WHERE namespace = {place})")
            };
            add(&asked, namespace.to_string());
        }
        if let Some(search) = search {
            let has = |place: &str| format!("LOWER(source) LIKE {place} ESCAPE '\\'");
            add(&has, pattern(search));
        }
        (format!("WHERE {} ORDER BY source", conditions.join(" AND ")), values)
    }
}

/// What LIKE compares with to find `text` anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

impl Contents {
    /// Whether a signature is among them. Nobody has verified it.
    pub(crate) fn is_signed(&self) -> bool {
        self.referrers.contains_key("signature")
    }

    /// What stands in the columns; what makes no sense there is left out.
    fn read(platforms: &str, referrers: &str) -> Self {
        let some = |text: &str| {
            text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let count = |entry: String| {
            let (kind, count) = entry.split_once('=')?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        Self {
            platforms: some(platforms),
            referrers: some(referrers).into_iter().filter_map(count).collect(),
        }
    }
}
