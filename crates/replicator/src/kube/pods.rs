//! The watch on pods: what runs in the whole cluster now, as the ledger keeps it.
//!
//! What has changed is told at intervals, together; and after each list all of it. While there is
//! no news it is told that the picture still stands. While pods are not watched nothing is told, so
//! that who decides by it sees how old it is.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use ::kube::Api;
use ::kube::runtime::watcher::{Config, Event};
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::follow::{FollowError, UNNOTICED_MS, follow};
use super::pod::{Pod, Pods};
use super::told::Told;
use crate::clock::Timestamp;
use crate::ledger::Ledger;
use crate::ledger::uses::Sighting;
use crate::metrics::Metrics;

/// Pods that have ended run nothing: they need not come here.
pub(super) const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Pods that come at once: some 10 KiB each, of which little is kept.
const PAGE: u32 = 500;

/// Pods that are counted: three times what Kubernetes is made for, some 100 bytes each. With more
/// the picture would not be whole, and nothing is told.
const MAX_PODS: usize = 450_000;

/// How often it is told what has changed: a Deployment that rolls is one change of the ledger, and
/// nobody decides by what is younger.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How often it is told that nothing has, a write to the ledger each.
const TELL_NOTHING_EVERY: Duration = Duration::from_secs(20);

impl Cluster {
    /// Tells the ledger what runs, until `stop`.
    pub(crate) async fn watch_pods(self, ledger: Ledger, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch(ledger)).await;
    }

    async fn watch(self, ledger: Ledger) {
        let Self { client, metrics, troubles, clock } = self;
        let key = "inventory.watch_pods".to_owned();
        let told = Told::new(key, "the pods of the cluster".to_owned(), troubles, clock);
        let mut picture = Picture::new(ledger, metrics, told);
        let config = Config::default().fields(NOT_ENDED).page_size(PAGE);
        let mut events = pin!(follow(Api::<Pod>::all(client), config));
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events.next() => picture.take_in(event),
                _ = tell.tick() => picture.tell().await,
            }
        }
    }
}

/// What is known of the cluster's pods, and what of it the ledger knows.
struct Picture {
    ledger: Ledger,
    metrics: Metrics,
    told: Told,
    pods: Pods,
    /// Those that were listed up to now, while a list comes in, and when it began.
    listing: (Pods, Timestamp),
    /// When the API server said what is newest; None while it is not known what runs.
    news_at: Option<Timestamp>,
    /// When that was true which the ledger knows; None where it has to be told all.
    known_at: Option<Timestamp>,
}

impl Picture {
    fn new(ledger: Ledger, metrics: Metrics, told: Told) -> Self {
        metrics.cluster().pods_are_watched(false);
        let listing = (Pods::default(), ledger.now());
        Self {
            ledger,
            metrics,
            told,
            pods: Pods::default(),
            listing,
            news_at: None,
            known_at: None,
        }
    }

    fn take_in(&mut self, event: Result<Event<Pod>, FollowError>) {
        let now = self.ledger.now();
        match event {
            Ok(Event::Init) => {
                self.listing = (Pods::default(), now);
                self.news_at = None;
            }
            Ok(Event::InitApply(pod)) => self.listing.0.put(&pod),
            Ok(Event::InitDone) => {
                self.pods = std::mem::take(&mut self.listing.0);
                (self.news_at, self.known_at) = (Some(self.listing.1), None);
                self.told.works();
                self.metrics.cluster().pods_are_watched(true);
            }
            Ok(Event::Apply(pod)) => {
                self.pods.put(&pod);
                self.news_at = Some(now);
            }
            Ok(Event::Delete(pod)) => {
                self.pods.remove(&pod);
                self.news_at = Some(now);
            }
            Err(error) => self.fails(&error),
        }
        if self.pods.len().max(self.listing.0.len()) > MAX_PODS {
            self.fails(&format_args!("there are more than {MAX_PODS}"));
        }
    }

    /// It is not known what runs until all pods were listed anew.
    fn fails(&mut self, error: &dyn Display) {
        self.news_at = None;
        self.told.fails(error, "what is in use is as it was");
        self.metrics.cluster().pods_are_watched(false);
    }

    /// Tells the ledger what it does not know.
    async fn tell(&mut self) {
        let Some(news_at) = self.news_at else { return };
        let now = self.ledger.now();
        // What is older would have been heard of, or told as an error.
        let as_of = news_at.max(Timestamp::from_ms(now.as_ms().saturating_sub(UNNOTICED_MS)));
        let changes = self.pods.take_changes();
        let sighting = match self.known_at {
            None => Sighting::Cluster(self.pods.all()),
            Some(known_at) if changes.is_empty() && as_of - known_at < TELL_NOTHING_EVERY => return,
            Some(_) => Sighting::Changes(changes),
        };
        match self.ledger.see(sighting, as_of).await {
            Ok(()) => self.known_at = Some(as_of),
            Err(error) => {
                tracing::warn!(%error, "the ledger could not be told which pods run; it is told again");
                self.known_at = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
