//! What registries do wrong in mid-copy, and that nothing wrong is ever committed.
//! Cases 31, 32, 34, 36, 38.

mod common;

use std::time::{Duration, Instant};

use copy::{ErrorKind, Retry, Tracker};
use http::Method;
use protocol::Side;
use testkit::{Content, Fault, Image, Kind, When, media};

use common::World;

/// An image with one layer of several reads, and that layer's digest.
fn image() -> (Image, protocol::Digest) {
    let image = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(3_000_000)]);
    let layer = image.blobs[1].0.clone();
    (image, layer)
}

async fn world(image: &Image) -> World {
    let world = World::new().await;
    world.source.push(image, "app", "v1");
    world
}

/// Case 32: whatever is wrong with the source's bytes, the target has none of them.
#[tokio::test]
async fn wrong_and_short_bytes_are_never_committed() {
    let (image, layer) = image();
    for fault in [
        Fault::Corrupt(0),
        Fault::Corrupt(2_999_999),
        Fault::Short(2_999_999),
        Fault::ShortLength(1_000_000),
        Fault::Endless,
    ] {
        let world = world(&image).await;
        let each = When::each(Method::GET, Kind::Blob).of(&layer);
        world.source.script(each.clone(), Fault::IgnoreRange);
        world.source.script(each, fault.clone());
        let tracker = Tracker::default();
        let error = world.copier().copy(&world.job("app:v1"), &tracker).await.unwrap_err();
        assert_eq!(
            (error.side, error.kind()),
            (Side::Source, ErrorKind::DigestMismatch),
            "{fault:?}"
        );
        assert!(matches!(error.retry(), Retry::Later { .. }), "{fault:?}");
        assert!(error.to_string().contains(&layer.to_string()), "{error}");
        let replica = world.replica("app:v1");
        assert!(world.target.blob(&replica, &layer).is_none(), "{fault:?}");
        assert!(world.target.tags(&replica).is_empty(), "{fault:?}");
        world.no_upload_is_open().await;
        assert!(tracker.progress().bytes_done < 1_000, "{fault:?}");
    }
}

/// Case 31: a cut stream goes on where it broke, in the same upload.
#[tokio::test]
async fn a_cut_source_goes_on_where_it_broke() {
    let (image, layer) = image();
    for (ranges, cut) in [
        (true, Fault::Cut(1_000_000)),
        (false, Fault::Cut(1_000_000)),
        (true, Fault::Stall(70_000)),
    ] {
        let world = world(&image).await;
        world.source.script(When::first(Method::GET, Kind::Blob).of(&layer), cut);
        if !ranges {
            world.source.script(When::each(Method::GET, Kind::Blob), Fault::IgnoreRange);
        }
        let outcome = world.copy("app:v1").await.unwrap();
        assert!(world.replicated(&image, "app:v1"));
        assert_eq!(outcome.blobs_moved, 2);
        assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 2);
        let resumed = world.source.requests().into_iter().filter_map(|r| r.range).next().unwrap();
        assert_ne!(resumed, "bytes=0-");
    }
}

/// Case 31: slow is no error, silence is.
#[tokio::test]
async fn silence_ends_a_copy_and_slowness_does_not() {
    let (image, layer) = image();
    let slow = world(&image).await;
    let pause = common::IDLE * 2 / 3;
    for kind in [Kind::Manifest, Kind::Blob] {
        slow.source.script(When::each(Method::GET, kind), Fault::Delay(pause));
    }
    slow.target.script(When::each(Method::PUT, Kind::Upload), Fault::Delay(pause));
    slow.copy("app:v1").await.unwrap();

    let silent = world(&image).await;
    silent.source.script(When::each(Method::GET, Kind::Blob).of(&layer), Fault::Stall(0));
    let error = silent.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Timeout), "{error}");

    let stuck = world(&image).await;
    // More than the sockets' buffers take.
    let large = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(64_000_000)]);
    stuck.source.push(&large, "app", "v1");
    stuck.target.script(When::each(Method::PUT, Kind::Upload), Fault::StallRequest(1_000));
    let error = stuck.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Timeout), "{error}");
}

#[tokio::test]
async fn a_cut_upload_is_begun_again_with_the_source_opened_again() {
    let (image, layer) = image();
    let world = world(&image).await;
    world
        .target
        .script(When::first(Method::PUT, Kind::Upload).of(layer.hex()), Fault::CutRequest(500_000));
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    let reads = |r: &&testkit::Recorded| r.kind == Kind::Blob && r.path.contains(layer.hex());
    assert_eq!(world.source.requests().iter().filter(reads).count(), 2);
    world.no_upload_is_open().await;
}

/// A copy that fails of one blob drops the requests for the others, some of them in mid-air.
#[tokio::test]
async fn an_upload_whose_answer_nobody_awaits_is_given_up() {
    let layers: Vec<_> = (0..5u8).map(|n| Content::from([n].as_slice())).collect();
    let image = Image::of(media::MANIFEST, media::LAYER, layers);
    let world = world(&image).await;
    let first = When::first(Method::POST, Kind::Upload);
    let pause = Duration::from_millis(50);
    world.target.script(first.clone(), Fault::Delay(pause));
    world.target.script(first, Fault::status(403, ""));
    let others = When::each(Method::POST, Kind::Upload).after(1);
    world.target.script(others, Fault::LateAnswer(pause * 2));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Denied), "{error}");
    assert!(world.target.count(&Method::POST, Kind::Upload) > 1);
    world.no_upload_is_open().await;
}

