//! What an estimate says, and that it is what a copy then does; nothing is changed by it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use copy::{Brings, ErrorKind, Estimate};
use http::Method;
use protocol::Side;
use testkit::{Fault, Image, Kind, When};

use common::World;

/// Two platforms with a common layer, and a signature.
async fn world() -> (World, Image) {
    let world = World::new().await;
    let image = Image::index(&[
        ("linux/amd64", Image::new(&[b"base", b"amd64"])),
        ("linux/arm64", Image::new(&[b"base", b"arm64"])),
    ]);
    world.source.push(&image, "app", "v1");
    let signature = Image::referrer(&image, "application/vnd.example.signature", b"signed");
    world.source.push_untagged(&signature, "app");
    (world, image)
}

async fn estimate(world: &World, image: &str) -> Estimate {
    world.copier().estimate(&world.job(image)).await.unwrap()
}

fn bytes(brings: &Brings) -> u64 {
    brings.blobs.values().sum()
}

#[tokio::test]
async fn what_an_estimate_says_a_copy_brings_and_then_nothing_more() {
    let (world, image) = world().await;
    let Estimate { held, brings } = estimate(&world, "app:v1").await;
    let brings = brings.unwrap().unwrap();
    assert_eq!((held, &brings.digest), (None, &image.digest));

    let outcome = world.copy("app:v1").await.unwrap();
    assert_eq!(
        (bytes(&brings), brings.blobs.len() as u64, brings.size_bytes),
        (outcome.bytes_moved, outcome.blobs_moved, outcome.size_bytes)
    );
    let Estimate { held, brings } = estimate(&world, "app:v1").await;
    assert_eq!((held, brings.unwrap()), (Some(image.digest), None));
}

#[tokio::test]
async fn what_the_target_has_is_not_counted_and_what_it_holds_is_told() {
    let (world, image) = world().await;
    world.copy("app:v1").await.unwrap();
    let newer = Image::new(&[b"base", b"newer"]);
    world.source.push(&newer, "app", "v1");
    let Estimate { held, brings } = estimate(&world, "app:v1").await;
    let brings = brings.unwrap().unwrap();
    assert_eq!((held, &brings.digest), (Some(image.digest), &newer.digest));
    // The new layer, and the config.
    assert_eq!(brings.blobs.len(), 2);
    assert_eq!(bytes(&brings), world.copy("app:v1").await.unwrap().bytes_moved);
}

#[tokio::test]
async fn only_what_is_in_scope_is_counted() {
    let (mut world, _) = world().await;
    let all = bytes(&estimate(&world, "app:v1").await.brings.unwrap().unwrap());
    world.scope.platforms = vec!["linux/arm64".parse().unwrap()];
    let some = bytes(&estimate(&world, "app:v1").await.brings.unwrap().unwrap());
    assert!(some < all, "{some} of {all}");
}

#[tokio::test]
async fn an_estimate_reads_and_asks_and_changes_nothing() {
    let (world, _) = world().await;
    estimate(&world, "app:v1").await;
    let requests = [world.source.requests(), world.target.requests()].concat();
    assert!(!requests.is_empty());
    for request in requests {
        assert!(matches!(request.method, Method::GET | Method::HEAD), "{request:?}");
    }
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);
    assert_eq!(world.target.uploaded_bytes(), 0);
}

#[tokio::test]
async fn a_source_that_says_nothing_is_told_beside_what_the_target_holds() {
    let (world, image) = world().await;
    world.copy("app:v1").await.unwrap();
    let nobody_knows = estimate(&world, "app:v2").await;
    assert_eq!(nobody_knows.held, None);
    assert_eq!(nobody_knows.brings.unwrap_err().kind(), ErrorKind::NotFound);

    world.source.script(When::each(Method::HEAD, Kind::Manifest), Fault::status(503, ""));
    let Estimate { held, brings } = estimate(&world, "app:v1").await;
    assert_eq!(held, Some(image.digest));
    assert_eq!(brings.unwrap_err().side, Side::Source);
}

#[tokio::test]
async fn a_target_that_says_nothing_is_the_estimates_own_error() {
    let (world, _) = world().await;
    for kind in [Kind::Manifest, Kind::Blob] {
        world.target.script(When::each(Method::HEAD, kind), Fault::status(403, ""));
        let error = world.copier().estimate(&world.job("app:v1")).await.unwrap_err();
        assert_eq!((error.side, error.status()), (Side::Target, Some(403)));
        world.target.behave();
    }
}
