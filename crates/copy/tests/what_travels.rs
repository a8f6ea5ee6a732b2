//! What of an image arrives: chosen platforms, foreign layers by rule, embedded data, and every
//! kind of content. Cases 26, 27, 29, 39, 40.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use copy::{ErrorKind, ForeignLayers, Retry, Tracker};
use http::Method;
use protocol::Side;
use registry::RegistryConfig;
use testkit::{Certificates, Fault, Image, Kind, ScriptedRegistry, When, media};

use common::World;

/// Two platforms, and an attestation of each as BuildKit puts it into the index.
fn attested() -> Image {
    let (amd64, arm64) = (Image::new(&[b"amd64"]), Image::new(&[b"arm64"]));
    let about = |image: &Image| image.digest.to_string();
    let (of_amd64, of_arm64) = (about(&amd64), about(&arm64));
    Image::index(&[
        ("linux/amd64", amd64),
        ("linux/arm64", arm64),
        ("unknown/unknown", Image::new(&[b"about amd64"])),
        ("unknown/unknown", Image::new(&[b"about arm64"])),
    ])
    .edited(|index| {
        index["manifests"][1]["platform"]["variant"] = "v8".into();
        for (at, digest) in [(2, of_amd64), (3, of_arm64)] {
            index["manifests"][at]["annotations"]["vnd.docker.reference.digest"] = digest.into();
        }
    })
}

async fn sparse_world(platforms: &[&str]) -> World {
    let target = ScriptedRegistry::builder().accept_sparse().start().await;
    let mut world = World::of(ScriptedRegistry::start().await, target);
    world.scope.platforms = platforms.iter().map(|one| one.parse().unwrap()).collect();
    world
}

/// Case 26: chosen children, the index's own bytes.
#[tokio::test]
async fn a_platform_travels_with_its_attestation_under_the_same_index() {
    let world = sparse_world(&["linux/arm64"]).await;
    let image = attested();
    world.source.push(&image, "app", "v1");
    let outcome = world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    assert_eq!(outcome.digest, image.digest);
    let platforms = outcome.contents.unwrap().platforms;
    assert_eq!(platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/arm64"]);
    assert_eq!(world.target.manifest(&replica, "v1"), Some(image.manifest.clone()));
    let arrived = [0, 1, 2, 3].map(|at: usize| world.target.holds(&image.children[at], &replica));
    assert_eq!(arrived, [false, true, false, true]);
    assert_eq!(world.target.blob_count(&replica), 4);
    // Nothing was read in vain, either.
    let read = world.source.count(&Method::GET, Kind::Manifest);
    assert_eq!((read, world.source.count(&Method::GET, Kind::Blob)), (3, 4));
}

#[tokio::test]
async fn a_platform_is_found_in_a_nested_index() {
    let world = sparse_world(&["linux/arm64"]).await;
    let (arm64, amd64) = (Image::new(&[b"arm64"]), Image::new(&[b"amd64"]));
    let inner = Image::index(&[("linux/arm64", arm64.clone()), ("linux/amd64", amd64.clone())]);
    let image = Image::index(&[("unknown/unknown", inner)]);
    world.source.push(&image, "app", "v1");
    world.copy("app:v1").await.unwrap();
    let replica = world.replica("app:v1");
    assert!(world.target.holds(&arm64, &replica) && !world.target.holds(&amd64, &replica));
}

#[tokio::test]
async fn a_target_that_wants_every_platform_is_named_with_what_to_do() {
    let refusals =
        [(404, "MANIFEST_BLOB_UNKNOWN"), (400, "MANIFEST_BLOB_UNKNOWN"), (404, "MANIFEST_UNKNOWN")];
    for (status, code) in refusals {
        let mut world = World::new().await;
        world.scope.platforms = vec!["linux/arm64".parse().unwrap()];
        let image = attested();
        world.source.push(&image, "app", "v1");
        let refusal = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        let put_root = When::each(Method::PUT, Kind::Manifest).of("/manifests/v1");
        world.target.script(put_root, Fault::status(status, &refusal));
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Unsupported));
        assert_eq!((error.retry(), error.part()), (Retry::Never, Some(&image.digest)));
        let words = format!("it wants every platform of an index ({status} {code})");
        assert!(error.to_string().contains(&words), "{error}");
        assert!(error.to_string().contains("only linux/arm64"), "{error}");
        assert!(world.target.tags(&world.replica("app:v1")).is_empty());
    }
}

