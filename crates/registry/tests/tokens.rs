//! Tokens and identity tokens on the wire: how many are fetched, and with what.
//! Cases 24, 37, 38.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::Method;
use protocol::{Registry, Repository};
use registry::{
    Anonymous, Client, ClientConfig, Descriptor, DockerConfig, Error, ErrorKind, ManifestRef,
    Operation, RegistryConfig, Retry, RetryPolicy,
};
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};

const HOUR: Duration = Duration::from_secs(3600);

/// This entry for the registry.
fn auths(registry: &ScriptedRegistry, entry: &str) -> Arc<DockerConfig> {
    let config = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.host());
    Arc::new(DockerConfig::parse(&config).unwrap())
}

/// A client that knows one registry, with this under `auths`.
struct World {
    registry: ScriptedRegistry,
    client: Client,
}

impl World {
    fn new(registry: ScriptedRegistry, entry: &str) -> Self {
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        let client = Client::new(ClientConfig {
            registries: [(registry.host().parse().unwrap(), plain)].into(),
            credentials: auths(&registry, entry),
            retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
            permits: 64,
            ..ClientConfig::default()
        })
        .unwrap();
        registry.push(&Image::new(&[b"layer"]), "app", "v1");
        Self { registry, client }
    }

    async fn look(&self) -> Result<Option<Descriptor>, Error> {
        self.look_as(&self.client).await
    }

    async fn look_as(&self, client: &Client) -> Result<Option<Descriptor>, Error> {
        let registry: Registry = self.registry.host().parse().unwrap();
        let repository: Repository = "app".parse().unwrap();
        let tag = ManifestRef::Tag("v1".parse().unwrap());
        client.head_manifest(&registry, &repository, &tag).await
    }

    /// So many requests at once.
    async fn look_all(&self, count: usize) -> Vec<Result<Option<Descriptor>, Error>> {
        join_all((0..count).map(|_| self.look())).await
    }

    /// Tokens that came, and that did not, as the client counts.
    fn counted(&self) -> (u64, u64) {
        let traffic = self.client.registries()[0].traffic;
        (traffic.tokens_fetched, traffic.tokens_failed)
    }

    fn tokens(&self) -> usize {
        self.registry.count(&Method::GET, Kind::Token)
            + self.registry.count(&Method::POST, Kind::Token)
    }
}

const USER: &str = r#"{"username":"u","password":"hunter2"}"#;

#[tokio::test]
async fn fifty_who_wait_fetch_one_token() {
    let registry = ScriptedRegistry::builder().bearer("u", "hunter2", HOUR).start().await;
    let world = World::new(registry, USER);
    let slow = Fault::Delay(Duration::from_millis(100));
    world.registry.script(When::each(Method::GET, Kind::Token), slow);
    assert!(world.look_all(50).await.iter().all(|found| matches!(found, Ok(Some(_)))));
    assert_eq!(world.tokens(), 1);

    // All tokens end at once: again one is fetched, whoever notices first.
    world.registry.revoke_tokens();
    assert!(world.look_all(50).await.iter().all(|found| matches!(found, Ok(Some(_)))));
    assert_eq!((world.tokens(), world.counted()), (2, (2, 0)));
}

#[tokio::test]
async fn fifty_who_wait_share_one_failure() {
    let registry = ScriptedRegistry::builder().bearer("u", "hunter2", HOUR).start().await;
    let world = World::new(registry, USER);
    let endpoint = When::first(Method::GET, Kind::Token);
    world.registry.script(endpoint.clone(), Fault::Delay(Duration::from_millis(100)));
    world.registry.script(endpoint, Fault::status(503, "busy"));
    let all = world.look_all(50).await;
    for error in all.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.operation(), error.kind()), (Operation::FetchToken, ErrorKind::Server));
        assert!(matches!(error.retry(), Retry::Later { .. }));
    }
    assert_eq!((world.tokens(), world.counted()), (1, (0, 1)));
    assert!(world.look().await.is_ok());
}

#[tokio::test]
async fn a_token_serves_until_shortly_before_its_own_end() {
    let life = Duration::from_secs(1);
    let registry = ScriptedRegistry::builder().bearer("u", "hunter2", life).start().await;
    let world = World::new(registry, USER);
    world.look().await.unwrap();
    world.look().await.unwrap();
    assert_eq!(world.tokens(), 1);
    tokio::time::sleep(life).await;
    world.registry.forget_requests();
    world.look().await.unwrap();
    assert_eq!(world.tokens(), 1);
    // It was known to have ended: nothing was asked with it.
    assert_eq!(world.registry.count(&Method::HEAD, Kind::Manifest), 1);
}

