//! The watch against a scripted API server, and a real ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ::kube::Config as ClientConfig;
use serde_json::json;
use tempfile::TempDir;
use testkit::KubeApi;

use super::*;
use crate::clock::Clock;
use crate::ledger::Settings;
use crate::watch::Troubles;

/// Longer than any wait here takes.
const HANGS: Duration = Duration::from_secs(60);

struct World {
    ledger: Ledger,
    now_ms: Arc<AtomicI64>,
    metrics: Metrics,
    troubles: Troubles,
    stop: CancellationToken,
    _directory: TempDir,
}

impl World {
    async fn begin(api: &KubeApi) -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let now_ms = Arc::new(AtomicI64::new(1_000_000));
        let told = Arc::clone(&now_ms);
        let clock = Clock::of(move || Timestamp::from_ms(told.load(Ordering::Relaxed)));
        let settings = Settings::new(url.parse().unwrap());
        let ledger = Ledger::open(settings, clock.clone()).await.unwrap();
        let (metrics, troubles) = (Metrics::default(), Troubles::default());
        let config = ClientConfig::new(api.url().parse().unwrap());
        let cluster = Cluster::new(config, metrics.clone(), troubles.clone(), clock).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(cluster.watch_pods(ledger.clone(), stop.clone()));
        Self { ledger, now_ms, metrics, troubles, stop, _directory: directory }
    }

    /// How many pods the ledger says run `r.example/app:1`.
    async fn pods(&self) -> u64 {
        let ran = self.ledger.ran().await.unwrap();
        let of_app = ran.iter().filter(|ran| ran.image.to_string() == "r.example/app:1");
        of_app.map(|ran| ran.pods).sum()
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let looked = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let looked = tokio::time::timeout(HANGS, looked).await;
        looked.unwrap_or_else(|_| panic!("never: {what}; {:?}", self.troubles.lines()));
    }

    async fn until_pods_are(&self, pods: u64) {
        self.until(&format!("{pods} pods run it"), async || self.pods().await == pods).await;
    }

    async fn known_at(&self) -> Option<Timestamp> {
        self.ledger.picture().await.unwrap().pods_known_until
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn put(api: &KubeApi, name: &str, phase: &str) {
    let spec = json!({"containers": [{"name": "c", "image": "r.example/app:1"}]});
    api.put("pods", "shop", name, json!({"spec": spec, "status": {"phase": phase}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_end_and_go_and_the_ledger_knows() {
    let api = KubeApi::start().await;
    for number in 0..1_100 {
        put(&api, &format!("old-{number}"), "Running");
    }
    put(&api, "done", "Succeeded");
    let world = World::begin(&api).await;
    world.until_pods_are(1_100).await;
    assert_eq!(api.count(&["/api/v1/pods?", "limit=500"]), 3);
    put(&api, "new", "Pending");
    world.until_pods_are(1_101).await;
    put(&api, "new", "Failed");
    api.delete("pods", "shop", "old-7");
    world.until_pods_are(1_099).await;
    let asked = api.requests();
    assert!(asked.iter().all(|path| path.starts_with("/api/v1/pods?")), "{asked:?}");
    assert!(world.metrics.counted().contains("image_replicator_pods_watched 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_ended_while_nobody_looked_are_gone_after_a_new_list() {
    let api = KubeApi::start().await;
    put(&api, "a", "Running");
    put(&api, "b", "Running");
    let world = World::begin(&api).await;
    world.until_pods_are(2).await;

    // While it is away nothing is told, and what was told gets old.
    api.be_away(true);
    world.until("it is told", async || !world.troubles.lines().is_empty()).await;
    let before = world.known_at().await;
    world.now_ms.fetch_add(1_000_000, Ordering::Relaxed);
    api.delete("pods", "shop", "a");
    api.forget_history();
    tokio::time::sleep(TELL_EVERY + Duration::from_secs(1)).await;
    assert_eq!((world.pods().await, world.known_at().await), (2, before));
    assert!(world.metrics.counted().contains("image_replicator_pods_watched 0\n"));
    let line = world.troubles.lines().concat();
    assert!(line.starts_with("the pods of the cluster are not watched: "), "{line}");
    assert!(line.ends_with(", and what is in use is as it was"), "{line}");

    api.be_away(false);
    world.until_pods_are(1).await;
    assert_eq!(world.known_at().await.map(Timestamp::as_ms), Some(2_000_000));
    assert!(world.troubles.lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_there_is_no_news_it_is_told_that_the_picture_stands() {
    let api = KubeApi::start().await;
    let world = World::begin(&api).await;
    world.until("an empty cluster is known", async || world.known_at().await.is_some()).await;
    world.now_ms.fetch_add(500_000, Ordering::Relaxed);
    let then = Timestamp::from_ms(1_500_000 - UNNOTICED_MS);
    world.until("it is known for longer", async || world.known_at().await == Some(then)).await;
}
