//! Targets that have less than they say: what a copy mends on its way, and what a repair does.
//! Cases 18 and 33.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use copy::{Copier, ErrorKind, Job, Retry, Tracker};
use http::Method;
use protocol::{Digest, Side};
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

use common::World;

fn two_platforms() -> Image {
    Image::index(&[
        ("linux/amd64", Image::new(&[b"base", b"amd64"])),
        ("linux/arm64", Image::new(&[b"base", b"arm64"])),
    ])
}

/// The target says that it has a blob of this many bytes.
fn claim(target: &ScriptedRegistry, blob: &Digest, bytes: u64) {
    let when = When::each(Method::HEAD, Kind::Blob).of(blob);
    target.script(when.clone(), Fault::status(200, ""));
    target.script(when, Fault::ShortLength(bytes));
}

fn count(target: &ScriptedRegistry, method: &Method, kind: Kind, part: &str) -> usize {
    let of_part =
        |r: &&testkit::Recorded| r.method == *method && r.kind == kind && r.path.contains(part);
    target.requests().iter().filter(of_part).count()
}

const LACKING: &str = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}"#;

#[tokio::test]
async fn a_blob_that_the_target_only_claims_is_sent_after_all() {
    let world = World::new().await;
    let image = two_platforms();
    world.source.push(&image, "app", "v1");
    let (base, bytes) = (&image.children[0].blobs[1].0, 4);
    claim(&world.target, base, bytes);
    let tracker = Tracker::default();
    let outcome = world.copier().copy(&world.job("app:v1"), &tracker).await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (5, 0));
    // Both manifests name it, and it travelled once.
    assert_eq!(count(&world.source, &Method::GET, Kind::Blob, base.hex()), 1);
    let progress = tracker.progress();
    assert_eq!((progress.layers_done, progress.layers_total), (3, 3));
    assert_eq!(progress.bytes_done, progress.bytes_total);
    world.no_upload_is_open().await;
}

#[tokio::test]
async fn a_mount_that_brought_nothing_is_mended() {
    let world = World::new().await;
    let (one, two) = (Image::new(&[b"base", b"one"]), Image::new(&[b"base", b"two"]));
    world.source.push(&one, "app", "v1");
    world.source.push(&two, "other", "v1");
    let copier = world.copier();
    copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
    world
        .target
        .script(When::first(Method::POST, Kind::Upload).of("mount="), Fault::status(201, ""));
    world.target.forget_requests();
    let outcome = copier.copy(&world.job("other:v1"), &Tracker::default()).await.unwrap();
    assert!(world.target.holds(&two, &world.replica("other:v1")));
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (3, 0));
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 2);
    assert_eq!(count(&world.target, &Method::POST, Kind::Upload, "mount="), 1);
}

#[tokio::test]
async fn a_manifest_is_put_twice_at_most() {
    for (claimed, puts) in [(true, 2), (false, 1)] {
        for status in [400, 404] {
            let world = World::new().await;
            let image = Image::new(&[b"layer"]);
            world.source.push(&image, "app", "v1");
            if claimed {
                claim(&world.target, &image.blobs[1].0, 5);
            }
            world
                .target
                .script(When::each(Method::PUT, Kind::Manifest), Fault::status(status, LACKING));
            let error = world.copy("app:v1").await.unwrap_err();
            assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::NotFound));
            // Not here and now, but in a copy of its own.
            assert_eq!(error.retry(), Retry::Later { after: Duration::ZERO });
            assert!(error.to_string().contains("although each was sent to it"), "{error}");
            assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), puts, "{status}");
        }
    }
}

/// Other refusals send nothing again.
#[tokio::test]
async fn a_manifest_that_is_refused_for_itself_is_put_once() {
    let world = World::new().await;
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    claim(&world.target, &image.blobs[1].0, 5);
    let invalid = r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#;
    world.target.script(When::each(Method::PUT, Kind::Manifest), Fault::status(400, invalid));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 1);
    assert!(world.target.blob(&world.replica("app:v1"), &image.blobs[1].0).is_none());
}

#[tokio::test]
async fn a_child_at_the_target_whose_blob_is_gone_is_mended() {
    let world = World::new().await;
    let image = two_platforms();
    world.source.push(&image, "app", "v1");
    let replica = world.replica("app:v1");
    let child = &image.children[1];
    world.target.push(child, &replica, "old");
    world.target.lose_blob(&replica, &child.blobs[2].0);
    let outcome = world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (3, 2));
}

/// A registry that takes a blob again and keeps what it had, as docker-registry does.
#[tokio::test]
async fn a_copy_does_not_end_well_on_a_blob_of_another_length() {
    let (image, world) = (Image::new(&[b"layer"]), World::new().await);
    let layer = &image.blobs[1].0;
    world.source.push(&image, "app", "v1");
    let replica = world.replica("app:v1");
    world.target.damage_blob(&replica, layer, b"lay".as_slice().into());
    world.copy("app:v1").await.unwrap();
    assert!(
        world.verifier().verify(&world.job("app:v1").replica.reference).await.unwrap().is_right()
    );

    let stubborn = World::new().await;
    stubborn.source.push(&image, "app", "v1");
    claim(&stubborn.target, layer, 3);
    let error = stubborn.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::DigestMismatch));
    assert_eq!(error.retry(), Retry::Never);
    assert!(
        error.to_string().contains(&format!("{layer} again and still has it short")),
        "{error}"
    );
    assert!(stubborn.target.tags(&stubborn.replica("app:v1")).is_empty());
}

