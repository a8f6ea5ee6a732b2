//! What arrives at the target: every platform, byte for byte, and no request too many.
//! Cases 25, 26, 29, 39 and the order of writing.

mod common;

use copy::{ErrorKind, Retry, Tracker};
use http::Method;
use protocol::Side;
use testkit::{Fault, Image, Kind, ScriptedRegistry, When, media};

use common::World;

fn two_platforms() -> Image {
    Image::index(&[
        ("linux/amd64", Image::new(&[b"base", b"amd64"])),
        ("linux/arm64", Image::docker(&[b"base", b"arm64"])),
    ])
}

/// Case 26.
#[tokio::test]
async fn an_index_travels_byte_for_byte_with_all_platforms() {
    let world = World::new().await;
    let image = two_platforms();
    world.source.push(&image, "team/app", "v1");
    let tracker = Tracker::default();
    let outcome = world.copier().copy(&world.job("team/app:v1"), &tracker).await.unwrap();
    assert!(world.replicated(&image, "team/app:v1"));
    assert_eq!(outcome.digest, image.digest);
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (5, 0));
    // The shared layer was read once.
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 5);
    let progress = tracker.progress();
    assert_eq!((progress.layers_done, progress.layers_total), (3, 3));
    assert_eq!(progress.bytes_done, progress.bytes_total);
    assert_eq!(outcome.bytes_moved, progress.bytes_total);
    world.no_upload_is_open().await;
}

#[tokio::test]
async fn a_blob_is_one_head_one_post_and_one_put() {
    let world = World::new().await.without_referrers();
    world.source.push(&Image::new(&[b"layer"]), "app", "v1");
    world.copy("app:v1").await.unwrap();
    assert_eq!(world.target.count(&Method::HEAD, Kind::Blob), 2);
    assert_eq!(world.target.count(&Method::POST, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 1);
    assert_eq!(world.source.requests().len(), 4);
}

#[tokio::test]
async fn a_current_replica_costs_two_requests() {
    let world = World::new().await;
    world.source.push(&two_platforms(), "app", "v1");
    world.copy("app:v1").await.unwrap();
    world.source.forget_requests();
    world.target.forget_requests();
    let outcome = world.copy("app:v1").await.unwrap();
    assert_eq!(outcome.bytes_moved, 0);
    assert_eq!(world.source.requests().len() + world.target.requests().len(), 2);
}

#[tokio::test]
async fn what_the_target_has_is_not_sent_again() {
    let world = World::new().await;
    world.source.push(&Image::new(&[b"base", b"one"]), "app", "v1");
    world.copy("app:v1").await.unwrap();
    world.source.push(&Image::new(&[b"base", b"two"]), "app", "v1");
    let outcome = world.copy("app:v1").await.unwrap();
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (2, 1));
}

#[tokio::test]
async fn another_repository_gets_the_blob_by_a_mount() {
    let world = World::new().await;
    world.source.push(&Image::new(&[b"base", b"one"]), "app", "v1");
    world.source.push(&Image::new(&[b"base", b"two"]), "other", "v1");
    let copier = world.copier();
    copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
    let outcome = copier.copy(&world.job("other:v1"), &Tracker::default()).await.unwrap();
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (2, 1));
    assert!(world.target.holds(&Image::new(&[b"base", b"two"]), &world.replica("other:v1")));
}

/// Case 33: the blob is sent where a mount is refused, by status or by an upload.
#[tokio::test]
async fn a_refused_mount_leaves_nothing_open() {
    for refusal in [401, 403, 404, 405, 202] {
        let world = World::new().await;
        let (one, two) = (Image::new(&[b"base", b"one"]), Image::new(&[b"base", b"two"]));
        world.source.push(&one, "app", "v1");
        world.source.push(&two, "other", "v1");
        let copier = world.copier();
        copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
        match refusal {
            202 => world.target.lose_blob(&world.replica("app:v1"), &one.blobs[1].0),
            status => world.target.script(
                When::first(Method::POST, Kind::Upload).of("mount="),
                Fault::status(status, ""),
            ),
        }
        world.target.forget_requests();
        copier.copy(&world.job("other:v1"), &Tracker::default()).await.unwrap();
        assert!(world.target.holds(&two, &world.replica("other:v1")), "{refusal}");
        // Three blobs: two uploads, and the mount, whose 202 is an upload as well.
        let opened = world.target.count(&Method::POST, Kind::Upload);
        assert_eq!(opened, if refusal == 202 { 3 } else { 4 }, "{refusal}");
        world.no_upload_is_open().await;
    }
}

#[tokio::test]
async fn registries_that_take_no_head_of_manifests_are_asked_by_get() {
    let world = World::new().await;
    for registry in [&world.source, &world.target] {
        registry.script(When::each(Method::HEAD, Kind::Manifest), Fault::status(405, ""));
    }
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    let uploads = world.target.count(&Method::POST, Kind::Upload);
    world.copy("app:v1").await.unwrap();
    assert_eq!(world.target.count(&Method::POST, Kind::Upload), uploads, "it is current");
}

