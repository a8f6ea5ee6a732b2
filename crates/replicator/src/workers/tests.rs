//! Workers on the wire: between a ledger and scripted registries.

use std::time::Duration;

use http::Method;
use protocol::ImageReference;
use registry::{Client, ClientConfig, RegistryConfig};
use tempfile::TempDir;
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

use super::*;
use crate::audit::testing::Recorded;
use crate::clock::Clock;
use crate::ledger::Settings;
use crate::ledger::record::State;
use crate::ledger::testing::asker;
use crate::ledger::work::{Ask, Priority, Wish};

/// Longer than the test takes.
const HANGS: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stuck_registry_leaves_a_worker_to_the_others() {
    let stuck = ScriptedRegistry::start().await;
    let fast = ScriptedRegistry::start().await;
    let home = ScriptedRegistry::start().await;
    stuck.script(When::each(Method::HEAD, Kind::Manifest), Fault::Silence);
    fast.push(&Image::new(&[b"layer"]), "app", "v1");

    let mut config = ClientConfig::default();
    for registry in [&stuck, &fast, &home] {
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        config.registries.insert(registry.host().parse().unwrap(), plain);
    }
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
        copier: Copier::new(Client::new(config).unwrap(), copy::Limits::default()),
        board: Board::default(),
        target: Arc::new(target.clone()),
        metrics: Metrics::default(),
        audit: recorded.audit.clone(),
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
