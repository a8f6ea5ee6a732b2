//! Pods that ask, and what that costs the registries.

use protocol::{RefusalCode, ReplicaState};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn case_14_a_thousand_pods_with_one_image_cause_one_copy() {
    let world = Arc::new(World::new(open_to_all()).await);
    let image = Image::new(&[b"a layer", b"another"]);
    world.source.push(&image, "app", "v1");
    let source = world.source.reference("app:v1");
    let nodes = (0..50).map(|node| {
        let (world, source) = (Arc::clone(&world), source.to_string());
        tokio::spawn(async move {
            let host = world.front.host.keeping_its_client();
            for pod in 0..20 {
                let (verb, namespace) = (["start", "replica"][pod % 2], format!("team-{node}"));
                match host.trigger(verb, &namespace, &source).await {
                    Ok(receipt) => assert_eq!(receipt.source.to_string(), source),
                    Err(refusal) => {
                        assert_eq!((verb, refusal.code), ("replica", RefusalCode::Pending));
                    }
                }
            }
        })
    });
    for node in nodes.collect::<Vec<_>>() {
        node.await.unwrap();
    }
    let present = world.until(&source, |record| record.state == State::Present).await;
    assert_eq!(present.claims, 1);
    assert!(world.target.holds(&image, &present.target.repository().to_string()));
    let read = world.source.requests().into_iter().filter(|r| r.method == Method::GET);
    let mut paths: Vec<_> = read.map(|request| request.path).collect();
    let all = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), all, "something was read twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a_copy_outlives_the_requests_that_asked_for_it() {
    let world = World::new(open_to_all()).await;
    let image = Image::new(&[&[7; 100_000]]);
    world.source.push(&image, "app", "v1");
    // Silent until the client is tired of it and asks again.
    world.source.script(When::first(Method::GET, Kind::Blob), Fault::Stall(0));
    let source = world.source.reference("app:v1");
    let image_name = source.to_string();
    let (start, replica) = tokio::join!(
        world.front.trigger("start", &image_name),
        world.front.trigger("replica", &image_name)
    );
    assert_eq!(start.unwrap().state, ReplicaState::Copying);
    assert_eq!(replica.unwrap_err().code, RefusalCode::Pending);
    // Whoever asked is gone; the copy is not.
    let present = world.until(&source, |record| record.state == State::Present).await;
    assert_eq!((present.claims, &present.digest), (1, &Some(image.digest.clone())));
    let receipt = world.front.trigger("replica", &image_name).await.unwrap();
    assert_eq!((receipt.state, receipt.digest), (ReplicaState::Present, Some(image.digest)));
    assert_eq!(world.source.met().len(), 1);
    world.end().await;
}