/// Case 27.
#[tokio::test]
async fn absent_platforms_are_an_error_only_when_all_are() {
    let world = sparse_world(&["linux/arm64", "linux/s390x"]).await;
    world.source.push(&attested(), "app", "v1");
    world.copy("app:v1").await.unwrap();

    let world = sparse_world(&["linux/s390x", "windows/amd64:10.0.17763"]).await;
    world.source.push(&attested(), "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Unsupported));
    let words = "it is not there for linux/s390x, windows/amd64:10.0.17763, \
                 only for linux/amd64, linux/arm64";
    assert!(error.to_string().contains(words), "{error}");
    assert!(world.target.requests().iter().all(|request| request.method != Method::PUT));
}

#[tokio::test]
async fn without_platforms_to_choose_from_the_list_is_no_matter() {
    let mut world = World::new().await;
    world.scope.platforms = vec!["linux/s390x".parse().unwrap()];
    let image = Image::new(&[b"one"]);
    let unstated = Image::index(&[("unknown/unknown", Image::new(&[b"two"]))]);
    for (name, image) in [("one", &image), ("two", &unstated)] {
        world.source.push(image, name, "v1");
        let reference = format!("{name}:v1");
        world.copy(&reference).await.unwrap();
        assert!(world.replicated(image, &reference), "{name}");
    }
}

#[tokio::test]
async fn every_kind_of_content_travels() {
    let artifact = Image::artifact((media::EMPTY, b"{}"), "text/plain", &[b"words"]);
    let helm = Image::artifact(
        ("application/vnd.cncf.helm.config.v1+json", br#"{"name":"chart"}"#),
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        &[b"chart"],
    );
    let wasm = Image::artifact(
        ("application/vnd.wasm.config.v0+json", br#"{"os":"wasip1"}"#),
        "application/wasm",
        &[b"\0asm"],
    );
    let future = Image::artifact(("application/vnd.next.v9", b"?"), "next/layer.v9+br", &[b"!"]);
    let nested = Image::index(&[
        ("linux/amd64", Image::index(&[("linux/amd64", Image::new(&[b"deep"]))])),
        ("unknown/unknown", artifact.clone()),
    ]);
    let docker = Image::docker(&[b"schema 2"]);
    let kinds = [
        ("layerless", Image::new(&[])),
        ("empty-blob", Image::new(&[b""])),
        ("empty-index", Image::index(&[])),
        ("nested", nested),
        ("artifact", artifact.edited(|manifest| manifest["artifactType"] = "text/plain".into())),
        ("helm", helm),
        ("wasm", wasm),
        ("future", future),
        ("docker-list", Image::index_of(media::DOCKER_LIST, &[("linux/amd64", docker.clone())])),
        ("docker", docker),
        ("unknown-fields", Image::new(&[b"x"]).edited(|manifest| manifest["of-2031"] = 1.into())),
        ("of-a-subject", Image::referrer(&Image::new(&[]), "text/spdx", b"sbom")),
    ];
    let world = World::new().await;
    for (name, image) in kinds {
        world.source.push(&image, name, "v1");
        let reference = format!("{name}:v1");
        let outcome = world.copy(&reference).await.unwrap();
        assert_eq!(outcome.digest, image.digest, "{name}");
        assert!(world.replicated(&image, &reference), "{name}");
    }
}

#[tokio::test]
async fn data_in_a_descriptor_is_sent_without_a_read() {
    let world = World::new().await;
    let image =
        Image::artifact((media::EMPTY, b"{}"), "text/plain", &[b"abc"]).edited(|manifest| {
            manifest["config"]["data"] = "e30=".into();
            manifest["layers"][0]["data"] = "YWJj".into();
        });
    world.source.push(&image, "app", "v1");
    let tracker = Tracker::default();
    let outcome = world.copier().copy(&world.job("app:v1"), &tracker).await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    assert_eq!((outcome.blobs_moved, outcome.bytes_moved), (2, 5));
    assert_eq!(tracker.progress().bytes_done, 5);
    assert_eq!(world.source.count(&Method::GET, Kind::Blob), 0);
}

#[tokio::test]
async fn data_that_is_not_what_its_digest_says_is_an_error() {
    let world = World::new().await;
    let image = Image::new(&[b"abc"]).edited(|m| m["layers"][0]["data"] = "YWJk".into());
    world.source.push(&image, "app", "v1");
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Malformed));
    assert!(error.to_string().contains(&image.blobs[1].0.to_string()), "{error}");
    assert_eq!(world.target.blob_count(&world.replica("app:v1")), 0);
}

/// An image with a foreign layer, whose bytes the source has or not, at these URLs.
fn windows(world: &World, urls: &[String], at_source: bool) -> Image {
    let layer = b"windows".as_slice();
    let image = Image::of(media::DOCKER_MANIFEST, media::FOREIGN_LAYER, vec![layer.into()])
        .edited(|manifest| manifest["layers"][0]["urls"] = urls.into());
    world.source.push(&image, "app", "v1");
    if !at_source {
        world.source.lose_blob("app", &image.blobs[1].0);
    }
    image
}

/// Case 29.
#[tokio::test]
async fn a_foreign_layer_is_skipped_where_the_target_lets_it() {
    let mut world = sparse_world(&[]).await;
    world.scope.foreign_layers = ForeignLayers::Skip;
    let image = windows(&world, &["https://owner.example/layer".to_owned()], true);
    let outcome = world.copy("app:v1").await.unwrap();
    assert_eq!(outcome.blobs_moved, 1);
    let replica = world.replica("app:v1");
    assert_eq!(world.target.manifest(&replica, "v1"), Some(image.manifest.clone()));
    assert_eq!(world.target.blob(&replica, &image.blobs[1].0).map(|blob| blob.size()), None);

    let mut strict = World::new().await;
    strict.scope.foreign_layers = ForeignLayers::Skip;
    windows(&strict, &["https://owner.example/layer".to_owned()], true);
    let error = strict.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Unsupported));
    assert!(error.to_string().contains("it wants the foreign layers"), "{error}");
}

