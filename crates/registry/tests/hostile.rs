//! A registry that sends us elsewhere, or too much: what it names is judged by the address that
//! is dialled, our secrets stay with it, and nothing is read without end.
//! Cases 21, 38, 40, 41, 42.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use http::Method;
use protocol::{ImageReference, Registry, Repository, Tag};
use registry::{
    Client, ClientConfig, Descriptor, DockerConfig, Error, ErrorKind, ManifestRef, Operation,
    RegistryConfig, Retry, RetryPolicy,
};
use testkit::{Certificates, Fault, Image, Kind, ScriptedRegistry, When};

const HOUR: Duration = Duration::from_secs(3600);

/// A registry, a client that knows it and its credentials, and a service inside that nobody
/// outside may reach through us. It is on this machine under another name.
struct World {
    registry: ScriptedRegistry,
    inside: ScriptedRegistry,
    image: Image,
    named: HashMap<Registry, RegistryConfig>,
}

impl World {
    async fn new() -> Self {
        Self::of(ScriptedRegistry::start().await).await
    }

    async fn of(registry: ScriptedRegistry) -> Self {
        let inside = ScriptedRegistry::builder().anonymous_bearer(HOUR).start().await;
        let image = Image::new(&[b"layer"]);
        registry.push(&image, "app", "v1");
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        let named = [(registry.host().parse().unwrap(), plain)].into();
        Self { registry, inside, image, named }
    }

    /// The configuration says that what is inside belongs to the registry.
    fn trusting(mut self) -> Self {
        let inside = self.inside_host().parse().unwrap();
        let of_registry = self.named.get_mut(&self.registry_name()).unwrap();
        of_registry.trusted_hosts = vec![inside];
        self
    }

    fn client(&self) -> Client {
        let auth = r#"{"username":"u","password":"hunter2"}"#;
        let config = format!(r#"{{"auths":{{"{}":{auth}}}}}"#, self.registry.host());
        self.client_with(DockerConfig::parse(&config).unwrap())
    }

    fn client_with(&self, credentials: DockerConfig) -> Client {
        Client::new(ClientConfig {
            registries: self.named.clone(),
            credentials: Arc::new(credentials),
            retry: RetryPolicy { attempts: 1, ..RetryPolicy::default() },
            ..ClientConfig::default()
        })
        .unwrap()
    }

    /// `localhost:port`: another host than the registry's 127.0.0.1.
    fn inside_host(&self) -> String {
        self.inside.host().replace("127.0.0.1", "localhost")
    }

    /// What a registry may try to send us to.
    fn places(&self) -> Vec<String> {
        let port = self.inside.host().split_once(':').unwrap().1.to_owned();
        let here = ["localhost", "[::ffff:127.0.0.1]", "[::1]", "127.1.1.1", "[64:ff9b::7f00:1]"];
        let here = here.map(|host| format!("http://{host}:{port}/v2/app/anything"));
        let metadata = ["169.254.169.254", "2852039166", "[fd00:ec2::254]", "100.100.100.200"];
        let metadata = metadata.map(|host| format!("http://{host}/latest/meta-data"));
        here.into_iter().chain(metadata).collect()
    }

    fn registry_name(&self) -> Registry {
        self.registry.host().parse().unwrap()
    }

    async fn look(&self, client: &Client) -> Result<Option<Descriptor>, Error> {
        let tag = ManifestRef::Tag("v1".parse().unwrap());
        client.head_manifest(&self.registry_name(), &repository(), &tag).await
    }

    fn layer(&self) -> Descriptor {
        let (digest, content) = &self.image.blobs[1];
        let media_type = "application/octet-stream".parse().unwrap();
        Descriptor { media_type, digest: digest.clone(), size: content.size() }
    }

    async fn read(&self, client: &Client) -> Result<Vec<u8>, Error> {
        let blob = client.blob(&self.registry_name(), &repository(), &self.layer(), 0).await?;
        blob.try_fold(Vec::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
    }

    async fn write(&self, client: &Client) -> Result<(), Error> {
        let mut upload = client.start_upload(&self.registry_name(), &repository()).await?;
        let layer = self.layer();
        let body = futures::stream::iter([Ok::<_, std::io::Error>("layer".into())]);
        upload.put(&layer, body).await
    }
}

fn repository() -> Repository {
    "app".parse().unwrap()
}

fn challenge(realm: &str) -> Fault {
    let challenge = format!(r#"Bearer realm="{realm}",service="test""#);
    Fault::Answer(401, vec![("www-authenticate".to_owned(), challenge)], String::new())
}

fn assert_denied(error: &Error, operation: Operation, what: &str) {
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Denied, operation),
        "{what}: {error}"
    );
    assert_eq!(error.retry(), Retry::Never, "{what}");
}

#[tokio::test]
async fn case_40_a_realm_inside_is_never_asked() {
    let world = World::new().await;
    for place in world.places() {
        world.registry.behave();
        world.registry.script(When::each(Method::HEAD, Kind::Manifest), challenge(&place));
        let error = world.look(&world.client_with(DockerConfig::default())).await.unwrap_err();
        assert_denied(&error, Operation::FetchToken, &place);
    }
    assert!(world.inside.requests().is_empty());
}

#[tokio::test]
async fn case_40_a_redirect_inside_is_never_followed() {
    let world = World::new().await;
    for place in world.places() {
        world.registry.behave();
        world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&place));
        let error = world.read(&world.client()).await.unwrap_err();
        assert_denied(&error, Operation::GetBlob, &place);
    }
    assert!(world.inside.requests().is_empty());
}

