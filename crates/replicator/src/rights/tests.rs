//! Tenants of one replicator: the front, workers and proofs together, between scripted registries.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::Method;
use protocol::{Receipt, Refusal, RefusalCode, ReplicaState, Side};
use registry::{Client, ClientConfig, DockerConfig, RegistryConfig, RetryPolicy};
use tempfile::TempDir;
use testkit::{Fault, Image, Kind, ScriptedRegistry, When};
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::credentials::{Keyring, NamedCredentials};
use crate::front::api::Api;
use crate::front::testing::{Front, api, observers};
use crate::ledger::Settings;
use crate::ledger::record::REFUSED_RETRY;
use crate::proofs::Prover;
use crate::quota::Quota;
use crate::rules::Rules;
use crate::watch::Held;
use crate::workers::{Stop, Workers};

/// Longer than any wait here takes.
const HANGS: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3_600);

const RULES: &str = "
- {name: a, sources: HOST/**, namespaces: team-a, credentials: team-a}
- {name: b, sources: HOST/**, namespaces: team-b, credentials: team-b}
- {name: rest, sources: '**'}
";

/// Two tenants with credentials of their own, and others without.
struct World {
    source: ScriptedRegistry,
    home: ScriptedRegistry,
    ledger: Ledger,
    front: Front,
    now_ms: Arc<AtomicI64>,
    /// The docker config of `team-b`; that of `team-a` stays as it is.
    config_of_b: watch::Sender<Arc<DockerConfig>>,
    stop: Stop,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let source = ScriptedRegistry::builder().accounts(HOUR).start().await;
        let home = ScriptedRegistry::start().await;
        let directory = TempDir::new().unwrap();
        let now_ms = Arc::new(AtomicI64::new(1_000_000));
        let told = Arc::clone(&now_ms);
        let clock = Clock::of(move || Timestamp::from_ms(told.load(Ordering::Relaxed)));
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let settings = Settings::new(url.parse().unwrap());
        let ledger =
            Ledger::open(Settings { lease: 1_000 * HOUR, ..settings }, clock).await.unwrap();

        let mut keyring = Keyring::new();
        let mut hold = |name: &str, config| {
            let (sender, held) = Held::channel(config);
            let name: crate::label::Label = name.parse().unwrap();
            keyring.insert(name.clone(), Arc::new(NamedCredentials::new(name, held)));
            sender
        };
        hold("team-a", entry(&source, "a"));
        let config_of_b = hold("team-b", DockerConfig::default());
        let files = serde_yaml::from_str(&RULES.replace("HOST", &source.host())).unwrap();
        let rules =
            Rules::read(files, &keyring, &Default::default(), &copy::Scope::default()).unwrap();

        let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let mut config = ClientConfig { retry, ..ClientConfig::default() };
        for registry in [&source, &home] {
            let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
            config.registries.insert(registry.host().parse().unwrap(), plain);
        }
        let client = Client::new(config).unwrap();
        let copier = copy::Copier::new(client.clone(), copy::Limits::default());
        let (rights, proofs) = Rights::new(ledger.clone());
        let stop = Stop::default();
        tokio::spawn(Prover { rights: rights.clone(), client }.run(proofs, stop.copying.clone()));
        let api = Api { rights, ..api(&ledger, &home.host(), rules) };
        let workers = Workers {
            ledger: ledger.clone(),
            copier,
            board: api.board.clone(),
            target: Arc::clone(&api.target),
            rules: api.rules.clone(),
            rights: api.rights.clone(),
            quota: Quota::new(ledger.clone(), None),
            observers: observers(&api),
        };
        tokio::spawn(workers.run(2, stop.clone()));
        let front = Front::start(api).await;
        Self { source, home, ledger, front, now_ms, config_of_b, stop, _directory: directory }
    }

    fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    async fn ask(
        &self,
        namespace: &str,
        verb: &str,
        image: &ImageReference,
    ) -> Result<Receipt, Refusal> {
        self.front.host.trigger(verb, namespace, &image.to_string()).await
    }

    /// Asks until the replica is there.
    async fn given(&self, namespace: &str, image: &ImageReference) -> Receipt {
        let asked = async {
            loop {
                match self.ask(namespace, "replica", image).await {
                    Ok(receipt) => return receipt,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(HANGS, asked).await.unwrap()
    }

    /// Asks by all verbs until the answer is known, which is at no time a receipt.
    async fn refused(&self, namespace: &str, image: &ImageReference) -> Refusal {
        let asked = async {
            loop {
                let start = self.ask(namespace, "start", image).await.unwrap_err();
                let refusal = self.ask(namespace, "replica", image).await.unwrap_err();
                if [&start, &refusal].iter().all(|refusal| refusal.code != RefusalCode::Pending) {
                    assert_eq!(start, refusal);
                    return refusal;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(HANGS, asked).await.unwrap()
    }

    async fn denied(&self, namespace: &str, image: &ImageReference) {
        let refusal = self.refused(namespace, image).await;
        let (code, side) = (RefusalCode::Denied, Some(Side::Source));
        assert_eq!((refusal.code, refusal.side), (code, side), "{}", refusal.message);
        let beginning = format!("namespace {namespace} has no right to this image: ");
        assert!(refusal.message.starts_with(&beginning), "{}", refusal.message);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.claiming.cancel();
        self.stop.copying.cancel();
    }
}

/// A docker config with the entry of a user, whose password is the name.
fn entry(registry: &ScriptedRegistry, user: &str) -> DockerConfig {
    let host = registry.host();
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"{user}","password":"{user}"}}}}}}"#);
    DockerConfig::parse(&config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_one_tenants_private_image_is_given_to_another_by_its_own_right_alone() {
    let world = World::start().await;
    let image = world.source.reference("vault/app:v1");
    world.source.push(&Image::new(&[b"layer"]), "vault/app", "v1");
    world.source.let_read(Some(("a", "a")), &["vault/app"]);
    world.source.let_read(Some(("b", "b")), &["elsewhere"]);

    // Before the first copy: nothing is begun, and no place is told.
    world.denied("team-b", &image).await;
    assert_eq!(world.ledger.find(&image).await.unwrap(), None);
    assert!(world.home.contents().is_empty());
    let receipt = world.given("team-a", &image).await;

    // After it, by its source and by where it is, with and without credentials of their own.
    world.pass(REFUSED_RETRY);
    world.denied("team-b", &image).await;
    world.denied("another", &image).await;
    world.denied("team-b", &receipt.target).await;
    assert!(world.ask("team-b", "plan", &image).await.is_err());
    world.config_of_b.send_replace(Arc::new(entry(&world.source, "b")));
    world.denied("team-b", &image).await;

    // Once it has the right.
    world.source.let_read(Some(("b", "b")), &["vault/app"]);
    world.pass(REFUSED_RETRY);
    assert_eq!(world.given("team-b", &image).await.state, ReplicaState::Present);
    assert_eq!(world.given("team-b", &receipt.target).await.state, ReplicaState::Present);
    assert_eq!(world.ledger.find(&image).await.unwrap().unwrap().claims, 1);

    // Taken away at the source: seen within the window.
    world.source.let_read(Some(("b", "b")), &["elsewhere"]);
    world.pass(world.ledger.remember());
    world.denied("team-b", &image).await;
    world.denied("team-b", &receipt.target).await;

    // Given back, and taken out of the docker config: seen at once.
    world.source.let_read(Some(("b", "b")), &["vault/app"]);
    world.pass(REFUSED_RETRY);
    world.given("team-b", &image).await;
    world.config_of_b.send_replace(Arc::default());
    world.denied("team-b", &image).await;
    world.given("team-a", &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_other_credentials_by_the_same_name_have_to_show_their_own_right() {
    let world = World::start().await;
    let image = world.source.reference("vault/app:v1");
    world.source.push(&Image::new(&[b"layer"]), "vault/app", "v1");
    world.source.let_read(Some(("b", "b")), &["vault/app"]);
    world.source.let_read(Some(("c", "c")), &["elsewhere"]);
    world.config_of_b.send_replace(Arc::new(entry(&world.source, "b")));
    world.given("team-b", &image).await;
    world.pass(Duration::from_secs(1));
    world.config_of_b.send_replace(Arc::new(entry(&world.source, "c")));
    world.denied("team-b", &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_public_image_needs_no_proof() {
    let world = World::start().await;
    let image = world.source.reference("open/app:v1");
    world.source.push(&Image::new(&[b"layer"]), "open/app", "v1");
    world.source.push(&Image::new(&[b"other"]), "open/app", "v2");
    world.source.let_read(None, &["open/app"]);
    world.source.let_read(Some(("a", "a")), &["open/app"]);
    world.given("team-a", &image).await;
    world.given("another", &image).await;

    world.source.forget_requests();
    for namespace in ["team-a", "team-b", "another", "one-more"] {
        for verb in ["plan", "start", "replica"] {
            let receipt = world.ask(namespace, verb, &image).await.unwrap();
            assert_eq!(receipt.state, ReplicaState::Present);
        }
    }
    assert_eq!(world.source.requests().len(), 0);

    // It stays public when its tag is gone, and the time of what was remembered is over.
    world.source.lose_tag("open/app", "v1");
    world.pass(9 * world.ledger.remember());
    let looked = async {
        while world.source.count(&Method::GET, Kind::Tags) == 0 {
            world.ask("another", "replica", &image).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, looked).await.unwrap();
    world.ask("another", "replica", &image).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_a_source_that_is_down_takes_no_right_away_and_gives_none() {
    let world = World::start().await;
    let image = world.source.reference("vault/app:v1");
    world.source.push(&Image::new(&[b"layer"]), "vault/app", "v1");
    world.source.let_read(Some(("a", "a")), &["vault/app"]);
    world.source.let_read(Some(("b", "b")), &["vault/app"]);
    world.given("team-a", &image).await;

    let down = Fault::status(500, "down");
    world.source.script(When::each(Method::HEAD, Kind::Manifest), down);
    world.pass(world.ledger.remember());
    world.config_of_b.send_replace(Arc::new(entry(&world.source, "b")));
    world.given("team-a", &image).await;
    let refusal = world.refused("team-b", &image).await;
    assert_eq!((refusal.code, refusal.side), (RefusalCode::Failed, Some(Side::Source)));
    assert!(refusal.message.contains("could not be checked"), "{}", refusal.message);

    // The client leaves a registry that was dead in peace for a while of its own.
    world.source.behave();
    let again = async {
        while world.ask("team-b", "replica", &image).await.is_err() {
            world.pass(REFUSED_RETRY);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANGS, again).await.unwrap();
}

#[tokio::test]
async fn proofs_are_bounded_and_leave_room_for_other_registries() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
    let ledger = Ledger::open(Settings::new(url.parse().unwrap()), Clock::system()).await.unwrap();
    let (rights, mut proofs) = Rights::new(ledger);
    let prove = |host: &str, number: usize| {
        let image: ImageReference = format!("{host}/app-{number}:1").parse().unwrap();
        rights.prove(&image, &Who::default());
        rights.prove(&image, &Who::default());
    };
    (0..MAX_PROOFS).for_each(|number| prove("slow.example", number));
    assert_eq!(proofs.len(), MAX_PROOFS_OF_ONE_REGISTRY);
    prove("other.example", 0);
    assert_eq!(proofs.len(), MAX_PROOFS_OF_ONE_REGISTRY + 1);
    drop(proofs.recv().await);
    prove("slow.example", MAX_PROOFS);
    assert_eq!(proofs.len(), MAX_PROOFS_OF_ONE_REGISTRY + 1);
}