/// A world that fetches foreign layers, and the TLS host of their owner, known to the
/// configuration with credentials.
async fn fetching_world() -> (World, ScriptedRegistry) {
    let certificates = Certificates::new();
    let owner = ScriptedRegistry::builder().tls(&certificates).start().await;
    let mut world = World::new().await.with_credentials(&[(&owner, "user:secret")]);
    let ca_pem = Some(certificates.ca_pem.clone().into_bytes());
    let known = RegistryConfig { ca_pem, ..RegistryConfig::default() };
    world.config.registries.insert(owner.host().parse().unwrap(), known);
    world.scope.foreign_layers = ForeignLayers::Fetch;
    (world, owner)
}

fn url_at(owner: &ScriptedRegistry, image: &Image) -> String {
    format!("{}/v2/layers/blobs/{}", owner.url(), image.blobs[1].0)
}

#[tokio::test]
async fn a_foreign_layer_is_fetched_from_the_source_and_else_from_its_owner() {
    for at_source in [true, false] {
        let (world, owner) = fetching_world().await;
        let image = windows(&world, &[], true);
        owner.push_blob("layers", image.blobs[1].1.clone());
        let nowhere = format!("{}/v2/layers/blobs/none", owner.url());
        let image = windows(&world, &[nowhere, url_at(&owner, &image)], at_source);
        world.copy("app:v1").await.unwrap();
        assert!(world.replicated(&image, "app:v1"));
        assert_eq!(owner.requests().len(), if at_source { 0 } else { 2 });
        assert!(owner.requests().iter().all(|request| request.authorization.is_none()));
    }
}

#[tokio::test]
async fn an_owner_who_wants_credentials_or_sends_wrong_bytes_gets_nothing() {
    let refused = Fault::Answer(
        401,
        vec![("www-authenticate".to_owned(), "Basic realm=\"x\"".to_owned())],
        String::new(),
    );
    for (fault, kind) in [
        (refused, ErrorKind::Unauthorized),
        (Fault::Corrupt(3), ErrorKind::DigestMismatch),
        (Fault::ShortLength(3), ErrorKind::DigestMismatch),
        (Fault::redirect("https://169.254.169.254/latest"), ErrorKind::Denied),
        (Fault::redirect("http://127.0.0.1:1/"), ErrorKind::Denied),
    ] {
        let (world, owner) = fetching_world().await;
        let image = windows(&world, &[], true);
        owner.push_blob("layers", image.blobs[1].1.clone());
        let image = windows(&world, &[url_at(&owner, &image)], false);
        owner.script(When::each(Method::GET, Kind::Blob), fault.clone());
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, kind), "{fault:?}: {error}");
        assert!(error.to_string().contains(&image.blobs[1].0.to_string()), "{error}");
        assert!(owner.requests().iter().all(|request| request.authorization.is_none()));
        assert!(world.target.tags(&world.replica("app:v1")).is_empty());
    }
}

/// An image names hosts that nobody vouches for.
#[tokio::test]
async fn case_40_an_image_cannot_send_us_where_it_likes() {
    let inside = ScriptedRegistry::start().await;
    let port = inside.host().split_once(':').unwrap().1.to_owned();
    for url in [
        format!("http://owner.example:{port}/layer"),
        format!("https://127.0.0.1:{port}/layer"),
        format!("https://localhost:{port}/layer"),
        format!("https://[::ffff:127.0.0.1]:{port}/layer"),
        "https://169.254.169.254/layer".to_owned(),
        format!("https://user:secret@localhost:{port}/layer"),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
    ] {
        let mut world = World::new().await;
        world.scope.foreign_layers = ForeignLayers::Fetch;
        windows(&world, std::slice::from_ref(&url), false);
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!(error.side, Side::Source);
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(world.target.tags(&world.replica("app:v1")).is_empty(), "{url}");
    }
    assert!(inside.requests().is_empty());
}
