//! Writing blobs to every kind of registry: whole, in chunks, gone on with after a cut.
//! Cases 30, 31, 34, 37.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use copy::{ErrorKind, Retry, Tracker};
use http::Method;
use protocol::{Digest, Side};
use testkit::{Builder, Content, Fault, Image, Kind, Recorded, ScriptedRegistry, When, media};

use common::World;

const MIB: u64 = 1 << 20;

/// An image with one layer of so many MiB.
fn image(mib: u64) -> (Image, Digest) {
    let image = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(mib * MIB)]);
    let layer = image.blobs[1].0.clone();
    (image, layer)
}

async fn world(target: Builder) -> World {
    World::of(ScriptedRegistry::start().await, target.start().await)
}

/// The chunks that were sent, in MiB.
fn chunks(target: &ScriptedRegistry) -> Vec<u64> {
    let of_chunk = |request: &Recorded| request.content_length.unwrap() / MIB;
    let patches = target.requests().into_iter().filter(|request| request.method == Method::PATCH);
    patches.map(|request| of_chunk(&request)).collect()
}

/// How often the source was asked for the layer's bytes, and from where.
fn reads(source: &ScriptedRegistry, layer: &Digest) -> Vec<Option<u64>> {
    let begin = |range: String| range["bytes=".len()..range.len() - 1].parse().unwrap();
    let of_layer = |r: &Recorded| r.method == Method::GET && r.path.contains(layer.hex());
    let requests = source.requests().into_iter().filter(of_layer);
    requests.map(|request| request.range.map(begin)).collect()
}

async fn copied(world: &World, image: &Image) {
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(image, "app:v1"));
    world.no_upload_is_open().await;
}

/// Case 30: a registry that names a smallest chunk still gets whole blobs, if it takes them.
#[tokio::test]
async fn a_smallest_chunk_alone_changes_nothing() {
    let world = world(ScriptedRegistry::builder().chunks_of_at_least(5 * MIB)).await;
    let (image, _) = image(1);
    world.source.push(&image, "app", "v1");
    copied(&world, &image).await;
    assert_eq!(world.target.count(&Method::POST, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::PATCH, Kind::Upload), 0);
}

/// Case 30: 413 leads to chunks, and is remembered.
#[tokio::test]
async fn a_registry_that_takes_no_large_body_gets_chunks() {
    let world = world(ScriptedRegistry::builder().bodies_up_to(20 * MIB)).await;
    let (first, _) = image(40);
    let (second, _) = image(44);
    world.source.push(&first, "app", "v1");
    world.source.push(&second, "other", "v1");
    let copier = world.copier();
    copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();
    assert!(world.replicated(&first, "app:v1"));
    assert_eq!(chunks(&world.target), [16, 16, 8]);
    // The config, the layer in vain, and the layer's end.
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 3);

    world.target.forget_requests();
    copier.copy(&world.job("other:v1"), &Tracker::default()).await.unwrap();
    assert!(world.replicated(&second, "other:v1"));
    assert_eq!(chunks(&world.target), [16, 16, 12]);
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 2);
    assert_eq!(world.target.count(&Method::POST, Kind::Upload), 2);
    world.no_upload_is_open().await;
}

/// Case 30: chunks get smaller where they are refused, and never smaller than the registry wants.
#[tokio::test]
async fn chunks_are_halved_within_what_the_registry_takes() {
    let small = world(ScriptedRegistry::builder().bodies_up_to(5 * MIB)).await;
    let (image, _) = image(18);
    small.source.push(&image, "app", "v1");
    let mut small = small;
    small.config.retry.attempts = 4;
    copied(&small, &image).await;
    assert_eq!(chunks(&small.target), [16, 8, 4, 4, 4, 4, 2]);

    let narrow = ScriptedRegistry::builder().bodies_up_to(9 * MIB).chunks_of_at_least(10 * MIB);
    let narrow = world(narrow).await;
    narrow.source.push(&image, "app", "v1");
    let error = narrow.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::TooLarge), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    narrow.no_upload_is_open().await;
}

