//! What others are told of the copies that workers make.

use super::*;
use crate::notify::testing::{Reply, ScriptedReceiver};

#[tokio::test(flavor = "multi_thread")]
async fn others_are_told_of_copies_and_hold_up_none() {
    let receiver = ScriptedReceiver::start([]).await;
    let silent = ScriptedReceiver::start([Reply::Silence]).await;
    let receivers = vec![silent.receiver("silent", None), receiver.receiver("scanner", None)];
    let (metrics, clock) = (Metrics::default(), Clock::system());
    let target = "registry.corp".parse().unwrap();
    let (notifier, _deliveries) = Notifier::begin(receivers, &target, &metrics, &clock);
    let source = ScriptedRegistry::start().await;
    let world = World::observed_by(notifier, source, open_to_all()).await;
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    let (there, missing) = (world.source.reference("app:v1"), world.source.reference("app:none"));

    world.front.trigger("start", &there.to_string()).await.unwrap();
    let copied = receiver.hears(1).await[0].event();
    assert_eq!(copied["type"], "io.image-replicator.replica.copied.v1");
    let present = world.until(&there, |record| record.state == State::Present).await;
    let replica = format!("{}@{}", present.target.name(), image.digest);
    assert_eq!(copied["data"]["replica"], replica);
    assert_eq!(copied["data"]["size_bytes"].as_u64(), present.size_bytes);

    world.front.trigger("start", &missing.to_string()).await.unwrap();
    let refused = receiver.hears(2).await[1].event();
    assert_eq!(refused["type"], "io.image-replicator.replica.refused.v1");
    assert_eq!(refused["data"]["failure"]["code"], "not-found");

    world.source.lose_manifest("app", &image.digest);
    world.pass(Duration::from_secs(3_600));
    world.front.trigger("replica", &there.to_string()).await.unwrap();
    let stale = receiver.hears(3).await[2].event();
    assert_eq!(stale["type"], "io.image-replicator.replica.stale.v1");
    assert_eq!((&stale["subject"], &stale["data"]["state"]), (&copied["subject"], &"stale".into()));
    assert_ne!(stale["id"], copied["id"]);
    world.end().await;
}
