//! Where at targets blobs are, kept over restarts and shared between replicators. Asked and told
//! in memory; written and read in the background.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::{Digest, Registry, Repository};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Row};

use super::LedgerError;
use super::rows::{self, Query};
use crate::clock::Timestamp;

/// Places that wait to be written: some hundred images' worth. What comes beyond is written when
/// it is seen again; without it a blob is sent that could have been mounted.
const WAITING_PLACES: usize = 10_000;

/// Places that are remembered, and read at start. About 250 bytes each, so 5 MiB at the most.
const REMEMBERED_PLACES: u32 = 20_000;

/// Places of other replicators that are read in one go.
const READ_AT_ONCE: u32 = 2_000;

type Key = (Registry, Digest);

/// What was found out of a blob.
#[derive(Clone, Debug)]
pub(super) enum Finding {
    /// It is in this repository.
    There(Repository),
    /// It is not in this one, or cannot be had from there.
    Gone(Repository),
}

/// Findings that are to be written.
pub(super) type NewPlaces = BTreeMap<Key, Finding>;

/// What this process knows of places.
#[derive(Debug)]
pub(crate) struct BlobPlaces {
    known: moka::sync::Cache<Key, Repository>,
    new: Mutex<NewPlaces>,
}

impl Default for BlobPlaces {
    fn default() -> Self {
        let known = moka::sync::Cache::new(REMEMBERED_PLACES.into());
        Self { known, new: Mutex::default() }
    }
}

impl BlobPlaces {
    /// A repository that held the blob when last seen.
    pub(crate) fn find(&self, registry: &Registry, digest: &Digest) -> Option<Repository> {
        self.known.get(&(registry.clone(), digest.clone()))
    }

    /// The blob is in this repository.
    pub(crate) fn record(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        if self.find(registry, digest).as_ref() == Some(repository) {
            return;
        }
        self.known.insert((registry.clone(), digest.clone()), repository.clone());
        self.write_later(registry, digest, Finding::There(repository.clone()));
    }

    /// The blob is not in this repository, or cannot be had from there.
    pub(crate) fn forget(&self, registry: &Registry, repository: &Repository, digest: &Digest) {
        // Somebody may have seen it elsewhere in the meantime.
        if self.find(registry, digest).as_ref() != Some(repository) {
            return;
        }
        self.known.invalidate(&(registry.clone(), digest.clone()));
        self.write_later(registry, digest, Finding::Gone(repository.clone()));
    }

    fn write_later(&self, registry: &Registry, digest: &Digest, finding: Finding) {
        let key = (registry.clone(), digest.clone());
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if new.len() < WAITING_PLACES || new.contains_key(&key) {
            new.insert(key, finding);
        }
    }

    /// Takes what is to be written.
    pub(super) fn take_new(&self) -> NewPlaces {
        std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the newest places, oldest first: then the memory keeps the newest. Returns when the
    /// last of them was seen.
    pub(super) async fn read_newest(&self, readers: &AnyPool) -> Result<Timestamp, LedgerError> {
        let sql = format!(
            "SELECT registry, digest, repository, seen_at_ms FROM blob_places \
             ORDER BY seen_at_ms DESC LIMIT {REMEMBERED_PLACES}"
        );
        let rows = sqlx::query::<Any>(AssertSqlSafe(sql)).fetch_all(readers).await?;
        self.learn(rows.iter().rev(), Timestamp::from_ms(0))
    }

    /// Reads what was seen by anybody since `since`. Returns when the last of it was seen.
    pub(super) async fn read_since(
        &self,
        readers: &AnyPool,
        since: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        let sql = format!(
            "SELECT registry, digest, repository, seen_at_ms FROM blob_places \
             WHERE seen_at_ms >= $1 ORDER BY seen_at_ms LIMIT {READ_AT_ONCE}"
        );
        let query = sqlx::query::<Any>(AssertSqlSafe(sql)).bind(since.as_ms());
        self.learn(query.fetch_all(readers).await?.iter(), since)
    }

    fn learn<'a>(
        &self,
        rows: impl Iterator<Item = &'a AnyRow>,
        since: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        let mut last = since;
        for row in rows {
            last = Timestamp::from_ms(row.try_get("seen_at_ms")?);
            // A row that cannot be read costs a transfer, no more.
            if let Some((key, repository)) = read(row)? {
                self.known.insert(key, repository);
            }
        }
        Ok(last)
    }
}

fn read(row: &AnyRow) -> Result<Option<(Key, Repository)>, LedgerError> {
    let registry: String = row.try_get("registry")?;
    let digest: String = row.try_get("digest")?;
    let repository: String = row.try_get("repository")?;
    let place = || Some(((registry.parse().ok()?, digest.parse().ok()?), repository.parse().ok()?));
    Ok(place())
}

/// Writes findings down.
pub(super) async fn put_places(
    connection: &mut AnyConnection,
    new: &NewPlaces,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for (key, finding) in new {
        match finding {
            Finding::There(repository) => there.push((key, repository)),
            Finding::Gone(repository) => gone.push((key, repository)),
        }
    }
    insert(connection, &there, now).await?;
    delete(connection, &gone).await
}

async fn insert(
    connection: &mut AnyConnection,
    there: &[(&Key, &Repository)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO blob_places (registry, digest, repository, seen_at_ms) VALUES {tuples} \
             ON CONFLICT (registry, digest) DO UPDATE \
             SET repository = excluded.repository, seen_at_ms = excluded.seen_at_ms"
        )
    };
    let bind = |query, place: &_| bind(query, place).bind(now.as_ms());
    rows::write(connection, there, 4, sql, bind).await.map(drop)
}

/// A row that names another repository by now stays.
async fn delete(
    connection: &mut AnyConnection,
    gone: &[(&Key, &Repository)],
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!("DELETE FROM blob_places WHERE (registry, digest, repository) IN (VALUES {tuples})")
    };
    rows::write(connection, gone, 3, sql, bind).await.map(drop)
}

fn bind(query: Query<'static>, place: &(&Key, &Repository)) -> Query<'static> {
    let ((registry, digest), repository) = place;
    query.bind(registry.to_string()).bind(digest.to_string()).bind(repository.to_string())
}