/// A refused mount is not tried again, even where nothing better is known yet.
#[tokio::test]
async fn a_place_that_refused_a_mount_is_forgotten() {
    for refusal in [404, 403, 202] {
        let world = World::new().await;
        let (one, two) = (Image::new(&[b"base", b"one"]), Image::new(&[b"base", b"two"]));
        let base = &one.blobs[1].0;
        world.source.push(&one, "app", "v1");
        world.source.push(&two, "other", "v1");
        let copier = world.copier();
        copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
        match refusal {
            202 => world.target.lose_blob(&world.replica("app:v1"), base),
            status => world.target.script(
                When::each(Method::POST, Kind::Upload).of("mount="),
                Fault::status(status, ""),
            ),
        }
        let unread = When::first(Method::GET, Kind::Blob).of(base);
        world.source.script(unread, Fault::status(404, ""));
        let job = world.job("other:v1");
        copier.copy(&job, &Tracker::default()).await.unwrap_err();
        copier.copy(&job, &Tracker::default()).await.unwrap();
        assert!(world.target.holds(&two, &world.replica("other:v1")));
        let mounts = count(&world.target, &Method::POST, Kind::Upload, "mount=");
        assert_eq!(mounts, 1, "{refusal}");
    }
}

async fn repair(copier: &Copier, job: &Job) -> copy::Outcome {
    copier.repair(job, &Tracker::default()).await.unwrap()
}

#[tokio::test]
async fn a_repair_sends_exactly_what_is_damaged() {
    let world = World::new().await;
    let image = two_platforms();
    world.source.push(&image, "app", "v1");
    let (job, replica) = (world.job("app:v1"), world.replica("app:v1"));
    let copier = world.copier();
    copier.copy(&job, &Tracker::default()).await.unwrap();
    let [amd64, arm64] = image.children.as_slice() else { panic!("two platforms") };
    world.target.damage_blob(&replica, &arm64.blobs[2].0, b"arm46".as_slice().into());
    world.target.lose_blob(&replica, &amd64.blobs[2].0);
    world.target.lose_manifest(&replica, &amd64.digest);
    // A copy sees that the tag is right, and looks no further.
    assert_eq!(copier.copy(&job, &Tracker::default()).await.unwrap().bytes_moved, 0);
    world.source.forget_requests();
    world.target.forget_requests();

    let outcome = repair(&copier, &job).await;
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped, outcome.bytes_moved), (2, 3, 10));
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 2);
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 1);
    assert_eq!(count(&world.target, &Method::POST, Kind::Upload, "mount="), 0);
    assert!(world.verifier().verify(&job.replica.reference).await.unwrap().is_right());

    world.target.forget_requests();
    let outcome = repair(&copier, &job).await;
    assert_eq!((outcome.blobs_moved, outcome.blobs_skipped), (0, 5));
    assert!(
        world.target.requests().iter().all(|r| r.method == Method::GET || r.method == Method::HEAD)
    );
}

#[tokio::test]
async fn a_repair_writes_a_wrong_manifest_again_under_its_tag() {
    let world = World::new().await;
    let image = Image::new(&[b"layer"]);
    world.source.push(&image, "app", "v1");
    let job = world.job("app:v1");
    let copier = world.copier();
    copier.copy(&job, &Tracker::default()).await.unwrap();
    world.target.script(When::first(Method::GET, Kind::Manifest), Fault::Corrupt(9));
    world.target.forget_requests();
    repair(&copier, &job).await;
    assert_eq!(count(&world.target, &Method::PUT, Kind::Manifest, "/manifests/v1"), 1);
    assert_eq!(world.target.count(&Method::GET, Kind::Manifest), 2);
}

#[tokio::test]
async fn a_repair_that_does_not_take_is_an_error() {
    for kind in [Kind::Blob, Kind::Manifest] {
        let world = World::new().await;
        let image = Image::new(&[b"layer"]);
        world.source.push(&image, "app", "v1");
        let job = world.job("app:v1");
        world.copy("app:v1").await.unwrap();
        world.target.script(When::each(Method::GET, kind), Fault::Corrupt(1));
        let error = world.copier().repair(&job, &Tracker::default()).await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::DigestMismatch));
        assert_eq!(error.retry(), Retry::Never);
        let message = error.to_string();
        assert!(message.contains("sends wrong bytes for"), "{message}");
        assert!(message.contains("still has it wrong"), "{message}");
    }
}

#[tokio::test]
async fn a_repair_leaves_a_tag_that_names_another_image() {
    let world = World::new().await;
    let (pinned, newer) = (Image::new(&[b"pinned"]), Image::new(&[b"newer"]));
    world.source.push(&pinned, "app", "v1");
    let both = format!("app:v1@{}", pinned.digest);
    let (job, replica) = (world.job(&both), world.replica(&both));
    world.target.push(&newer, &replica, "v1");
    world.copy(&both).await.unwrap();
    world.target.lose_blob(&replica, &pinned.blobs[1].0);
    repair(&world.copier(), &job).await;
    assert!(world.target.holds(&pinned, &replica));
    assert_eq!(world.target.manifest(&replica, "v1"), Some(newer.manifest));
}