/// A 401 with a token that was fetched for this very request means what it says.
#[tokio::test]
async fn a_fresh_token_that_is_refused_is_not_fetched_for_ever() {
    let registry = ScriptedRegistry::builder().bearer("u", "hunter2", HOUR).start().await;
    let world = World::new(registry, USER);
    let challenge = format!(r#"Bearer realm="{}/token",service="test""#, world.registry.url());
    let refused = vec![("www-authenticate".to_owned(), challenge)];
    let each = When::each(Method::HEAD, Kind::Manifest);
    world.registry.script(each, Fault::Answer(401, refused, String::new()));
    for requests in 1..=3 {
        let error = world.look().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthorized, Retry::Never));
        assert_eq!(world.tokens(), requests);
    }
}

#[tokio::test]
async fn an_identity_token_is_changed_for_tokens() {
    let registry = ScriptedRegistry::builder().identity("canary", HOUR).start().await;
    let world = World::new(registry, r#"{"identitytoken":"canary"}"#);
    assert!(world.look_all(50).await.iter().all(|found| matches!(found, Ok(Some(_)))));
    assert_eq!(world.registry.count(&Method::POST, Kind::Token), 1);
    // The endpoint offered another refresh token; ours is used again.
    world.registry.revoke_tokens();
    world.look().await.unwrap();
    assert_eq!(world.registry.count(&Method::POST, Kind::Token), 2);
    assert_eq!(world.tokens(), 2);
    // It stands in no URL and no header.
    let requests = world.registry.requests();
    assert!(!format!("{requests:?}").contains("canary"));
}

#[tokio::test]
async fn a_wrong_identity_token_is_told_as_such() {
    let registry = ScriptedRegistry::builder().identity("right", HOUR).start().await;
    let world = World::new(registry, r#"{"identitytoken":"canary"}"#);
    let error = world.look().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthorized, Retry::Never));
    assert_eq!((error.operation(), error.is_anonymous()), (Operation::FetchToken, false));
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert_eq!(world.tokens(), 1);
}

#[tokio::test]
async fn case_38_an_endless_token_is_not_read_to_its_end() {
    let registry = ScriptedRegistry::builder().bearer("u", "hunter2", HOUR).start().await;
    let world = World::new(registry, USER);
    world.registry.script(When::each(Method::GET, Kind::Token), Fault::Endless);
    let error = world.look().await.unwrap_err();
    assert_eq!((error.operation(), error.kind()), (Operation::FetchToken, ErrorKind::TooLarge));
}

#[tokio::test]
async fn case_24_no_error_shows_the_password() {
    let registry = ScriptedRegistry::builder().bearer("u", "other", HOUR).start().await;
    let world = World::new(registry, USER);
    let error = world.look().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("dTpodW50ZXIy"), "{shown}");
}

/// One registry, one repository, two who ask at once: each is who it is, whatever is kept.
#[tokio::test]
async fn case_22_two_identities_at_one_registry_never_mix_their_tokens() {
    let registry = ScriptedRegistry::builder().accounts(HOUR).start().await;
    registry.let_read(Some(("u", "hunter2")), &["app"]);
    registry.let_read(Some(("other", "secret")), &["elsewhere"]);
    let world = World::new(registry, USER);
    let other = r#"{"username":"other","password":"secret"}"#;
    let strangers = [
        world.client.with_credentials(auths(&world.registry, other)),
        world.client.with_credentials(Arc::new(Anonymous)),
    ];
    for round in 0..3 {
        let owners = (0..20).map(|_| world.look());
        let refused = (0..20).map(|number| world.look_as(&strangers[number % 2]));
        let (owners, refused) = tokio::join!(join_all(owners), join_all(refused));
        assert!(owners.iter().all(|found| matches!(found, Ok(Some(_)))), "round {round}");
        for error in refused.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "round {round}");
        }
    }
}

/// What is to be known of a repository, though the tag that was asked for is gone.
#[tokio::test]
async fn a_repository_is_shown_to_who_may_read_it() {
    let registry = ScriptedRegistry::builder().accounts(HOUR).start().await;
    registry.let_read(Some(("u", "hunter2")), &["app", "nothing"]);
    let world = World::new(registry, USER);
    let shows = async |client: &Client, repository: &str| {
        let host = world.registry.host().parse().unwrap();
        client.shows_repository(&host, &repository.parse().unwrap()).await
    };
    assert!(shows(&world.client, "app").await.unwrap());
    assert!(!shows(&world.client, "nothing").await.unwrap());
    let nobody = world.client.with_credentials(Arc::new(Anonymous));
    assert_eq!(shows(&nobody, "app").await.unwrap_err().kind(), ErrorKind::Unauthorized);
}
