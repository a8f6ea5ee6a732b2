//! The watch on pull secrets: one for each namespace that is listed, and in that namespace alone.
//!
//! What was read holds while the API server is away or refuses: that is told by the log once, and
//! by `/readyz` and a metric for as long as it lasts.

use std::pin::pin;
use std::sync::Arc;

use ::kube::Api;
use ::kube::runtime::watcher::{Config, Event};
use futures::StreamExt;
use protocol::Namespace;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Cluster;
use super::follow::follow;
use super::pull_secret::{PullSecret, Shelf, Together};
use super::told::Told;
use crate::metrics::Metrics;
use crate::tenants::{Feeds, PullSecrets};

/// The Secrets that are asked for: no others of the namespace come here.
pub(super) const PULL_SECRETS: &str = "type=kubernetes.io/dockerconfigjson";

/// Secrets that come at once: each may have a mebibyte, most of it of no use here.
const PAGE: u32 = 8;

impl Cluster {
    /// Sends what each namespace's pull secrets are to its feed, until `stop`.
    pub(crate) async fn watch_secrets(self, feeds: Feeds, stop: CancellationToken) {
        let watches = TaskTracker::new();
        for (namespace, feed) in feeds {
            let (watch, stop) = (Watched::new(&self, namespace, feed), stop.clone());
            watches.spawn(async move { stop.run_until_cancelled(watch.watch()).await });
        }
        watches.close();
        watches.wait().await;
    }
}

/// A namespace that is watched.
struct Watched {
    api: Api<PullSecret>,
    metrics: Metrics,
    namespace: Namespace,
    feed: watch::Sender<Arc<PullSecrets>>,
    told: Told,
    /// What was told of single Secrets.
    told_of_secrets: Vec<String>,
}

impl Watched {
    fn new(cluster: &Cluster, namespace: Namespace, feed: watch::Sender<Arc<PullSecrets>>) -> Self {
        let Cluster { client, metrics, troubles, clock } = cluster.clone();
        metrics.cluster().pull_secrets_are_watched(&namespace, false);
        let key = format!("tenancy.secret_namespaces.{namespace}");
        let what = format!("the pull secrets of namespace {namespace}");
        Self {
            api: Api::namespaced(client, namespace.as_str()),
            metrics,
            feed,
            told: Told::new(key, what, troubles, clock),
            told_of_secrets: Vec::new(),
            namespace,
        }
    }

    async fn watch(mut self) {
        loop {
            // Ends when all have to be listed again.
            self.watch_from_list().await;
        }
    }

    async fn watch_from_list(&mut self) {
        let config = Config::default().fields(PULL_SECRETS).page_size(PAGE);
        let mut events = pin!(follow(self.api.clone(), config));
        let (mut shelf, mut listing) = (Shelf::default(), Shelf::default());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    listing = Shelf::default();
                    continue;
                }
                Ok(Event::InitApply(secret)) => {
                    listing.put(secret);
                    continue;
                }
                Ok(Event::InitDone) => {
                    shelf = std::mem::take(&mut listing);
                    self.told.works();
                    self.metrics.cluster().pull_secrets_are_watched(&self.namespace, true);
                }
                Ok(Event::Apply(secret)) => shelf.put(secret),
                Ok(Event::Delete(secret)) => {
                    if shelf.remove(&secret) {
                        return;
                    }
                }
                Err(error) => {
                    let holds = match self.feed.borrow().are_read() {
                        true => "what was read before is in force",
                        false => "its private images wait",
                    };
                    self.told.fails(&error, holds);
                    self.metrics.cluster().pull_secrets_are_watched(&self.namespace, false);
                    continue;
                }
            }
            self.publish(shelf.together());
        }
    }

    fn publish(&mut self, together: Together) {
        let Together { secrets, unusable, behind } = together;
        self.metrics.cluster().pull_secrets_unusable(&self.namespace, unusable.len());
        let unusable = unusable.iter();
        let unusable = unusable.map(|(name, why)| format!("'{name}' is not used: {why}"));
        let behind = behind.iter().map(|name| {
            format!(
                "'{name}' has an entry that another one has, too, which is first by name and used"
            )
        });
        let of_secrets: Vec<_> = unusable.chain(behind).collect();
        for text in of_secrets.iter().filter(|text| !self.told_of_secrets.contains(text)) {
            tracing::warn!(namespace = %self.namespace, "the pull secret {text}");
        }
        self.told_of_secrets = of_secrets;
        self.feed.send_if_modified(|held| {
            let is_new = !held.are_read() || held.version() != secrets.version();
            if is_new {
                *held = Arc::new(secrets);
            }
            is_new
        });
    }
}

#[cfg(test)]
mod tests;