/// Case 25.
#[tokio::test]
async fn a_tag_that_moves_after_it_was_seen_changes_nothing() {
    let world = World::new().await;
    let (seen, later) = (Image::new(&[b"seen"]), Image::new(&[b"later"]));
    world.source.push(&later, "app", "v1");
    world.source.push(&seen, "app", "v1");
    let (source, moved) = (world.source.clone(), later.clone());
    world.source.script(
        When::first(Method::GET, Kind::Manifest),
        Fault::Delay(std::time::Duration::from_millis(100)),
    );
    let mover = tokio::spawn(async move {
        while source.count(&Method::GET, Kind::Manifest) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        source.push(&moved, "app", "v1");
    });
    let outcome = world.copy("app:v1").await.unwrap();
    mover.await.unwrap();
    assert_eq!(outcome.digest, seen.digest);
    assert!(world.replicated(&seen, "app:v1"));
    let by_tag = world.source.requests().iter().filter(|r| r.path.ends_with("/v1")).count();
    assert_eq!(by_tag, 1);
}

#[tokio::test]
async fn a_source_by_digest_gets_a_keeper_and_no_tag_is_moved() {
    let world = World::new().await;
    let (pinned, newer) = (Image::new(&[b"pinned"]), Image::new(&[b"newer"]));
    world.source.push(&pinned, "app", "v1");
    let both = format!("app:v1@{}", pinned.digest);
    let keeper = format!("digest-{}", pinned.digest.dashed());
    let replica = world.replica(&both);
    world.target.push(&newer, &replica, "v1");
    world.copy(&both).await.unwrap();
    assert_eq!(world.target.manifest(&replica, "v1"), Some(newer.manifest));
    assert_eq!(world.target.manifest(&replica, &keeper), Some(pinned.manifest.clone()));
    // And where the target has no such tag it is set, after the keeper.
    let elsewhere = World::new().await;
    elsewhere.source.push(&pinned, "app", "v1");
    elsewhere.copy(&both).await.unwrap();
    assert_eq!(elsewhere.target.tags(&elsewhere.replica(&both)), [keeper, "v1".to_owned()]);
    elsewhere.source.forget_requests();
    elsewhere.copy(&both).await.unwrap();
    assert!(elsewhere.source.requests().is_empty());
}

#[tokio::test]
async fn images_without_layers_and_empty_blobs_travel() {
    let world = World::new().await;
    for (name, image) in [("none", Image::new(&[])), ("empty", Image::new(&[b"", b"x"]))] {
        world.source.push(&image, name, "v1");
        let reference = format!("{name}:v1");
        world.copy(&reference).await.unwrap();
        assert!(world.replicated(&image, &reference), "{name}");
    }
}

#[tokio::test]
async fn case_39_schema_1_is_refused_with_the_reason() {
    let world = World::new().await;
    let old = Image::raw(media::SCHEMA1, br#"{"schemaVersion":1,"name":"app"}"#.to_vec());
    world.source.push(&old, "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Unsupported));
    assert_eq!(error.retry(), Retry::Never);
    assert!(error.to_string().contains("schema 1"), "{error}");
}

/// Case 29.
#[tokio::test]
async fn a_foreign_layer_is_refused_by_name() {
    let world = World::new().await;
    let image =
        Image::of(media::DOCKER_MANIFEST, media::FOREIGN_LAYER, vec![b"windows".as_slice().into()]);
    world.source.push(&image, "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert!(error.to_string().contains(&image.blobs[1].0.to_string()), "{error}");
    assert!(world.target.tags(&world.replica("app:v1")).is_empty());
}

/// A blob of one registry is sent once, however many copies of it run.
#[tokio::test]
async fn copies_at_once_share_their_transfers() {
    let world = World::new().await;
    let names: Vec<String> = (0..20).map(|n| format!("app{n}")).collect();
    for name in &names {
        world.source.push(&Image::new(&[b"base", name.as_bytes()]), name, "v1");
    }
    let copier = world.copier();
    let copies = names.iter().map(|name| {
        let (copier, job) = (copier.clone(), world.job(&format!("{name}:v1")));
        tokio::spawn(async move { copier.copy(&job, &Tracker::default()).await })
    });
    for copied in futures::future::join_all(copies).await {
        copied.unwrap().unwrap();
    }
    let base = Image::new(&[b"base"]).blobs[1].0.to_string();
    let of_base = |r: &&testkit::Recorded| r.kind == Kind::Blob && r.path.contains(&base);
    assert_eq!(world.source.requests().iter().filter(of_base).count(), 1);
}

/// Case 36: with a single permit, within one registry and both ways between two.
#[tokio::test]
async fn permits_never_wait_for_each_other() {
    let only = ScriptedRegistry::start().await;
    let mut world = World::of(only.clone(), only);
    world.config.permits = 1;
    let copier = world.copier();
    let mut jobs = Vec::new();
    for number in 0..8u8 {
        let name = format!("app{number}");
        world.source.push(&Image::new(&[&[number], &[number, 1], &[number, 2]]), &name, "v1");
        jobs.push(world.job(&format!("{name}:v1")));
    }
    let copies = jobs.into_iter().map(|job| {
        let copier = copier.clone();
        tokio::spawn(async move { copier.copy(&job, &Tracker::default()).await })
    });
    let all = futures::future::join_all(copies);
    for copied in tokio::time::timeout(std::time::Duration::from_secs(20), all).await.unwrap() {
        copied.unwrap().unwrap();
    }
}
