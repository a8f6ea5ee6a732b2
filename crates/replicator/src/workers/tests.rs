//! Workers on the wire: between a ledger and scripted registries, with the front beside them.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::Method;
use protocol::ImageReference;
use registry::{Client, ClientConfig, RegistryConfig};
use tempfile::TempDir;
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};
use tokio::task::JoinHandle;

use super::*;
use crate::audit::testing::Recorded;
use crate::clock::{Clock, Timestamp};
use crate::front::testing::{Front, api, observers};
use crate::ledger::Settings;
use crate::ledger::record::State;
use crate::ledger::testing::{TEST_LEASE, asker};
use crate::ledger::work::{Ask, Priority, Wish};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::rights::Rights;
use crate::rules::tests::{open_to_all, rules};

mod freshness;
mod notifications;
mod pods;
mod quota;

/// Longer than a test takes.
const HANGS: Duration = Duration::from_secs(120);

/// How long a registry may be silent in tests.
const IDLE: Duration = Duration::from_secs(2);

/// A client that speaks to these registries without TLS, and is soon tired of a silent one.
fn client(registries: &[&ScriptedRegistry]) -> Client {
    let mut config = ClientConfig::default();
    config.timeouts.idle = IDLE;
    for registry in registries {
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        config.registries.insert(registry.host().parse().unwrap(), plain);
    }
    Client::new(config).unwrap()
}

/// A whole replicator between a source and a target, with a clock that the test turns.
struct World {
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    ledger: Ledger,
    front: Front,
    now_ms: Arc<AtomicI64>,
    stop: Stop,
    workers: JoinHandle<()>,
    _directory: TempDir,
}

impl World {
    async fn new(rules: Rules) -> Self {
        Self::between(ScriptedRegistry::start().await, rules).await
    }

    async fn between(source: ScriptedRegistry, rules: Rules) -> Self {
        Self::with(Notifier::default(), None, source, rules).await
    }

    async fn observed_by(notifier: Notifier, source: ScriptedRegistry, rules: Rules) -> Self {
        Self::with(notifier, None, source, rules).await
    }

    /// One in which each namespace may have so many bytes.
    async fn limited_to(most_bytes: u64) -> Self {
        let source = ScriptedRegistry::start().await;
        let most_bytes = NonZeroU64::new(most_bytes);
        Self::with(Notifier::default(), most_bytes, source, open_to_all()).await
    }

    async fn with(
        notifier: Notifier,
        most_bytes: Option<NonZeroU64>,
        source: ScriptedRegistry,
        rules: Rules,
    ) -> Self {
        let target = ScriptedRegistry::start().await;
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let settings = Settings { lease: TEST_LEASE, ..Settings::new(url.parse().unwrap()) };
        let now_ms = Arc::new(AtomicI64::new(1_000_000));
        let clock = Arc::clone(&now_ms);
        let clock = Clock::of(move || Timestamp::from_ms(clock.load(Ordering::Relaxed)));
        let ledger = Ledger::open(settings, clock).await.unwrap();
        let api = api(&ledger, &target.host(), rules);
        let workers = Workers {
            ledger: ledger.clone(),
            copier: Copier::new(client(&[&source, &target]), copy::Limits::default()),
            board: api.board.clone(),
            target: Arc::clone(&api.target),
            rules: api.rules.clone(),
            rights: api.rights.clone(),
            quota: Quota::new(ledger.clone(), most_bytes),
            observers: Observers { notifier, ..observers(&api) },
        };
        let front = Front::start(api).await;
        let stop = Stop::default();
        // Of which one registry gets two.
        let workers = tokio::spawn(workers.run(3, stop.clone()));
        Self { source, target, ledger, front, now_ms, stop, workers, _directory: directory }
    }

    fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// Waits until what is remembered of `image` is like that.
    async fn until(&self, image: &ImageReference, is_so: impl Fn(&Record) -> bool) -> Arc<Record> {
        let looked = async {
            loop {
                match self.ledger.find(image).await.unwrap() {
                    Some(record) if is_so(&record) => return record,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(HANGS, looked).await.unwrap()
    }

    /// Ends the workers; what they do is done then.
    async fn end(self) {
        self.stop.claiming.cancel();
        self.workers.await.unwrap();
    }
}

/// A pod that was let in does not ask again.
#[tokio::test]
async fn a_target_that_refuses_our_password_is_tried_again_by_itself() {
    let world = World::new(open_to_all()).await;
    world.source.push(&Image::new(&[b"layer"]), "app", "v1");
    let image = world.source.reference("app:v1");
    world.target.script(When::each(Method::POST, Kind::Upload), Fault::status(401, ""));
    world.front.trigger("start", &image.to_string()).await.unwrap();
    let failed = world.until(&image, |record| record.state == State::Failed).await;
    assert!(failed.next_try().is_some(), "{failed:?}");
    world.target.behave();
    world.pass(Duration::from_secs(2));
    world.until(&image, |record| record.state == State::Present).await;
    world.end().await;
}

#[tokio::test]
async fn a_stuck_registry_leaves_a_worker_to_the_others() {
    let stuck = ScriptedRegistry::start().await;
    let fast = ScriptedRegistry::start().await;
    let home = ScriptedRegistry::start().await;
    stuck.script(When::each(Method::HEAD, Kind::Manifest), Fault::Silence);
    fast.push(&Image::new(&[b"layer"]), "app", "v1");

    let directory = TempDir::new().unwrap();
    let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
    let settings = Settings::new(url.parse().unwrap());
    let ledger = Ledger::open(settings, Clock::system()).await.unwrap();
    let target: TargetRoot = home.host().parse().unwrap();
    let want = async |source: &ImageReference| {
        let target = target.replica_of(source).unwrap().reference;
        let wish = Wish { target, priority: Priority::Now, max_age: None };
        ledger.want(Ask { source: source.clone(), wish, asker: asker("shop") }).await.unwrap();
    };
    for number in 0..5 {
        want(&stuck.reference(&format!("app:{number}"))).await;
    }
    let image = fast.reference("app:v1");
    want(&image).await;

    let recorded = Recorded::new();
    let workers = Workers {
        ledger: ledger.clone(),
        copier: Copier::new(client(&[&stuck, &fast, &home]), copy::Limits::default()),
        board: Board::default(),
        target: Arc::new(target.clone()),
        rules: open_to_all(),
        rights: Rights::new(ledger.clone()).0,
        quota: Quota::new(ledger.clone(), None),
        observers: Observers {
            metrics: Metrics::default(),
            audit: recorded.audit.clone(),
            notifier: Notifier::default(),
        },
    };
    let stop = Stop::default();
    let running = tokio::spawn(workers.run(3, stop.clone()));
    let asked = || stuck.count(&Method::HEAD, Kind::Manifest);
    let present = async {
        while ledger.find(&image).await.unwrap().unwrap().state != State::Present || asked() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, present).await.unwrap();
    assert_eq!(asked(), 2);
    stop.claiming.cancel();
    stop.copying.cancel();
    running.await.unwrap();
    let lines = recorded.lines();
    let copied = lines.iter().find(|line| line["result"] == "copied").unwrap();
    assert_eq!((&copied["kind"], &copied["namespace"]), (&"copy".into(), &"shop".into()));
    assert_eq!(copied["source"], image.to_string());
    assert!(copied["bytes_moved"].as_u64() > Some(0), "{copied}");
}

/// A replica by digest that is there already is not asked for at its source.
#[test]
fn case_22_a_copy_that_asked_nobody_shows_no_right() {
    let digest = testkit::digest_of(b"manifest");
    let outcome = |size_bytes| {
        let (bytes_moved, blobs_moved, blobs_skipped, contents) = (0, 0, 0, None);
        let digest = digest.clone();
        Ok(Outcome { digest, bytes_moved, blobs_moved, blobs_skipped, size_bytes, contents })
    };
    let by_digest = format!("r.example/app@{digest}").parse().unwrap();
    assert_eq!(verdict(&by_digest, &outcome(0)), None);
    assert_eq!(verdict(&by_digest, &outcome(1)), Some(Verdict::Allowed));
    let by_tag = "r.example/app:1".parse().unwrap();
    assert_eq!(verdict(&by_tag, &outcome(0)), Some(Verdict::Allowed));
}
