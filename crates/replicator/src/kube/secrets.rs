//! The watch on pull secrets: one for each namespace that is listed, and in that namespace alone.
//!
//! What was read holds while the API server is away or refuses: that is told by the log once, and
//! by `/readyz` and a metric for as long as it lasts.

use std::pin::pin;
use std::sync::Arc;

use ::kube::runtime::watcher::{Config, Event};
use ::kube::{Api, Client};
use futures::StreamExt;
use protocol::Namespace;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::follow::{FollowError, follow};
use super::pull_secret::{PullSecret, Shelf, Together};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::tenants::{Feeds, PullSecrets};
use crate::watch::Troubles;

/// The Secrets that are asked for: no others of the namespace come here.
const PULL_SECRETS: &str = "type=kubernetes.io/dockerconfigjson";

/// Secrets that come at once: each may have a mebibyte, most of it of no use here.
const PAGE: u32 = 8;

/// Watches the pull secrets of namespaces. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SecretWatch {
    /// Asks the API server.
    pub(crate) client: Client,
    /// Where it is counted how it goes.
    pub(crate) metrics: Metrics,
    /// Where it is told what does not go.
    pub(crate) troubles: Troubles,
    /// Since when.
    pub(crate) clock: Clock,
}

impl SecretWatch {
    /// Sends what each namespace's pull secrets are to its feed, until `stop`.
    pub(crate) async fn run(self, feeds: Feeds, stop: CancellationToken) {
        let watches = TaskTracker::new();
        for (namespace, feed) in feeds {
            let (watch, stop) = (self.clone(), stop.clone());
            watches.spawn(async move {
                stop.run_until_cancelled(watch.watch(&namespace, &feed)).await;
            });
        }
        watches.close();
        watches.wait().await;
    }

    async fn watch(&self, namespace: &Namespace, feed: &watch::Sender<Arc<PullSecrets>>) {
        let mut told = Told::new(self, namespace);
        loop {
            // Ends when all have to be listed again.
            self.watch_from_list(namespace, feed, &mut told).await;
        }
    }

    async fn watch_from_list(
        &self,
        namespace: &Namespace,
        feed: &watch::Sender<Arc<PullSecrets>>,
        told: &mut Told<'_>,
    ) {
        let api: Api<PullSecret> = Api::namespaced(self.client.clone(), namespace.as_str());
        let config = Config::default().fields(PULL_SECRETS).page_size(PAGE);
        let mut events = pin!(follow(api, config));
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
                    told.works();
                }
                Ok(Event::Apply(secret)) => shelf.put(secret),
                Ok(Event::Delete(secret)) => {
                    if shelf.remove(&secret) {
                        return;
                    }
                }
                Err(error) => {
                    told.fails(&error, feed.borrow().are_read());
                    continue;
                }
            }
            let together = shelf.together();
            told.found(&together);
            if feed.borrow().version() != together.secrets.version() || !feed.borrow().are_read() {
                feed.send_replace(Arc::new(together.secrets));
            }
        }
    }
}

/// What people were told of a namespace, so that they are told what changes.
struct Told<'a> {
    watch: &'a SecretWatch,
    namespace: &'a Namespace,
    /// By which the trouble goes at `/readyz`.
    key: String,
    failure: Option<String>,
    about_secrets: Vec<String>,
}

impl<'a> Told<'a> {
    fn new(watch: &'a SecretWatch, namespace: &'a Namespace) -> Self {
        watch.metrics.tenants().is_watched(namespace, false);
        let key = format!("tenancy.secret_namespaces.{namespace}");
        Self { watch, namespace, key, failure: None, about_secrets: Vec::new() }
    }

    /// All were listed, and are watched.
    fn works(&mut self) {
        let namespace = self.namespace;
        self.watch.metrics.tenants().is_watched(namespace, true);
        self.watch.troubles.clear(&self.key);
        if self.failure.take().is_some() {
            tracing::info!(%namespace, "pull secrets are watched again");
        } else {
            tracing::debug!(%namespace, "pull secrets were listed");
        }
    }

    /// They are not watched at present.
    fn fails(&mut self, error: &FollowError, were_read: bool) {
        let namespace = self.namespace;
        let holds = match were_read {
            true => "what was read before is in force",
            false => "its private images wait",
        };
        let reason = format!("the pull secrets of namespace {namespace} are not watched: {error}");
        if self.failure.as_ref() == Some(&reason) {
            return;
        }
        tracing::error!(%namespace, %error, "pull secrets are not watched; {holds}");
        self.watch.metrics.tenants().is_watched(namespace, false);
        self.watch.troubles.set(&self.key, self.watch.clock.now(), &reason, holds);
        self.failure = Some(reason);
    }

    /// This is what they say now.
    fn found(&mut self, together: &Together) {
        let namespace = self.namespace;
        self.watch.metrics.tenants().unusable(namespace, together.unusable.len());
        let unusable = together.unusable.iter();
        let unusable = unusable.map(|(name, why)| format!("'{name}' is not used: {why}"));
        let behind = together.behind.iter().map(|name| {
            format!(
                "'{name}' has an entry that another one has, too, which is first by name and used"
            )
        });
        let about_secrets: Vec<_> = unusable.chain(behind).collect();
        for text in about_secrets.iter().filter(|text| !self.about_secrets.contains(text)) {
            tracing::warn!(%namespace, "the pull secret {text}");
        }
        self.about_secrets = about_secrets;
    }
}

#[cfg(test)]
mod tests;
