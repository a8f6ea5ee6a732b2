//! The inventory: every image that ever entered, with what else is known of it. What pods run from
//! elsewhere than the target comes first.

mod page;

use std::fmt;
use std::str::FromStr;

use protocol::{Digest, ImageReference, Namespace, TargetRoot};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::contents::Contents;
use super::looks::time;
use super::record::{Record, State};
use super::usage::Usage;
use super::{Ledger, LedgerError, rows};
use crate::clock::Timestamp;

/// The most images on one page: about 1 MiB.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// Requests and copies that are told of one source, each.
const TOLD_OF_ONE: u32 = 100;

/// Which images a person wants to see. `Filter::default()` is all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Those that pods of this namespace asked for, or run.
    pub(crate) namespace: Option<Namespace>,
    /// Those in this state.
    pub(crate) state: Option<State>,
    /// Those with this text in their reference, whatever the case.
    pub(crate) search: Option<String>,
    /// Those that pods run from elsewhere than the target, or all others.
    pub(crate) unreplicated: Option<bool>,
    /// Those that pods run, or all others.
    pub(crate) in_use: Option<bool>,
}

/// After which image a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Among what runs from elsewhere than the target.
    Outside(String),
    /// Among all the rest.
    Rest(String),
}

/// Not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of the values that `next` had")]
pub(crate) struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text.split_once(' ') {
            Some(("outside", image)) => Ok(Self::Outside(image.to_owned())),
            Some(("rest", source)) => Ok(Self::Rest(source.to_owned())),
            _ => Err(CursorError),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(image) => write!(f, "outside {image}"),
            Self::Rest(source) => write!(f, "rest {source}"),
        }
    }
}

/// A page of the inventory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Its images.
    pub(crate) images: Vec<Seen>,
    /// What the next one begins after; None where there is none.
    pub(crate) next: Option<Cursor>,
}

/// One image of the inventory.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The image.
    pub(crate) image: ImageReference,
    /// What is known of it as a source; None where nobody asked for it.
    pub(crate) record: Option<Record>,
    /// What a copy saw of it.
    pub(crate) contents: Option<Contents>,
    /// Who asked for it, or runs it; the first few.
    pub(crate) namespaces: Vec<String>,
    /// When it was asked for, first and last.
    pub(crate) asked: Option<(Timestamp, Timestamp)>,
    /// How many pods run it; None where that is not known.
    pub(crate) in_use: Option<u64>,
    /// Whether pods run it from elsewhere than the target; None where that is not known.
    pub(crate) unreplicated: Option<bool>,
}

/// All that is known of one image.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    /// As in a list.
    pub(crate) seen: Seen,
    /// What is known of the source.
    pub(crate) record: Record,
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

impl Ledger {
    /// A page of the inventory: at most `limit` images after `after`. `target` is where replicas
    /// live.
    pub(crate) async fn images(
        &self,
        target: &TargetRoot,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, LedgerError> {
        let (limit, now) = (limit.min(MAX_PAGE) as usize, self.now());
        let ask = async |connection: &mut AnyConnection| {
            let usage = Usage::read(connection, target, now).await?;
            page::page(connection, &usage, filter, after, limit).await
        };
        self.look(ask).await
    }

    /// All that is known of `source`; None where nobody asked for it.
    pub(crate) async fn image(
        &self,
        target: &TargetRoot,
        source: &ImageReference,
    ) -> Result<Option<Details>, LedgerError> {
        let now = self.now();
        let ask = async |connection: &mut AnyConnection| {
            let usage = Usage::read(connection, target, now).await?;
            image(connection, &usage, source).await
        };
        self.look(ask).await
    }
}

async fn image(
    connection: &mut AnyConnection,
    usage: &Usage,
    source: &ImageReference,
) -> Result<Option<Details>, LedgerError> {
    let Some(record) = rows::find(connection, source).await? else { return Ok(None) };
    let image = vec![(source.clone(), Some(record.clone()))];
    let Some(seen) = page::seen(connection, usage, image).await?.pop() else { return Ok(None) };
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
        record,
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