#[tokio::test]
async fn case_40_an_upload_inside_is_never_made() {
    let world = World::new().await;
    for place in world.places() {
        world.registry.behave();
        let opened = vec![("location".to_owned(), place.clone())];
        let fault = Fault::Answer(202, opened, String::new());
        world.registry.script(When::each(Method::POST, Kind::Upload), fault);
        let error = world.write(&world.client()).await.unwrap_err();
        assert_denied(&error, Operation::PutBlob, &place);
    }
    assert!(world.inside.requests().is_empty());
}

#[tokio::test]
async fn case_40_a_list_does_not_go_on_at_another_host() {
    let world = World::new().await;
    for place in world.places() {
        world.registry.behave();
        let link = format!(r#"<{place}>; rel="next""#);
        world.registry.script(When::each(Method::GET, Kind::Referrers), Fault::With("link", link));
        let subject = &world.image.digest;
        let listed =
            world.client().referrers(&world.registry_name(), &repository(), subject, 9).await;
        assert_denied(&listed.unwrap_err(), Operation::ListReferrers, &place);
    }
    assert!(world.inside.requests().is_empty());
}

/// A pod may name any host as the registry of its image.
#[tokio::test]
async fn case_40_a_source_inside_is_asked_only_if_the_configuration_names_it() {
    let world = World::new().await;
    let stranger = World { named: HashMap::new(), ..World::new().await };
    for host in [world.inside.host(), world.inside_host(), "169.254.169.254".to_owned()] {
        let registry: Registry = host.parse().unwrap();
        let tag = ManifestRef::Tag("v1".parse().unwrap());
        for client in [world.client(), stranger.client()] {
            let found = client.head_manifest(&registry, &repository(), &tag).await;
            assert_denied(&found.unwrap_err(), Operation::HeadManifest, &host);
        }
    }
    assert!(world.inside.requests().is_empty());
    // The one that is named is on the same machine.
    assert!(world.look(&world.client()).await.unwrap().is_some());
    let error = stranger.look(&stranger.client()).await.unwrap_err();
    assert!(error.to_string().contains("`registries`"), "{error}");
    assert!(stranger.registry.requests().is_empty());
}

/// Case 41 as well: that it is trusted does not make it the registry.
#[tokio::test]
async fn case_40_what_the_configuration_says_belongs_to_a_registry_may_be_inside() {
    let registry = ScriptedRegistry::builder().basic("u", "hunter2").start().await;
    let store = ScriptedRegistry::start().await;
    let world = World { inside: store, ..World::of(registry).await }.trusting();
    world.inside.push(&world.image, "app", "v1");
    let place = format!("http://{}/v2/app/blobs/{}", world.inside_host(), world.layer().digest);
    world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&place));
    let client = world.client();
    world.look(&client).await.unwrap();
    assert_eq!(world.read(&client).await.unwrap(), b"layer");
    let asked = world.inside.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
    assert!(world.registry.requests().iter().any(|request| request.authorization.is_some()));
}

#[tokio::test]
async fn case_21_credentials_go_to_no_realm_of_another_site() {
    let world = World::new().await;
    let tokens = ScriptedRegistry::builder().bearer("u", "hunter2", HOUR).start().await;
    let world = World { inside: tokens, ..world };
    let realm = format!("http://{}/token", world.inside_host());
    world.registry.script(When::first(Method::HEAD, Kind::Manifest), challenge(&realm));
    let error = world.look(&world.client()).await.unwrap_err();
    assert_denied(&error, Operation::FetchToken, &realm);
    assert!(error.message().contains("localhost, which is another site"), "{error}");
    assert!(error.message().contains("`trusted_hosts`"), "{error}");
    assert!(world.inside.requests().is_empty());

    let world = world.trusting();
    world.registry.script(When::first(Method::HEAD, Kind::Manifest), challenge(&realm));
    assert!(world.look(&world.client()).await.unwrap().is_some());
    assert_eq!(world.inside.count(&Method::GET, Kind::Token), 1);
}

