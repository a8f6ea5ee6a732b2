//! What pods run now, held against where replicas live: how many run a source's replica, and what
//! runs from elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{ImageReference, TargetRoot};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

use super::LedgerError;
use super::moments::{self, Moment};
use crate::clock::Timestamp;

/// Different images of namespaces that are looked at: far more than a cluster runs at once.
const MOST_USES: u32 = 100_000;

/// How old the picture of the cluster may be before nobody can tell that an image is *not* in use.
/// The watch on pods renews it every few minutes.
const PICTURE_BELIEVED: Duration = Duration::from_secs(15 * 60);

/// What runs now.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// How many pods run an image, by its source: from the target or from elsewhere.
    pub(super) pods: BTreeMap<String, u64>,
    /// What pods run from elsewhere than the target.
    pub(super) outside: BTreeMap<String, Outside>,
    /// Whether what is not here is not in use.
    pub(super) is_whole: bool,
}

/// An image that pods run from elsewhere than the target.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    /// The image as the pods have it.
    pub(super) image: ImageReference,
    /// Their namespaces.
    pub(super) namespaces: BTreeSet<String>,
}

impl Usage {
    /// Reads what pods run.
    pub(super) async fn read(
        connection: &mut AnyConnection,
        target: &TargetRoot,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let known_until = moments::find(connection, Moment::PodsKnown).await?;
        let is_whole = known_until.is_some_and(|until| now - until <= PICTURE_BELIEVED);
        let mut usage = Self { is_whole, ..Self::default() };
        let sql = format!(
            "SELECT image, namespace, CAST(SUM(pods) AS BIGINT) AS pods FROM uses WHERE pods > 0 \
             GROUP BY image, namespace LIMIT {MOST_USES}"
        );
        for row in sqlx::query::<Any>(AssertSqlSafe(sql)).fetch_all(connection).await? {
            let image: String = row.try_get("image")?;
            let pods: i64 = row.try_get("pods")?;
            // What is no reference cannot be told of.
            let Ok(image) = image.parse() else { continue };
            usage.add(image, row.try_get("namespace")?, pods.unsigned_abs(), target);
        }
        Ok(usage)
    }

    fn add(&mut self, image: ImageReference, namespace: String, pods: u64, target: &TargetRoot) {
        let source = match target.contains(&image) {
            true => target.source_of(&image),
            false => Some(image.clone()),
        };
        for source in source.iter().flat_map(as_asked_for) {
            *self.pods.entry(source.to_string()).or_default() += pods;
        }
        if !target.contains(&image) {
            let outside = self.outside.entry(image.to_string());
            let outside = outside.or_insert(Outside { image, namespaces: BTreeSet::new() });
            outside.namespaces.insert(namespace);
        }
    }

    /// How many pods run `source`; None where that is not known.
    pub(super) fn of(&self, source: &str) -> Option<u64> {
        self.pods.get(source).copied().or(self.is_whole.then_some(0))
    }

    /// Whether pods run `source` from elsewhere than the target; None where that is not known.
    pub(super) fn is_outside(&self, source: &str) -> Option<bool> {
        self.outside.contains_key(source).then_some(true).or(self.is_whole.then_some(false))
    }
}

/// The sources under which a replica may have been asked for: a pod that was pinned names tag and
/// digest where the source had its tag alone.
pub(crate) fn as_asked_for(source: &ImageReference) -> Vec<ImageReference> {
    let by_tag = source.digest().and(source.tag()).map(|tag| {
        let (registry, repository) = (source.registry().clone(), source.repository().clone());
        ImageReference::tagged(registry, repository, tag.clone())
    });
    std::iter::once(source.clone()).chain(by_tag).collect()
}
