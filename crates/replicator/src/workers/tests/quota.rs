//! Namespaces that may have so much and no more. Images have some 10 KiB each, and two of them are
//! more than one namespace may have.

use protocol::{Refusal, ReplicaState};

use super::*;
use crate::ledger::record::Removal;

const ONE_BYTES: u64 = 16_000;

const HOUR: Duration = Duration::from_secs(3_600);

/// One that has no byte in common with others.
fn image(number: u8) -> Image {
    Image::new(&[&[number; 10_000]])
}

impl World {
    /// One in which a namespace may have one of two images.
    async fn with_two_images() -> (Self, [ImageReference; 2]) {
        let world = Self::limited_to(ONE_BYTES).await;
        let images = [1, 2].map(|number| {
            world.source.push(&image(number), "app", &format!("v{number}"));
            world.source.reference(&format!("app:v{number}"))
        });
        (world, images)
    }

    async fn start(&self, namespace: &str, source: &ImageReference) -> ReplicaState {
        let started = self.front.host.trigger("start", namespace, &source.to_string()).await;
        started.unwrap().state
    }

    async fn is_refused(&self, namespace: &str, source: &ImageReference) -> Refusal {
        self.until(source, |record| record.state == State::Refused).await;
        self.front.host.trigger("replica", namespace, &source.to_string()).await.unwrap_err()
    }

    async fn is_present(&self, source: &ImageReference) -> Arc<Record> {
        self.until(source, |record| record.state == State::Present).await
    }

    /// Asks for a replica that is there and old, and waits until it was looked at.
    async fn look(&self, namespace: &str, source: &ImageReference) -> Arc<Record> {
        self.pass(HOUR);
        let before = self.ledger.find(source).await.unwrap().unwrap();
        let served = self.front.host.trigger("replica", namespace, &source.to_string()).await;
        assert_eq!(served.unwrap().digest, before.digest, "nobody waits for the look");
        let is_done = |record: &Record| record.claims > before.claims && record.ticket().is_none();
        self.until(source, is_done).await
    }
}

fn payer(record: &Arc<Record>) -> &str {
    record.charge.as_ref().unwrap().namespace.as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_full_gets_nothing_new_and_others_do() {
    let (world, [one, two]) = World::with_two_images().await;
    world.start("shop", &one).await;
    let present = world.is_present(&one).await;
    assert_eq!(payer(&present), "shop");
    assert_eq!(present.charge.as_ref().map(|charge| charge.bytes), present.size_bytes);
    world.source.forget_requests();

    world.start("shop", &two).await;
    let refusal = world.is_refused("shop", &two).await;
    assert_eq!((refusal.code, refusal.side), (RefusalCode::Denied, Some(Side::Replicator)));
    insta::assert_snapshot!(refusal.message);
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);
    let repository = present.target.repository().to_string();
    assert_eq!(world.target.tags(&repository), ["v1"]);

    // Who has room gets it at once, and then it is there for everybody.
    assert_eq!(world.start("team", &two).await, ReplicaState::Copying);
    assert_eq!(payer(&world.is_present(&two).await), "team");
    for source in [&one, &two] {
        assert_eq!(world.start("shop", source).await, ReplicaState::Present);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_for_a_namespace_that_is_full_costs_another_one_nothing() {
    let world = World::limited_to(ONE_BYTES).await;
    for (number, repository) in [(1, "app"), (2, "other")] {
        world.source.push(&image(number), repository, "v1");
    }
    let [app, other] = ["app:v1", "other:v1"].map(|name| world.source.reference(name));
    world.start("shop", &app).await;
    world.is_present(&app).await;
    world.start("team", &other).await;
    world.is_present(&other).await;

    // Team has no room for it, and shop has as much as before.
    let moved = image(3);
    world.source.push(&moved, "app", "v1");
    let record = world.look("team", &app).await;
    assert_eq!((record.state, record.digest.as_ref()), (State::Present, Some(&moved.digest)));
    assert_eq!((record.namespace.as_str(), payer(&record)), ("team", "shop"));

    // It grows to more than anybody may have: what is there is served on.
    world.source.push(&Image::new(&[&[4; 20_000]]), "app", "v1");
    let record = world.look("team", &app).await;
    assert_eq!((record.state, record.digest.as_ref()), (State::Stale, Some(&moved.digest)));
    assert_eq!(payer(&record), "shop");
    let message = &record.failure.as_ref().unwrap().message;
    assert!(
        message.starts_with("namespace team has 10.") && !message.contains("shop"),
        "{message}"
    );
    for namespace in ["shop", "team"] {
        assert_eq!(world.start(namespace, &app).await, ReplicaState::Stale);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_image_looked_at_pays_for_what_that_brings() {
    let (world, [one, two]) = World::with_two_images().await;
    world.start("shop", &one).await;
    world.is_present(&one).await;
    // It is what it was, so it stays whose it was.
    assert_eq!(payer(&world.look("team", &one).await), "shop");
    world.source.push(&image(3), "app", "v1");
    assert_eq!(payer(&world.look("team", &one).await), "team");
    world.start("shop", &two).await;
    assert_eq!(payer(&world.is_present(&two).await), "shop");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_makes_room() {
    let (world, [one, two]) = World::with_two_images().await;
    world.start("shop", &one).await;
    let present = world.is_present(&one).await;
    world.start("shop", &two).await;
    world.is_refused("shop", &two).await;

    let leaving = world.ledger.retire(&present).await.unwrap().unwrap();
    world.ledger.end_removal(leaving.ticket().unwrap(), Removal::Gone).await.unwrap();
    world.pass(Duration::from_secs(30));
    let _ = world.front.trigger("replica", &two.to_string()).await;
    world.is_present(&two).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_at_once_get_no_more_than_one_after_the_other() {
    let (world, [one, two]) = World::with_two_images().await;
    world.source.script(When::each(Method::GET, Kind::Blob), Fault::Silence);
    world.start("shop", &one).await;
    let is_reading = async {
        while world.source.count(&Method::GET, Kind::Blob) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, is_reading).await.unwrap();
    world.start("shop", &two).await;
    let refusal = world.is_refused("shop", &two).await;
    assert!(refusal.message.contains("tenancy.namespace_bytes"), "{}", refusal.message);
    assert_eq!(world.ledger.find(&one).await.unwrap().unwrap().charge, None, "it is on its way");
    world.source.behave();
    world.stop.copying.cancel();
    world.end().await;
}