#[tokio::test]
async fn case_41_from_https_to_http_is_no_way() {
    let certificates = Certificates::new();
    let secure = ScriptedRegistry::builder().tls(&certificates).basic("u", "hunter2").start().await;
    let mut world = World::of(secure).await;
    let ca_pem = Some(certificates.ca_pem.into_bytes());
    for of in world.named.values_mut() {
        *of = RegistryConfig { ca_pem: ca_pem.clone(), ..RegistryConfig::default() };
    }
    let world = world.trusting();
    let client = world.client();
    world.look(&client).await.unwrap();
    let place = format!("http://{}/v2/app/anything", world.inside_host());
    world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&place));
    assert_denied(&world.read(&client).await.unwrap_err(), Operation::GetBlob, "redirect");
    let opened = Fault::Answer(202, vec![("location".to_owned(), place.clone())], String::new());
    world.registry.script(When::each(Method::POST, Kind::Upload), opened);
    assert_denied(&world.write(&client).await.unwrap_err(), Operation::StartUpload, "upload");
    world.registry.script(When::each(Method::HEAD, Kind::Manifest), challenge(&place));
    assert_denied(&world.look(&client).await.unwrap_err(), Operation::FetchToken, "realm");
    assert!(world.inside.requests().is_empty());
}

#[tokio::test]
async fn case_41_a_redirect_leads_no_secret_to_another_port() {
    let registry = ScriptedRegistry::builder().basic("u", "hunter2").start().await;
    let world = World::of(registry).await;
    let other = ScriptedRegistry::start().await;
    other.push(&world.image, "app", "v1");
    let place = format!("{}/v2/app/blobs/{}", other.url(), world.layer().digest);
    world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&place));
    let client = world.client();
    world.look(&client).await.unwrap();
    world.read(&client).await.unwrap();
    assert_eq!(other.requests().len(), 1);
    assert_eq!(other.requests()[0].authorization, None);
}

/// As a name of somebody's own before GHCR: who is sent on gets in as anybody does.
#[tokio::test]
async fn case_41_a_registry_that_sends_readers_on_to_another_one_is_read_there_as_nobody() {
    let registry = ScriptedRegistry::builder().basic("u", "hunter2").start().await;
    let world = World::of(registry).await.trusting();
    world.inside.push(&world.image, "elsewhere/app", "v1");
    let place = |path: String| format!("http://{}/v2/elsewhere/app/{path}", world.inside_host());
    let (manifest, blob) =
        (place("manifests/v1".into()), place(format!("blobs/{}", world.layer().digest)));
    for method in [Method::HEAD, Method::GET] {
        world.registry.script(When::each(method, Kind::Manifest), Fault::redirect(&manifest));
    }
    world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&blob));
    let client = world.client();
    let found = world.look(&client).await.unwrap().unwrap();
    assert_eq!(found.digest, world.image.digest);
    let tag = ManifestRef::Tag("v1".parse().unwrap());
    let read = client.manifest(&world.registry_name(), &repository(), &tag).await.unwrap();
    assert_eq!(read.1, world.image.manifest);
    for _ in 0..2 {
        assert_eq!(world.read(&client).await.unwrap(), b"layer");
    }
    let sent = world.inside.requests();
    assert_eq!(world.inside.count(&Method::GET, Kind::Token), 1, "one token serves all");
    let secrets = sent.iter().filter_map(|request| request.authorization.as_ref());
    assert!(secrets.clone().count() >= 4);
    assert!(secrets.clone().all(|secret| secret.starts_with("Bearer ")), "{sent:?}");

    // A token that was taken back is replaced.
    world.inside.script(When::first(Method::GET, Kind::Blob), Fault::RevokeTokens);
    assert_eq!(world.read(&client).await.unwrap(), b"layer");
    assert_eq!(world.inside.count(&Method::GET, Kind::Token), 2);
}

