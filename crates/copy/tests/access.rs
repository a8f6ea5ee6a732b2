//! Who may, which secret goes where, and what people read when it is refused.
//! Cases 21, 23, 24, 37, 40, 41.

mod common;

use std::sync::Arc;
use std::time::Duration;

use copy::{ErrorKind, Retry, Tracker};
use http::Method;
use protocol::Side;
use registry::{DockerConfig, RegistryConfig};
use testkit::{Certificates, Fault, Image, Kind, ScriptedRegistry, When};

use common::World;

const HOUR: Duration = Duration::from_secs(3600);

fn image() -> Image {
    Image::new(&[b"layer"])
}

#[tokio::test]
async fn basic_over_tls_and_a_private_ca() {
    let certificates = Certificates::new();
    let basic = || ScriptedRegistry::builder().tls(&certificates).basic("u", "p").start();
    let (source, target) = (basic().await, basic().await);
    source.push(&image(), "app", "v1");
    let world = World::of(source.clone(), target.clone())
        .with_credentials(&[(&source, "u:p"), (&target, "u:p")])
        .with_tls(&certificates);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
    // Without the CA there is no trust, and the reason is in the message.
    let untrusting = World::of(source, target);
    let mut config = untrusting.config.clone();
    config.registries.values_mut().for_each(|of| *of = RegistryConfig::default());
    let untrusting = World { config, ..untrusting };
    let error = untrusting.copy("app:v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn one_token_serves_all_requests_of_a_scope() {
    let source = ScriptedRegistry::builder().bearer("u", "p", HOUR).start().await;
    let target = ScriptedRegistry::builder().bearer("u", "p", HOUR).start().await;
    let image = Image::new(&[b"1", b"2", b"3", b"4"]);
    source.push(&image, "app", "v1");
    let world = World::of(source.clone(), target.clone())
        .with_credentials(&[(&source, "u:p"), (&target, "u:p")]);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    assert_eq!(source.count(&Method::GET, Kind::Token), 1);
    // The same to look and to write.
    assert_eq!(target.count(&Method::GET, Kind::Token), 1);
}

/// Quay, GitLab and Docker Hub refuse a look at it else, and each new image is a new repository.
#[tokio::test]
async fn a_repository_that_is_not_there_yet_is_looked_at_with_the_right_to_make_it() {
    let target = ScriptedRegistry::builder().bearer("u", "p", HOUR).hiding_what_is_not_there();
    let target = target.start().await;
    let source = ScriptedRegistry::start().await;
    source.push(&image(), "app", "v1");
    let world = World::of(source, target.clone()).with_credentials(&[(&target, "u:p")]);
    // Who only looks asks for no more than that.
    let estimate = world.copier().estimate(&world.job("app:v1")).await;
    assert_eq!(estimate.unwrap_err().kind(), ErrorKind::Unauthorized);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
    assert!(world.copier().estimate(&world.job("app:v1")).await.is_ok());
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_without_a_secret() {
    let source = ScriptedRegistry::builder().anonymous_bearer(HOUR).start().await;
    source.push(&image(), "app", "v1");
    let world = World::of(source, ScriptedRegistry::start().await);
    world.copy("app:v1").await.unwrap();
    let token = world.source.requests().into_iter().find(|r| r.kind == Kind::Token).unwrap();
    assert_eq!(token.authorization, None);
}

/// Case 37: a token that ends is renewed, also between an upload's POST and its PUT.
#[tokio::test]
async fn tokens_that_end_are_renewed() {
    let short = Duration::from_millis(400);
    let target = ScriptedRegistry::builder().bearer("u", "p", short).start().await;
    let source = ScriptedRegistry::start().await;
    source.push(&image(), "app", "v1");
    source.script(When::each(Method::GET, Kind::Blob), Fault::Delay(short));
    let world = World::of(source, target.clone()).with_credentials(&[(&target, "u:p")]);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
    // It was known beforehand: no blob was sent with a token that had ended.
    assert_eq!(target.count(&Method::PUT, Kind::Upload), image().blobs.len());

    // A registry that forgets its tokens before they end.
    let target = ScriptedRegistry::builder().bearer("u", "p", HOUR).start().await;
    let source = ScriptedRegistry::start().await;
    source.push(&image(), "app", "v1");
    source.script(When::each(Method::GET, Kind::Blob), Fault::Delay(short));
    let world = World::of(source, target.clone()).with_credentials(&[(&target, "u:p")]);
    let forgetful = target.clone();
    let revoker = tokio::spawn(async move {
        while forgetful.count(&Method::POST, Kind::Upload) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        forgetful.revoke_tokens();
    });
    world.copy("app:v1").await.unwrap();
    revoker.await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
}

/// Case 37: the token was fresh when the blob set out, and had ended when the registry looked.
#[tokio::test]
async fn a_token_that_an_upload_outlives_costs_one_more_try() {
    let life = Duration::from_millis(400);
    let target = ScriptedRegistry::builder().bearer("u", "p", life).start().await;
    let source = ScriptedRegistry::start().await;
    source.push(&image(), "app", "v1");
    // The upload is opened with one token, and each PUT sets out with another.
    source.script(When::each(Method::GET, Kind::Blob), Fault::Delay(life));
    let challenge = format!(r#"Bearer realm="{}/token",service="test""#, target.url());
    let refused = vec![("www-authenticate".to_owned(), challenge)];
    let first = When::first(Method::PUT, Kind::Upload);
    target.script(first.clone(), Fault::Delay(life));
    target.script(first, Fault::Answer(401, refused, String::new()));
    let world = World::of(source.clone(), target.clone()).with_credentials(&[(&target, "u:p")]);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
    let sent = image().blobs.len() + 1;
    assert_eq!(target.count(&Method::PUT, Kind::Upload), sent);
    assert_eq!(source.count(&Method::GET, Kind::Blob), sent);
    world.no_upload_is_open().await;
}

#[tokio::test]
async fn a_missing_helper_is_told_with_its_side() {
    for side in [Side::Source, Side::Target] {
        let closed = ScriptedRegistry::builder().basic("u", "p").start().await;
        let open = ScriptedRegistry::start().await;
        let mut world = match side {
            Side::Source => World::of(closed.clone(), open),
            _ => World::of(open, closed.clone()),
        };
        world.source.push(&image(), "app", "v1");
        let config = format!(r#"{{"credHelpers":{{"{}":"not-there"}}}}"#, closed.host());
        world.config.credentials = Arc::new(DockerConfig::parse(&config).unwrap());
        let error = world.copy("app:v1").await.unwrap_err();
        assert_eq!((error.side, error.kind()), (side, ErrorKind::NoCredentials));
        assert_eq!(error.retry(), Retry::Never);
        let text = error.to_string();
        assert!(text.starts_with(&format!("{side} {} was not asked about ", closed.host())));
        assert!(text.contains("docker-credential-not-there"), "{text}");
        assert!(text.contains("is not on PATH: install it"), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_with_its_side() {
    for (side, verb) in
        [(Side::Source, "refuses to hand out app:v1"), (Side::Target, "refuses to take")]
    {
        for bearer in [false, true] {
            let closed = ScriptedRegistry::builder();
            let closed =
                if bearer { closed.bearer("u", "p", HOUR) } else { closed.basic("u", "p") };
            let (closed, open) = (closed.start().await, ScriptedRegistry::start().await);
            let world = match side {
                Side::Source => World::of(closed.clone(), open),
                _ => World::of(open, closed.clone()),
            };
            world.source.push(&image(), "app", "v1");
            let world = world.with_credentials(&[(&closed, "u:hunter2")]);
            let error = world.copy("app:v1").await.unwrap_err();
            assert_eq!((error.side, error.kind()), (side, ErrorKind::Unauthorized));
            assert_eq!((error.status(), error.retry()), (Some(401), Retry::Never));
            let text = error.to_string();
            assert!(text.starts_with(&format!("{side} {} {verb}", closed.host())), "{text}");
            assert!(text.contains("are wrong"), "{text}");
            // Case 24.
            assert!(!format!("{text} {error:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn missing_credentials_are_told_as_such() {
    let closed = ScriptedRegistry::builder().basic("u", "p").start().await;
    let world = World::of(closed, ScriptedRegistry::start().await);
    world.source.push(&image(), "app", "v1");
    let text = world.copy("app:v1").await.unwrap_err().to_string();
    assert!(text.contains("no credentials for"), "{text}");
}

#[tokio::test]
async fn an_unknown_image_is_told_with_its_side() {
    let world = World::new().await;
    let error = world.copy("app:v9").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::NotFound));
    assert!(error.to_string().contains("has no image app:v9"), "{error}");
}

#[tokio::test]
async fn an_unreachable_registry_is_told_with_its_side() {
    let mut world = World::new().await;
    world.source.push(&image(), "app", "v1");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.config.registries.insert(free.to_string().parse().unwrap(), RegistryConfig::default());
    let mut job = world.job("app:v1");
    let root: protocol::TargetRoot = free.to_string().parse().unwrap();
    job.replica = root.replica_of(&job.source).unwrap();
    let error = world.copier().copy(&job, &Tracker::default()).await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Target, ErrorKind::Unreachable));
    assert!(matches!(error.retry(), Retry::Later { .. }));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn case_21_a_secret_goes_to_the_exact_host_alone() {
    let source = ScriptedRegistry::builder().basic("u", "p").start().await;
    source.push(&image(), "app", "v1");
    let mut world = World::of(source.clone(), ScriptedRegistry::start().await);
    let host = source.host();
    let other_port = format!("127.0.0.1:{}", world.target.host().split_once(':').unwrap().1);
    let keys =
        [format!("x{host}"), "127.0.0.1".to_owned(), "127.0.0.1.example".to_owned(), other_port];
    let auths: Vec<_> =
        keys.iter().map(|key| format!(r#""{key}":{{"username":"u","password":"p"}}"#)).collect();
    let config = format!(r#"{{"auths":{{{}}}}}"#, auths.join(","));
    world.config.credentials = Arc::new(DockerConfig::parse(&config).unwrap());
    world.copy("app:v1").await.unwrap_err();
    assert!(source.requests().iter().all(|r| r.authorization.is_none()));
}

/// Who may write to the target is the replicator's matter alone.
#[tokio::test]
async fn case_23_the_push_secret_goes_to_the_target_alone() {
    let source = ScriptedRegistry::builder().bearer("puller", "pull", HOUR).start().await;
    let target = ScriptedRegistry::builder().basic("pusher", "push").start().await;
    source.push(&image(), "app", "v1");
    let world = World::of(source.clone(), target.clone())
        .with_credentials(&[(&source, "puller:pull"), (&target, "pusher:push")]);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image(), "app:v1"));
    let secrets = |of: &ScriptedRegistry| -> std::collections::BTreeSet<String> {
        let kind = |request: testkit::Recorded| {
            let secret = request.authorization?;
            Some(format!("{:?} {secret}", request.kind == Kind::Token))
        };
        of.requests().into_iter().filter_map(kind).collect()
    };
    // base64 of `pusher:push` and of `puller:pull`.
    assert_eq!(Vec::from_iter(secrets(&target)), ["false Basic cHVzaGVyOnB1c2g="]);
    assert_eq!(
        Vec::from_iter(secrets(&source)),
        ["false Bearer token-1", "true Basic cHVsbGVyOnB1bGw="]
    );
}

#[tokio::test]
async fn case_41_no_secret_follows_a_redirect_to_another_host() {
    let source = ScriptedRegistry::builder().basic("u", "p").start().await;
    let store = ScriptedRegistry::start().await;
    let image = image();
    source.push(&image, "app", "v1");
    store.push(&image, "app", "v1");
    for (digest, _) in &image.blobs {
        let location = format!("{}/v2/app/blobs/{digest}?X-Amz-Signature=secret", store.url());
        source.script(When::each(Method::GET, Kind::Blob).of(digest), Fault::redirect(&location));
    }
    let world = World::of(source.clone(), ScriptedRegistry::start().await)
        .with_credentials(&[(&source, "u:p"), (&store, "other:secret")]);
    world.copy("app:v1").await.unwrap();
    assert!(world.replicated(&image, "app:v1"));
    assert_eq!(store.requests().len(), 2);
    assert!(store.requests().iter().all(|r| r.authorization.is_none()));

    // And no signature of such a URL gets into an error.
    store.script(When::each(Method::GET, Kind::Blob), Fault::status(403, "denied"));
    let elsewhere = World::of(source.clone(), ScriptedRegistry::start().await)
        .with_credentials(&[(&source, "u:p")]);
    let error = elsewhere.copy("app:v1").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn case_40_redirects_end_and_never_reach_metadata() {
    let world = World::new().await;
    world.source.push(&image(), "app", "v1");
    world
        .source
        .script(When::each(Method::HEAD, Kind::Manifest), Fault::redirect("/v2/app/manifests/v1"));
    let error = world.copy("app:v1").await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");

    let world = World::new().await;
    world.source.push(&image(), "app", "v1");
    world.source.script(
        When::each(Method::GET, Kind::Blob),
        Fault::redirect("http://169.254.169.254/latest/meta-data"),
    );
    let error = world.copy("app:v1").await.unwrap_err();
    assert_eq!((error.side, error.kind()), (Side::Source, ErrorKind::Denied), "{error}");
    assert!(error.to_string().contains("link-local"), "{error}");
}
