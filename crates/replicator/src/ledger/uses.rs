//! What pods run, as the watch on pods tells it, and until when that is the whole picture.
//!
//! Numbers of pods are told as they are, never as what was added: telling the same twice changes
//! nothing, and several replicators may watch the same cluster.

use std::collections::BTreeMap;

use protocol::{Digest, ImageReference, Namespace};
use sqlx::{Any, AnyConnection, AnyPool, Row};

use super::action::Action;
use super::rows::{self, Query, clamp};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;

/// Rows of one change: a few milliseconds. What triggers want comes in between.
const CHANGED_AT_ONCE: usize = 500;

/// An image as pods of one namespace run it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Use {
    /// The reference that the pods have.
    pub(crate) image: ImageReference,
    /// The pods' namespace.
    pub(crate) namespace: Namespace,
    /// What the kubelet says it runs; None where it has not said yet.
    pub(crate) digest: Option<Digest>,
}

/// How many pods run what. A pod runs its images from when it is made, long before its
/// containers start, until it has ended for good.
pub(crate) type Running = BTreeMap<Use, u64>;

/// What the watch on pods saw.
#[derive(Clone, Debug)]
pub(crate) enum Sighting {
    /// All that runs in the cluster.
    Cluster(Running),
    /// What has changed since in the cluster: how many pods run each of these now, zero where
    /// none is left. Empty where nothing has: then the picture is known to be whole for longer.
    Changes(Running),
}

impl Ledger {
    /// Writes down what runs: all of it or what has changed. `as_of` is when the API server said
    /// so, or before that: for a list [`Ledger::now`] when it was asked for, else when the news
    /// came. A watch of the cluster that has no news tells empty changes whenever it hears that
    /// it still stands (by a bookmark), since nobody may believe a picture that is old.
    ///
    /// Returns when it is on disk. On an error nothing or a part was written: the caller goes on
    /// with a complete list.
    pub(crate) async fn see(
        &self,
        sighting: Sighting,
        as_of: Timestamp,
    ) -> Result<(), LedgerError> {
        let changes = match sighting {
            Sighting::Cluster(running) => self.compare(running).await?,
            Sighting::Changes(running) => running,
        };
        let mut changes: Vec<_> = changes.into_iter().collect();
        while changes.len() > CHANGED_AT_ONCE {
            let rest = changes.split_off(CHANGED_AT_ONCE);
            self.change(Action::See { changes, known_until: None }).await?;
            changes = rest;
        }
        // The picture is whole with the last change, not before.
        self.change(Action::See { changes, known_until: Some(as_of) }).await.map(drop)
    }

    /// In what `running` differs from what is written down.
    async fn compare(&self, mut running: Running) -> Result<Running, LedgerError> {
        for (known, pods) in running_now(self.shared.store.readers()).await? {
            if running.get(&known) == Some(&pods) {
                running.remove(&known);
            } else {
                running.entry(known).or_insert(0);
            }
        }
        Ok(running)
    }
}

/// What runs now, as far as it is written down.
async fn running_now(readers: &AnyPool) -> Result<Running, LedgerError> {
    let sql = "SELECT image, namespace, digest, pods FROM uses WHERE pods > 0";
    let rows = sqlx::query::<Any>(sql).fetch_all(readers).await?;
    rows.iter()
        .map(|row| {
            let text = |column: &str| row.try_get::<String, _>(column);
            let (image, namespace, digest) = (text("image")?, text("namespace")?, text("digest")?);
            let pods: i64 = row.try_get("pods")?;
            let used = Use {
                image: image.parse().map_err(|_| rows::damaged("image", &image))?,
                namespace: namespace.parse().map_err(|_| rows::damaged("namespace", &namespace))?,
                digest: match digest.as_str() {
                    "" => None,
                    text => Some(text.parse().map_err(|_| rows::damaged("digest", text))?),
                },
            };
            Ok((used, pods.unsigned_abs()))
        })
        .collect()
}

/// Writes down how many pods run what now.
pub(super) async fn put(
    connection: &mut AnyConnection,
    changes: &[(Use, u64)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    let sql = |tuples: &str| {
        format!(
            "INSERT INTO uses (image, namespace, digest, pods, first_seen_at_ms, last_seen_at_ms) \
             VALUES {tuples} ON CONFLICT (image, namespace, digest) DO UPDATE \
             SET pods = excluded.pods, last_seen_at_ms = excluded.last_seen_at_ms"
        )
    };
    let bind = |query: Query<'static>, (used, pods): &(Use, u64)| {
        query
            .bind(used.image.to_string())
            .bind(used.namespace.to_string())
            .bind(used.digest.as_ref().map_or_else(String::new, Digest::to_string))
            .bind(clamp(*pods))
            .bind(now.as_ms())
            .bind(now.as_ms())
    };
    rows::write(connection, changes, 6, sql, bind).await.map(drop)
}