/// A URL that a registry signed for a GET answers a HEAD with 403 (moby 50065, pulp_container
/// 579), which says nothing of the blob.
#[tokio::test]
async fn a_look_that_is_sent_to_a_url_which_may_only_be_read_reads() {
    let world = World { inside: ScriptedRegistry::start().await, ..World::new().await }.trusting();
    world.inside.push(&world.image, "app", "v1");
    let layer = world.layer();
    let place = format!("http://{}/v2/app/blobs/{}", world.inside_host(), layer.digest);
    world.registry.script(When::each(Method::HEAD, Kind::Blob), Fault::redirect(&place));
    world.inside.script(When::each(Method::HEAD, Kind::Blob), Fault::status(403, "signed for GET"));
    let size = || async {
        let client = world.client();
        client.blob_size(&world.registry_name(), &repository(), &layer).await
    };
    assert_eq!(size().await.unwrap(), Some(layer.size));
    assert_eq!(world.inside.count(&Method::GET, Kind::Blob), 1);

    // One that refuses the GET as well does refuse, and is asked no third time.
    world.inside.script(When::each(Method::GET, Kind::Blob), Fault::status(403, "gone stale"));
    assert_eq!(size().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(world.inside.count(&Method::GET, Kind::Blob), 2);
}

#[tokio::test]
async fn case_38_redirects_end() {
    let world = World::new().await;
    let again = format!("/v2/app/blobs/{}", world.layer().digest);
    world.registry.script(When::each(Method::GET, Kind::Blob), Fault::redirect(&again));
    let error = world.read(&world.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert_eq!(world.registry.count(&Method::GET, Kind::Blob), 6);
}

#[tokio::test]
async fn case_38_a_flood_of_headers_is_no_answer() {
    let many = (0..1_000).map(|n| (format!("x-{n}"), "x".to_owned())).collect();
    let large = vec![("x-large".to_owned(), "x".repeat(1 << 20))];
    for headers in [many, large] {
        let world = World::new().await;
        let flood = Fault::Answer(200, headers, String::new());
        world.registry.script(When::each(Method::HEAD, Kind::Manifest), flood);
        let error = world.look(&world.client()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().len() < 1_000);
    }
}

#[tokio::test]
async fn case_38_an_endless_list_is_not_read_to_its_end() {
    let world = World::new().await;
    world.registry.script(When::each(Method::GET, Kind::Referrers), Fault::Endless);
    let subject = &world.image.digest;
    let listed = world.client().referrers(&world.registry_name(), &repository(), subject, 9).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::TooLarge);
}

/// What calls itself compressed is not unpacked: it could be of any size then.
#[tokio::test]
async fn case_38_nothing_is_unpacked() {
    let world = World::new().await;
    for kind in [Kind::Blob, Kind::Manifest] {
        for encoding in ["gzip", "br", "zstd", "deflate"] {
            let fault = Fault::With("content-encoding", encoding.to_owned());
            world.registry.behave();
            world.registry.script(When::each(Method::GET, kind), fault);
            let client = world.client();
            assert_eq!(world.read(&client).await.unwrap(), b"layer");
            let digest = ManifestRef::Digest(world.image.digest.clone());
            let read = client.manifest(&world.registry_name(), &repository(), &digest).await;
            assert_eq!(read.unwrap().1, world.image.manifest);
        }
    }
}

/// Names become part of a URL only after they were parsed.
#[test]
fn case_42_a_name_that_could_climb_is_none() {
    let long = "a".repeat(256);
    for name in [
        "..",
        "../a",
        "a/..",
        "a/../b",
        "a/./b",
        "a//b",
        "/a",
        "a/",
        "a%2fb",
        "a%2Fb",
        "%2e%2e",
        "a/%2e%2e/b",
        "App",
        "a/B",
        "a?b",
        "a#b",
        "a\\b",
        "a b",
        "a\0b",
        "a@b",
        "a:b",
        "ä",
        "",
        &long,
    ] {
        assert!(name.parse::<Repository>().is_err(), "{name:?}");
        if !name.is_empty() && !name.contains(['@', ':']) {
            assert!(format!("r.example/{name}:v1").parse::<ImageReference>().is_err(), "{name:?}");
        }
    }
    for tag in ["..", "../a", "a/b", "a%2fb", ".a", "-a", "a b", "", &"a".repeat(129)] {
        assert!(tag.parse::<Tag>().is_err(), "{tag:?}");
    }
    for host in ["r.example/..", "r.example%2f", "r..example", "user@r.example", "r.example:0"] {
        assert!(host.parse::<Registry>().is_err(), "{host:?}");
    }
}

/// What a registry calls its own blobs is a digest or nothing.
#[tokio::test]
async fn case_42_a_digest_that_could_climb_is_none() {
    let world = World::new().await;
    let climbing = "sha256:../../../../etc/passwd".to_owned();
    let fault = Fault::With("docker-content-digest", climbing);
    world.registry.script(When::each(Method::HEAD, Kind::Manifest), fault);
    let error = world.look(&world.client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert_eq!(world.registry.requests().len(), 1);
}