/// Case 30: registries that do not know a whole blob say so in many ways.
#[tokio::test]
async fn a_registry_that_takes_no_whole_blob_gets_chunks() {
    let (image, layer) = image(1);
    let invalid = r#"{"errors":[{"code":"SIZE_INVALID"}]}"#;
    for (status, body) in [(405, ""), (501, ""), (400, invalid)] {
        // A smallest chunk that is larger than the blob: the last one may be smaller.
        let world = world(ScriptedRegistry::builder().chunks_of_at_least(5 * MIB)).await;
        world.source.push(&image, "app", "v1");
        let refused = When::first(Method::PUT, Kind::Upload).of(layer.hex());
        world.target.script(refused, Fault::status(status, body));
        copied(&world, &image).await;
        assert_eq!(chunks(&world.target).last(), Some(&1), "{status}");
    }
    // And the same words from one that never spoke of chunks are an error.
    let world = world(ScriptedRegistry::builder()).await;
    world.source.push(&image, "app", "v1");
    world.target.script(When::each(Method::PUT, Kind::Upload), Fault::status(400, invalid));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Malformed), "{error}");
}

/// Case 30: a registry may take less of a chunk than it got.
#[tokio::test]
async fn what_a_registry_did_not_take_is_sent_again() {
    let world = world(ScriptedRegistry::builder().bodies_up_to(20 * MIB)).await;
    let (image, layer) = image(24);
    world.source.push(&image, "app", "v1");
    world.target.script(When::first(Method::PATCH, Kind::Upload), Fault::TakeOnly(10 * MIB));
    copied(&world, &image).await;
    assert_eq!(chunks(&world.target), [16, 14]);
    // In vain, for the chunks, and from a little before the 10 MiB.
    let reads = reads(&world.source, &layer);
    assert_eq!(reads.len(), 3);
    assert!(reads[2].unwrap() > 5 * MIB && reads[2].unwrap() <= 10 * MIB, "{reads:?}");
}

/// What Zot said of a chunk (distribution-spec 580), and what ECR says of each
/// (containers-roadmap 2831).
#[tokio::test]
async fn a_range_that_stands_still_holds_up_no_upload() {
    let mut world = world(ScriptedRegistry::builder().bodies_up_to(5 * MIB)).await;
    world.config.retry.attempts = 4;
    let (image, _) = image(18);
    world.source.push(&image, "app", "v1");
    let still = Fault::With("range", "0-4194303".to_owned());
    world.target.script(When::each(Method::PATCH, Kind::Upload), still);
    copied(&world, &image).await;
    assert_eq!(chunks(&world.target), [16, 8, 4, 4, 4, 4, 2]);
}

/// And where it is true, the next chunk is refused, and what was lost is sent again.
#[tokio::test]
async fn a_chunk_that_a_registry_lost_is_sent_again() {
    let world = world(ScriptedRegistry::builder().bodies_up_to(20 * MIB)).await;
    let (image, _) = image(40);
    world.source.push(&image, "app", "v1");
    let second = When::first(Method::PATCH, Kind::Upload).after(1);
    world.target.script(second, Fault::TakeOnly(0));
    copied(&world, &image).await;
    assert_eq!(chunks(&world.target), [16, 16, 8, 16, 8]);
}

/// One that checks no digest either, and commits what it has, gets the whole blob once more.
#[tokio::test]
async fn a_lost_chunk_is_noticed_where_no_digest_is_checked() {
    let world = world(ScriptedRegistry::builder().bodies_up_to(20 * MIB).trusting()).await;
    let (image, _) = image(24);
    world.source.push(&image, "app", "v1");
    let second = When::first(Method::PATCH, Kind::Upload).after(1);
    world.target.script(second, Fault::TakeOnly(0));
    copied(&world, &image).await;
    assert_eq!(chunks(&world.target), [16, 8, 16, 8]);
}