/// Case 34: 429 as plain text, at each step; the body sent again is the whole body.
#[tokio::test]
async fn retry_after_is_honoured_and_the_source_is_opened_again() {
    let (image, _) = image();
    let busy = Fault::Answer(
        429,
        vec![
            ("retry-after".to_owned(), "1".to_owned()),
            ("content-type".to_owned(), "text/plain".to_owned()),
        ],
        "You have reached your pull rate limit.".to_owned(),
    );
    for (at_source, method, kind) in [
        (true, Method::GET, Kind::Manifest),
        (true, Method::GET, Kind::Blob),
        (false, Method::PUT, Kind::Upload),
        (false, Method::PUT, Kind::Manifest),
    ] {
        let world = world(&image).await;
        let side = if at_source { &world.source } else { &world.target };
        side.script(When::first(method.clone(), kind), busy.clone());
        let begun = Instant::now();
        world.copy("app:v1").await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1), "{method} {kind:?}");
        assert!(world.replicated(&image, "app:v1"), "{method} {kind:?}");
    }
}

#[tokio::test]
async fn a_long_retry_after_is_the_callers_to_wait_for() {
    let (image, _) = image();
    let world = world(&image).await;
    let busy =
        Fault::Answer(429, vec![("retry-after".to_owned(), "600".to_owned())], "busy".to_owned());
    world.source.script(When::each(Method::GET, Kind::Manifest), busy);
    let copier = world.copier();
    let error = copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later { after: Duration::from_secs(600) });
    assert!(error.to_string().contains("wait for 600 s"), "{error}");
    // The next request does not even go out.
    world.source.forget_requests();
    let error = copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(world.source.requests().is_empty());
}

/// Case 36: a copy that is dropped gives its permits and turns back.
#[tokio::test]
async fn a_dropped_copy_holds_nothing() {
    let (image, layer) = image();
    let mut world = world(&image).await;
    world.config.permits = 1;
    world.source.script(When::first(Method::GET, Kind::Blob).of(&layer), Fault::Stall(10));
    let copier = world.copier();
    let job = world.job("app:v1");
    let short = Duration::from_millis(100);
    assert!(tokio::time::timeout(short, copier.copy(&job, &Tracker::default())).await.is_err());
    copier.copy(&job, &Tracker::default()).await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
}

#[tokio::test]
async fn passing_failures_are_tried_again() {
    let (image, _) = image();
    let world = world(&image).await;
    for (method, kind) in [(Method::HEAD, Kind::Manifest), (Method::GET, Kind::Blob)] {
        world.source.script(When::first(method.clone(), kind), Fault::Drop);
        world.source.script(When::first(method, kind).after(1), Fault::status(502, "<html>"));
    }
    world.target.script(When::first(Method::POST, Kind::Upload), Fault::status(503, ""));
    world.target.script(When::first(Method::PUT, Kind::Manifest), Fault::Drop);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
}

#[tokio::test]
async fn case_38_endless_answers_are_cut_at_a_cap() {
    let (image, _) = image();
    let endless = world(&image).await;
    endless.source.script(When::each(Method::GET, Kind::Manifest), Fault::Endless);
    let error = endless.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::TooLarge), "{error}");

    let errors = world(&image).await;
    errors.source.script(When::each(Method::GET, Kind::Manifest), Fault::status(404, "x"));
    errors.source.script(When::each(Method::GET, Kind::Manifest), Fault::Endless);
    let error = errors.copy("app:v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().len() < 1_000);
}

/// What the source chooses has limits.
#[tokio::test]
async fn case_38_images_beyond_the_limits_are_refused() {
    let mut nested = Image::new(&[b"x"]);
    for _ in 0..6 {
        nested = Image::index(&[("linux/amd64", nested)]);
    }
    let wide: Vec<_> = (0..9u8).map(|n| ("linux/amd64", Image::new(&[&[n]]))).collect();
    for (name, image) in [("nested", nested), ("wide", Image::index(&wide))] {
        let mut world = world(&image).await;
        world.limits.manifests = 8;
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!(
            (error.side, error.kind()),
            (Side::Source, ErrorKind::TooLarge),
            "{name}: {error}"
        );
        assert!(world.target.requests().iter().all(|r| r.method == Method::HEAD));
    }
}

/// An index of so many children that share no digest.
fn crowd(children: usize) -> Image {
    let child = |number: usize| {
        let digest = testkit::digest_of(number.to_string().as_bytes());
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{number}}}"#, media::MANIFEST)
    };
    let children: Vec<_> = (0..children).map(child).collect();
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
    Image::raw(media::INDEX, index.into_bytes())
}

/// A hundred thousand do not fit into a manifest; of those that do none is asked for.
#[tokio::test]
async fn case_38_a_crowd_of_children_is_not_read() {
    for (children, words) in [(100_000, "longer than"), (20_000, "more than 1000 manifests")] {
        let world = world(&crowd(children)).await;
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::TooLarge), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(world.source.count(&Method::GET, Kind::Manifest), 1);
    }
}

#[tokio::test]
async fn case_38_an_image_has_a_size_and_a_number_of_layers() {
    let (image, _) = image();
    type Limit = fn(&mut copy::Limits);
    let limits: [(Limit, &str); 3] = [
        (|limits| limits.image_bytes = 3_000_000, "more than 3000000 bytes in all"),
        (|limits| limits.blob_bytes = 2_999_999, "more than 2999999 bytes in one layer"),
        (|limits| limits.blobs = 1, "more than 1 layers and configs"),
    ];
    for (limit, words) in limits {
        let mut world = world(&image).await;
        limit(&mut world.limits);
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::TooLarge), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);
        assert!(world.target.contents().values().all(|holding| holding.blobs.is_empty()));
    }
}

#[tokio::test]
async fn a_wrong_manifest_is_refused() {
    let (image, _) = image();
    let world = world(&image).await;
    world.source.script(When::each(Method::GET, Kind::Manifest), Fault::Corrupt(5));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::DigestMismatch), "{error}");
}
