//! Replicas that are looked after: what that costs, and what is answered meanwhile.

use protocol::ReplicaState;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    /// Has `source` copied, and forgets what that took.
    async fn copied(&self, source: &ImageReference) {
        let started = self.front.trigger("start", &source.to_string()).await.unwrap();
        assert_eq!(started.state, ReplicaState::Copying);
        self.until(source, |record| record.state == State::Present).await;
        self.source.forget_requests();
        self.target.forget_requests();
    }

    /// Asks for `source`, whose replica is there, and waits until it was looked after.
    async fn looked_after(&self, source: &ImageReference) -> Arc<Record> {
        let before = self.ledger.find(source).await.unwrap().unwrap();
        self.front.trigger("replica", &source.to_string()).await.unwrap();
        let is_done = |record: &Record| record.claims > before.claims && record.ticket().is_none();
        self.until(source, is_done).await
    }
}

fn heads(registry: &ScriptedRegistry) -> usize {
    registry.count(&Method::HEAD, Kind::Manifest)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_replica_that_was_deleted_at_the_target_is_noticed_and_copied_again() {
    let world = World::new(open_to_all()).await;
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    let source = world.source.reference("app:v1");
    world.copied(&source).await;
    let replica = world.ledger.find(&source).await.unwrap().unwrap().target.clone();
    let repository = replica.repository().to_string();
    world.target.lose_manifest(&repository, &image.digest);

    world.pass(HOUR);
    let served = world.front.trigger("replica", &source.to_string()).await.unwrap();
    assert_eq!(served.state, ReplicaState::Present, "nobody waits for the look");
    let present = world.until(&source, |record| record.claims == 2 && record.ticket().is_none());
    assert_eq!(present.await.state, State::Present);
    assert!(world.target.holds(&image, &repository));
    assert_eq!(world.target.tags(&repository), ["v1"]);
    // The layer was there still.
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_a_moving_tag_is_asked_for_again_and_an_immutable_one_never() {
    let source = ScriptedRegistry::start().await;
    let fixed = format!("{{name: fixed, sources: '{}/fixed/**', check: never}}", source.host());
    let rules = rules(&format!("[{fixed}, {{name: all, sources: '**'}}]"));
    let world = World::between(source, rules).await;
    let [old, new] = [b"old", b"new"].map(|layer| Image::new(&[layer]));
    for repository in ["moving/app", "fixed/app"] {
        world.source.push(&old, repository, "v1");
    }
    let moving = world.source.reference("moving/app:v1");
    let fixed = world.source.reference("fixed/app:v1");
    world.copied(&fixed).await;
    world.copied(&moving).await;

    // Within the window nobody is asked; past it by one HEAD each.
    let digest = |record: Arc<Record>| record.digest.clone();
    world.pass(HOUR - Duration::from_millis(1));
    world.front.trigger("replica", &moving.to_string()).await.unwrap();
    world.pass(Duration::from_millis(1));
    assert_eq!(digest(world.looked_after(&moving).await), Some(old.digest.clone()));
    assert_eq!((heads(&world.source), heads(&world.target)), (1, 1));
    assert_eq!(world.source.requests().len(), 1);

    for repository in ["moving/app", "fixed/app"] {
        world.source.push(&new, repository, "v1");
    }
    world.pass(HOUR);
    assert_eq!(digest(world.looked_after(&moving).await), Some(new.digest.clone()));
    let receipt = world.front.trigger("replica", &moving.to_string()).await.unwrap();
    assert_eq!((receipt.state, receipt.digest), (ReplicaState::Present, Some(new.digest)));

    world.source.forget_requests();
    world.pass(HOUR * 24 * 365);
    let receipt = world.front.trigger("replica", &fixed.to_string()).await.unwrap();
    assert_eq!((receipt.state, receipt.digest), (ReplicaState::Present, Some(old.digest)));
    let (ledger, source) = (world.ledger.clone(), world.source.clone());
    world.end().await;
    assert_eq!(ledger.find(&fixed).await.unwrap().unwrap().claims, 1);
    assert_eq!(source.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_while_the_source_is_down_the_replica_is_served_as_stale() {
    let world = World::new(open_to_all()).await;
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    let source = world.source.reference("app:v1");
    world.copied(&source).await;

    world.source.script(When::each(Method::HEAD, Kind::Manifest), Fault::Drop);
    world.pass(HOUR);
    assert_eq!(world.looked_after(&source).await.state, State::Stale);
    world.pass(Duration::from_secs(5));
    for verb in ["plan", "start", "replica"] {
        let receipt = world.front.trigger(verb, &source.to_string()).await.unwrap();
        assert_eq!((receipt.state, receipt.age_s), (ReplicaState::Stale, Some(3_605)));
        assert_eq!(receipt.digest.as_ref(), Some(&image.digest));
    }

    world.source.behave();
    let is_current = async {
        while world.ledger.find(&source).await.unwrap().unwrap().state == State::Stale {
            world.pass(Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(HANGS, is_current).await.unwrap();
    let receipt = world.front.trigger("replica", &source.to_string()).await.unwrap();
    assert_eq!((receipt.state, receipt.age_s), (ReplicaState::Present, None));
    world.end().await;
}