/// Case 31: bytes that arrived are not sent again.
#[tokio::test]
async fn a_cut_upload_goes_on_where_the_target_kept_it() {
    let (image, layer) = image(64);
    let cut = Fault::CutRequest(40 * MIB);
    for (target, most_mib) in [
        (ScriptedRegistry::builder().keeping_what_was_cut(), 65),
        (ScriptedRegistry::builder(), 105),
    ] {
        let world = world(target).await;
        world.source.push(&image, "app", "v1");
        let tracker = Tracker::default();
        world.target.script(When::first(Method::PUT, Kind::Upload).of(layer.hex()), cut.clone());
        world.copier().copy(&world.job("app:v1"), &tracker).await.unwrap();
        assert!(world.replicated(&image, "app:v1"));
        world.no_upload_is_open().await;
        let mib = world.target.uploaded_bytes() / MIB;
        assert!((most_mib - 1..=most_mib).contains(&mib), "{mib} MiB");
        assert_eq!(tracker.progress().bytes_done, tracker.progress().bytes_total);
        let reads = reads(&world.source, &layer);
        assert_eq!(reads.len(), 2);
        if most_mib == 65 {
            // From the last state of the hash before the cut.
            assert!(reads[1].unwrap() > 35 * MIB, "{reads:?}");
            assert_eq!(chunks(&world.target), [23]);
        }
    }
}

/// Case 31: a target that breaks off again and again, but gets on.
#[tokio::test]
async fn an_upload_that_is_cut_often_gets_through() {
    let world = world(ScriptedRegistry::builder().keeping_what_was_cut()).await;
    let (image, layer) = image(40);
    world.source.push(&image, "app", "v1");
    let cut = Fault::CutRequest(6 * MIB);
    world.target.script(When::first(Method::PUT, Kind::Upload).of(layer.hex()), cut.clone());
    world.target.script(When::first(Method::PATCH, Kind::Upload).times(4), cut);
    copied(&world, &image).await;
    let mib = world.target.uploaded_bytes() / MIB;
    assert!((40..=42).contains(&mib), "{mib} MiB");
}

/// What passes twice has to be the same, whichever time it was wrong: the target has bytes of
/// both, and commits nothing.
#[tokio::test]
async fn a_source_that_changes_behind_a_cut_is_never_committed() {
    let (image, layer) = image(24);
    // From 12 MiB, a state of the hash, to 15 MiB, what the target kept, is read twice.
    for (first, again) in [(Some(13 * MIB), None), (None, Some(MIB)), (None, Some(4 * MIB))] {
        let world = world(ScriptedRegistry::builder().keeping_what_was_cut()).await;
        world.source.push(&image, "app", "v1");
        let read = When::first(Method::GET, Kind::Blob).of(&layer);
        if let Some(place) = first {
            world.source.script(read.clone(), Fault::Corrupt(place));
        }
        if let Some(place) = again {
            world.source.script(read.after(1), Fault::Corrupt(place));
        }
        let put = When::first(Method::PUT, Kind::Upload).of(layer.hex());
        world.target.script(put, Fault::CutRequest(15 * MIB));
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::DigestMismatch));
        assert!(world.target.blob(&world.replica("app:v1"), &layer).is_none());
        world.no_upload_is_open().await;
    }
}

