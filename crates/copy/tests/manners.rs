//! Manners towards registries: overload, pace, quota, circuit, fairness. Cases 34, 36.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use copy::{Copier, CopyError, ErrorKind, Outcome, Retry, Tracker};
use http::Method;
use protocol::{ImageReference, Side};
use registry::{
    CircuitPolicy, CircuitState, Client, Ending, Error, ManifestRef, RegistryConfig, RegistryStatus,
};
use testkit::{Content, Fault, Image, Kind, ScriptedRegistry, When, media};
use tokio::task::JoinHandle;

use common::World;

const FOR_EVER: Duration = Duration::from_secs(3600);

/// Longer than any test takes, so that what hangs fails.
const HANGS: Duration = Duration::from_secs(20);

async fn world() -> World {
    let world = World::new().await;
    world.source.push(&Image::new(&[b"layer"]), "app", "v1");
    world
}

/// The same where each request is tried once, and a dead registry is dead for good.
async fn strict_world() -> World {
    let mut world = world().await;
    world.config.retry.attempts = 1;
    world.config.circuit = CircuitPolicy { failures: 3, min_open: FOR_EVER, max_open: FOR_EVER };
    world
}

fn client(world: &World) -> Client {
    Client::new(world.config.clone()).unwrap()
}

fn busy(headers: &[(&str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Fault::Answer(429, headers.collect(), "You have reached your pull rate limit.".to_owned())
}

async fn look_up(client: &Client, image: &ImageReference) -> Result<(), Error> {
    let tag = ManifestRef::Tag(image.tag().unwrap().clone());
    client.head_manifest(image.registry(), image.repository(), &tag).await.map(drop)
}

fn status(client: &Client, registry: &ScriptedRegistry) -> RegistryStatus {
    let all = client.registries();
    all.into_iter().find(|status| status.registry.as_str() == registry.host()).unwrap()
}

fn spawn(
    copier: &Copier,
    world: &World,
    image: ImageReference,
) -> JoinHandle<Result<Outcome, CopyError>> {
    let (copier, job) = (copier.clone(), world.job_for(image));
    tokio::spawn(async move { copier.copy(&job, &Tracker::default()).await })
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(HANGS, waiting).await.unwrap();
}

/// An image of several layers, its own.
fn layered(name: &str, layers: usize) -> Image {
    let layer = |n| Content::from(format!("{name} {n}").as_bytes());
    Image::of(media::MANIFEST, media::LAYER, (0..layers).map(layer).collect())
}

#[tokio::test]
async fn overload_halves_what_a_registry_gets_and_successes_give_it_back() {
    let world = strict_world().await;
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    world.source.script(When::first(Method::HEAD, Kind::Manifest).times(3), busy(&[]));
    let unavailable = Fault::status(503, "");
    world.source.script(When::first(Method::HEAD, Kind::Manifest).after(3).times(2), unavailable);
    for allowed in [8, 4, 2, 1, 1] {
        assert!(look_up(&client, &image).await.is_err());
        assert_eq!(status(&client, &world.source).allowed, allowed);
    }
    for allowed in [2, 3] {
        for _ in 0..10 {
            look_up(&client, &image).await.unwrap();
        }
        assert_eq!(status(&client, &world.source).allowed, allowed);
    }
    assert_eq!(status(&client, &world.source).in_flight, 0);
}

#[tokio::test]
async fn an_overloaded_registry_gets_one_read_at_a_time() {
    let mut world = strict_world().await;
    world.config.permits = 2;
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    world.source.script(When::first(Method::HEAD, Kind::Manifest), busy(&[]));
    look_up(&client, &image).await.unwrap_err();
    world.source.forget_requests();
    world.source.script(When::first(Method::HEAD, Kind::Manifest), Fault::Silence);
    let first = tokio::spawn({
        let (client, image) = (client.clone(), image.clone());
        async move { look_up(&client, &image).await }
    });
    until(|| world.source.requests().len() == 1).await;
    let mut second = Box::pin(look_up(&client, &image));
    assert!(futures::poll!(second.as_mut()).is_pending());
    assert_eq!(status(&client, &world.source).in_flight, 1);
    // Given back also by one that was dropped.
    first.abort();
    second.await.unwrap();
    assert_eq!(world.source.requests().len(), 2);
}

/// Case 34: no `Retry-After`, plain text; what is sent again has its body.
#[tokio::test]
async fn a_busy_target_gets_each_body_again_and_whole() {
    let world = world().await;
    let image = Image::new(&[b"layer"]);
    for kind in [Kind::Upload, Kind::Manifest] {
        world.target.script(When::first(Method::PUT, kind), busy(&[]));
    }
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    // Two blobs and a manifest, and one of each kind once more.
    assert_eq!(world.target.count(&Method::PUT, Kind::Upload), 3);
    assert_eq!(world.target.count(&Method::PUT, Kind::Manifest), 2);
}

#[tokio::test]
async fn a_date_in_retry_after_closes_the_lane_for_everybody() {
    let world = strict_world().await;
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    let refused = busy(&[("retry-after", &date)]);
    world.source.script(When::first(Method::HEAD, Kind::Manifest), refused);
    look_up(&client, &image).await.unwrap_err();
    let error = look_up(&client, &world.source.reference("other:v1")).await.unwrap_err();
    let Retry::Later { after } = error.retry() else { panic!("{error}") };
    assert!((500..=600).contains(&after.as_secs()), "{after:?}");
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(world.source.requests().len(), 1);
    assert!(status(&client, &world.source).paused_for.is_some());
    // No other registry is meant.
    look_up(&client, &world.target.reference("app:v1")).await.unwrap();
}

#[tokio::test]
async fn no_more_requests_a_second_go_out_than_are_set() {
    let mut world = strict_world().await;
    let host = world.source.host().parse().unwrap();
    let config = world.config.registries.get_mut(&host).unwrap();
    config.requests_per_second = NonZeroU32::new(1);
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    look_up(&client, &image).await.unwrap();
    let mut second = Box::pin(look_up(&client, &image));
    assert!(futures::poll!(second.as_mut()).is_pending());
    // Requests to others do not wait; by then the second would have come, too.
    for _ in 0..5 {
        look_up(&client, &world.target.reference("app:v1")).await.unwrap();
    }
    assert_eq!(world.source.requests().len(), 1);
    second.await.unwrap();
    assert_eq!(world.source.requests().len(), 2);
}

#[tokio::test]
async fn the_rate_limit_is_remembered_and_nonsense_is_not() {
    let world = strict_world().await;
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    look_up(&client, &image).await.unwrap();
    assert_eq!(status(&client, &world.source).quota, None);
    for (name, value) in [
        ("ratelimit-limit", "100;w=21600"),
        ("ratelimit-remaining", "76;w=21600"),
        ("docker-ratelimit-source", "192.0.2.7"),
    ] {
        let first = When::first(Method::HEAD, Kind::Manifest);
        world.source.script(first, Fault::With(name, value.to_owned()));
    }
    let nonsense = Fault::With("ratelimit-remaining", "lots".to_owned());
    world.source.script(When::each(Method::HEAD, Kind::Manifest).after(1), nonsense);
    for _ in 0..2 {
        look_up(&client, &image).await.unwrap();
        let quota = status(&client, &world.source).quota.unwrap();
        assert_eq!((quota.remaining, quota.limit), (76, Some(100)));
        assert_eq!(quota.window, Some(Duration::from_secs(21_600)));
        assert_eq!(quota.source.as_deref(), Some("192.0.2.7"));
    }
}

/// What a store behind a redirect says is not about the registry.
#[tokio::test]
async fn the_rate_limit_of_another_host_is_not_the_registrys() {
    let world = strict_world().await;
    let (client, image) = (client(&world), world.source.reference("app:v1"));
    let elsewhere = format!("{}/v2/app/manifests/v1", world.target.url());
    world.source.script(When::first(Method::HEAD, Kind::Manifest), Fault::redirect(&elsewhere));
    let remaining = Fault::With("ratelimit-remaining", "1".to_owned());
    world.target.script(When::first(Method::HEAD, Kind::Manifest), remaining);
    look_up(&client, &image).await.unwrap();
    assert_eq!(world.target.requests().len(), 1);
    assert_eq!(status(&client, &world.source).quota, None);
}

#[tokio::test]
async fn a_dead_registry_is_left_alone_and_errors_say_so() {
    let world = strict_world().await;
    world.source.script(When::first(Method::HEAD, Kind::Manifest), Fault::Drop);
    world.source.script(When::each(Method::HEAD, Kind::Manifest).after(1), Fault::status(502, ""));
    let copier = world.copier();
    let job = world.job("app:v1");
    for _ in 0..3 {
        let error = copier.copy(&job, &Tracker::default()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Later { after: Duration::ZERO }, "{error}");
    }
    for _ in 0..3 {
        let error = copier.copy(&job, &Tracker::default()).await.unwrap_err();
        assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Unreachable));
        let Retry::Later { after } = error.retry() else { panic!("{error}") };
        assert!(after > FOR_EVER / 3 && after <= FOR_EVER, "{after:?}");
        let expected = format!(
            "source {host} cannot be reached: could not look up the manifest: {host} did not \
             answer 3 times in a row (last: 502 Bad Gateway); it is asked again in ",
            host = world.source.host()
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    assert_eq!(world.source.requests().len(), 3);
}

#[tokio::test]
async fn a_request_is_not_tried_again_when_its_registry_has_died_meanwhile() {
    let mut world = strict_world().await;
    world.config.retry.attempts = 9;
    world.source.script(When::each(Method::HEAD, Kind::Manifest), Fault::Drop);
    let client = client(&world);
    look_up(&client, &world.source.reference("app:v1")).await.unwrap_err();
    assert_eq!(world.source.requests().len(), 3);
    assert_eq!(status(&client, &world.source).circuit, CircuitState::Open);
}

#[tokio::test]
async fn one_probe_finds_out_whether_a_registry_is_back() {
    let mut world = strict_world().await;
    world.config.circuit.min_open = Duration::ZERO;
    let (client, image) = (client(&world), world.source.reference("gone:v1"));
    world.source.script(When::first(Method::HEAD, Kind::Manifest).times(4), Fault::Drop);
    for _ in 0..4 {
        look_up(&client, &image).await.unwrap_err();
        assert_ne!(status(&client, &world.source).circuit, CircuitState::HalfOpen);
    }
    assert_eq!(status(&client, &world.source).circuit, CircuitState::Open);
    let (probe, other) = tokio::join!(look_up(&client, &image), look_up(&client, &image));
    // It has no such image, which is an answer.
    probe.unwrap();
    let other = other.unwrap_err().to_string();
    assert!(other.contains("one request finds out whether it is back"), "{other}");
    assert_eq!(world.source.requests().len(), 5);
    assert_eq!(status(&client, &world.source).circuit, CircuitState::Closed);
}

/// A copy looks up two tags of the target together; one of them is the probe.
#[tokio::test]
async fn a_copy_that_asks_twice_at_once_finds_out_that_a_registry_is_back() {
    let mut world = strict_world().await;
    let min_open = Duration::from_millis(200);
    world.config.circuit = CircuitPolicy { failures: 1, min_open, max_open: min_open };
    let copier = world.copier();
    let digest = Image::new(&[b"layer"]).digest;
    let job = world.job(&format!("app:v1@{digest}"));
    world.target.script(When::first(Method::HEAD, Kind::Manifest), Fault::status(502, ""));
    copier.copy(&job, &Tracker::default()).await.unwrap_err();
    assert_eq!(status(copier.client(), &world.target).circuit, CircuitState::Open);
    // A late answer, so that the second comes while the first is on its way.
    let slow = Fault::Delay(Duration::from_millis(50));
    world.target.script(When::first(Method::HEAD, Kind::Manifest), slow);
    tokio::time::sleep(min_open).await;
    copier.copy(&job, &Tracker::default()).await.unwrap();
    assert_eq!(status(copier.client(), &world.target).circuit, CircuitState::Closed);
}

/// Neither a cut body nor our own broken upload is a registry that does not answer.
#[tokio::test]
async fn broken_bodies_do_not_count_as_death() {
    let mut world = world().await;
    world.config.circuit = CircuitPolicy { failures: 1, min_open: FOR_EVER, max_open: FOR_EVER };
    let cut = Image::of(media::MANIFEST, media::LAYER, vec![Content::Made(3_000_000)]);
    world.source.push(&cut, "cut", "v1");
    let layer = &cut.blobs[1].0;
    world.source.script(When::first(Method::GET, Kind::Blob).of(layer), Fault::Cut(1_000_000));
    let wrong = layered("wrong", 1);
    world.source.push(&wrong, "wrong", "v1");
    let layer = &wrong.blobs[1].0;
    world.source.script(When::each(Method::GET, Kind::Blob).of(layer), Fault::Corrupt(2));
    let client = client(&world);
    let copier = Copier::new(client.clone(), world.limits);
    copier.copy(&world.job("cut:v1"), &Tracker::default()).await.unwrap();
    let error = copier.copy(&world.job("wrong:v1"), &Tracker::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    for registry in [&world.source, &world.target] {
        assert_eq!(status(&client, registry).circuit, CircuitState::Closed);
    }
}

/// A stuck source holds neither the whole target nor the copies from elsewhere.
#[tokio::test]
async fn a_copy_from_a_fast_registry_ends_while_another_is_stuck() {
    let mut world = world().await;
    world.config.timeouts.idle = FOR_EVER;
    world.config.permits = 4;
    let stuck = ScriptedRegistry::start().await;
    let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
    world.config.registries.insert(stuck.host().parse().unwrap(), plain);
    stuck.script(When::each(Method::GET, Kind::Blob), Fault::Stall(1));
    let copier = world.copier();
    let stuck_copies: Vec<_> = ["a", "b"]
        .map(|name| {
            stuck.push(&layered(name, 6), name, "v1");
            spawn(&copier, &world, stuck.reference(&format!("{name}:v1")))
        })
        .into();
    // Of the four writes that the target takes at once they get three.
    until(|| stuck.count(&Method::GET, Kind::Blob) == 3).await;
    world.source.push(&layered("fast", 8), "fast", "v1");
    let fast = spawn(&copier, &world, world.source.reference("fast:v1"));
    tokio::time::timeout(HANGS, fast).await.unwrap().unwrap().unwrap();
    assert_eq!(stuck.count(&Method::GET, Kind::Blob), 3);
    for copy in stuck_copies {
        assert!(!copy.is_finished());
        copy.abort();
    }
}

#[tokio::test]
async fn two_copies_from_one_registry_share_it() {
    let mut world = world().await;
    world.config.timeouts.idle = FOR_EVER;
    let greedy = layered("greedy", 12);
    for (layer, _) in &greedy.blobs {
        world.source.script(When::each(Method::GET, Kind::Blob).of(layer), Fault::Stall(1));
    }
    world.source.push(&greedy, "greedy", "v1");
    let copier = world.copier();
    let greedy = spawn(&copier, &world, world.source.reference("greedy:v1"));
    until(|| world.source.count(&Method::GET, Kind::Blob) == world.limits.blobs_at_once).await;
    world.source.push(&layered("modest", 3), "modest", "v1");
    let modest = spawn(&copier, &world, world.source.reference("modest:v1"));
    tokio::time::timeout(HANGS, modest).await.unwrap().unwrap().unwrap();
    assert!(!greedy.is_finished());
    greedy.abort();
}

/// A copy by the figures of both registries: each byte once in each direction, and a request that
/// was tried again is seen.
#[tokio::test]
async fn what_goes_to_and_comes_from_a_registry_is_counted() {
    let world = World::new().await.without_referrers();
    let image = Image::new(&[&[7; 300_000]]);
    world.source.push(&image, "app", "v1");
    world.source.script(When::first(Method::GET, Kind::Manifest), Fault::status(503, "busy"));
    let copier = world.copier();
    copier.copy(&world.job("app:v1"), &Tracker::default()).await.unwrap();

    let blobs: u64 = image.blobs.iter().map(|(_, blob)| blob.size()).sum();
    let whole = blobs + image.manifest.len() as u64;
    let source = status(copier.client(), &world.source).traffic;
    let target = status(copier.client(), &world.target).traffic;
    // The answer that was a failure has a body, too.
    assert_eq!((source.read_bytes, source.written_bytes), (whole + "busy".len() as u64, 0));
    assert_eq!(target.written_bytes, whole);
    assert_eq!((source.retries, target.retries), (1, 0));
    assert_eq!((source.requests(Ending::Failure), target.requests(Ending::Failure)), (1, 0));
    assert!(source.requests(Ending::Success) >= 3 && target.requests(Ending::Success) >= 3);
}