/// A target that says it holds bytes, and then takes no more: a new upload does, at the latest.
#[tokio::test]
async fn an_upload_that_cannot_be_gone_on_with_is_begun_again() {
    let (image, layer) = image(8);
    for (fault, patches, uploads) in [
        // What it says may just stand still; the digest tells, and then it is asked.
        (Fault::TakeOnly(0), 2, 2),
        (Fault::status(405, ""), 1, 3),
        (Fault::status(404, r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#), 1, 3),
        (Fault::With("range", "0-99999999999".to_owned()), 1, 3),
    ] {
        let world = world(ScriptedRegistry::builder().keeping_what_was_cut()).await;
        world.source.push(&image, "app", "v1");
        let put = When::first(Method::PUT, Kind::Upload).of(layer.hex());
        world.target.script(put, Fault::CutRequest(5 * MIB));
        world.target.script(When::first(Method::PATCH, Kind::Upload), fault.clone());
        copied(&world, &image).await;
        assert_eq!(world.target.count(&Method::PATCH, Kind::Upload), patches, "{fault:?}");
        assert_eq!(world.target.count(&Method::POST, Kind::Upload), uploads, "{fault:?}");
    }
}

/// What a target says of an upload after a cut is not believed blindly.
#[tokio::test]
async fn a_status_that_makes_no_sense_begins_the_upload_again() {
    let (image, layer) = image(2);
    for status in [
        Fault::With("range", "0-99999999999".to_owned()),
        Fault::With("range", "5-7".to_owned()),
        Fault::Without("range"),
        Fault::status(500, ""),
        Fault::status(404, ""),
        Fault::status(401, ""),
    ] {
        let world = world(ScriptedRegistry::builder().keeping_what_was_cut()).await;
        world.source.push(&image, "app", "v1");
        let put = When::first(Method::PUT, Kind::Upload).of(layer.hex());
        world.target.script(put, Fault::CutRequest(MIB));
        world.target.script(When::each(Method::GET, Kind::Upload), status.clone());
        copied(&world, &image).await;
        assert_eq!(world.target.count(&Method::PATCH, Kind::Upload), 0, "{status:?}");
    }
}

#[tokio::test]
async fn nonsense_in_answers_is_an_error_of_the_target() {
    let (image, _) = image(2);
    for (method, header, value) in [
        (Method::POST, "location", "http://[:"),
        (Method::POST, "location", "ftp://127.0.0.1/x"),
        (Method::PATCH, "location", "http://[:"),
        (Method::PATCH, "range", "0-99999999999"),
        (Method::PATCH, "range", "0-18446744073709551615"),
        (Method::PATCH, "range", "much"),
        (Method::PATCH, "range", "0-0"),
    ] {
        let world = world(ScriptedRegistry::builder().bodies_up_to(MIB)).await;
        world.source.push(&image, "app", "v1");
        let nonsense = Fault::With(header, value.to_owned());
        world.target.script(When::each(method.clone(), Kind::Upload), nonsense);
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!(error.side, Side::Target, "{method} {header} {value}: {error}");
        let kinds = [ErrorKind::Malformed, ErrorKind::Denied];
        assert!(kinds.contains(&error.kind()), "{method} {header} {value}: {error}");
        if method == Method::PATCH {
            world.no_upload_is_open().await;
        }
    }
}

/// A target that confirms more than it was sent, before it was sent.
#[tokio::test]
async fn an_early_answer_is_not_believed() {
    let world = world(ScriptedRegistry::builder().bodies_up_to(20 * MIB)).await;
    let (image, layer) = image(64);
    world.source.push(&image, "app", "v1");
    // What the source gives by then is less than the first chunk.
    world.source.script(When::each(Method::GET, Kind::Blob).of(&layer), Fault::Stall(MIB));
    let range = vec![("range".to_owned(), format!("0-{}", 16 * MIB - 1))];
    let early = Fault::Early(202, range);
    world.target.script(When::each(Method::PATCH, Kind::Upload), early);
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Malformed), "{error}");
    assert!(error.to_string().contains("has 16777216 bytes, and got"), "{error}");
}

/// A blob that is there although the answer was lost is not sent again.
#[tokio::test]
async fn an_answer_that_is_lost_costs_one_request() {
    let world = world(ScriptedRegistry::builder()).await;
    let (image, layer) = image(1);
    world.source.push(&image, "app", "v1");
    let put = When::first(Method::PUT, Kind::Upload).of(layer.hex());
    world.target.script(put, Fault::LoseAnswer);
    copied(&world, &image).await;
    assert_eq!(world.target.count(&Method::HEAD, Kind::Blob), 3);
    assert_eq!(world.target.uploaded_bytes(), MIB + image.blobs[0].1.size());
}

/// ECR says so of an image that it took, whose answer got lost, when it is sent again.
#[tokio::test]
async fn an_immutable_tag_that_names_the_image_already_is_as_it_should_be() {
    let world = world(ScriptedRegistry::builder()).await;
    let (image, _) = image(1);
    world.source.push(&image, "app", "v1");
    let immutable = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
    let put = When::first(Method::PUT, Kind::Manifest).of("manifests/v1");
    world.target.script(put, Fault::LoseAnswer);
    let put = When::each(Method::PUT, Kind::Manifest).of("manifests/v1").after(1);
    world.target.script(put, Fault::status(400, immutable));
    copied(&world, &image).await;

    let other = Image::new(&[b"another"]);
    world.source.push(&other, "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert!(error.to_string().contains("the tag is immutable"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
}

/// Nexus says so where two clients send one blob at the same time.
#[tokio::test]
async fn a_blob_that_another_client_was_faster_to_send_is_there() {
    let world = world(ScriptedRegistry::builder()).await;
    let (image, layer) = image(1);
    world.source.push(&image, "app", "v1");
    world.target.push(&image, &world.replica("app:v1"), "of-another-client");
    world
        .target
        .script(When::first(Method::HEAD, Kind::Blob).of(layer.hex()), Fault::status(404, ""));
    let refusal = r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"cannot be updated"}]}"#;
    world.target.script(When::each(Method::PUT, Kind::Upload), Fault::status(400, refusal));
    world.copy("app:v1").await.unwrap();
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 1);
    assert!(world.replicated(&image, "app:v1"));
}

/// Harbor with several registries says so, now and then.
#[tokio::test]
async fn a_part_that_a_target_does_not_know_yet_is_a_reason_to_come_again() {
    let world = world(ScriptedRegistry::builder()).await;
    let (image, _) = image(1);
    world.source.push(&image, "app", "v1");
    let unknown = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}"#;
    world.target.script(When::first(Method::PUT, Kind::Manifest), Fault::status(404, unknown));
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later { after: Duration::ZERO }, "{error}");
    copied(&world, &image).await;
}

/// Cases 34 and 37: a token that ends in mid-upload. The body that is sent again is whole.
#[tokio::test]
async fn a_401_in_mid_upload_gets_a_new_token_and_the_bytes_again() {
    let (image, layer) = image(36);
    for chunked in [false, true] {
        let target = ScriptedRegistry::builder().bearer("u", "p", Duration::from_secs(3600));
        let target = if chunked { target.bodies_up_to(20 * MIB) } else { target };
        let target = target.start().await;
        let world = World::of(ScriptedRegistry::start().await, target.clone())
            .with_credentials(&[(&target, "u:p")]);
        world.source.push(&image, "app", "v1");
        let challenge = format!(r#"Bearer realm="{}/token",service="test""#, target.url());
        let refusal =
            Fault::Answer(401, vec![("www-authenticate".to_owned(), challenge)], String::new());
        let refused = match chunked {
            false => When::first(Method::PUT, Kind::Upload).of(layer.hex()),
            true => When::first(Method::PATCH, Kind::Upload).after(1),
        };
        target.script(refused, refusal);
        let tokens = target.count(&Method::GET, Kind::Token);
        copied(&world, &image).await;
        // One for all that a copy does there, and one in its place.
        assert_eq!(target.count(&Method::GET, Kind::Token), tokens + 2);
        if chunked {
            // The first chunk stays.
            assert_eq!(chunks(&target), [16, 16, 16, 4]);
        } else {
            assert_eq!(target.uploaded_bytes(), 36 * MIB + image.blobs[0].1.size());
        }
    }
}
