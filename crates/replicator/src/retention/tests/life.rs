//! Random lives of a cluster, by seed: pods are admitted, start late, run and end; tags move; the
//! watch on pods is cut off; replicas are pruned, and the replicator dies in the middle of it. At
//! each moment what a pod was told to be there is there when the kubelet asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::Digest;
use registry::{Client, ClientConfig, RegistryConfig};
use testkit::{Image, ScriptedRegistry};
use tokio::task::JoinHandle;

use super::*;
use crate::ledger::record::Settlement;
use crate::ledger::testing::{TEST_LEASE, live};
use crate::retention::testing::pruner_at;

const SEEDS: u64 = 5;
const STEPS: usize = 100;

/// How long the policy server's host believes an answer.
const HOST_CACHE: Duration = Duration::from_secs(60);

/// How long an admitted pod takes at most until it is made.
const LATE: Duration = Duration::from_secs(60);

/// A pod, from its admission on.
#[derive(Clone, Debug)]
struct Pod {
    /// What the kubelet pulls.
    image: ImageReference,
    made_at: Timestamp,
}

/// What the test and what it lets run beside it share.
#[derive(Debug, Default)]
struct Cluster {
    pods: Mutex<Vec<Pod>>,
    is_watched: AtomicBool,
}

struct Life {
    store: Fixture,
    random: fastrand::Rng,
    registry: ScriptedRegistry,
    target: Arc<TargetRoot>,
    ledger: Ledger,
    cluster: Arc<Cluster>,
    beside: JoinHandle<()>,
    /// What the tags of the source name.
    tags: Vec<usize>,
    images: Vec<Image>,
    /// What the host was told, and when.
    cache: Vec<(ImageReference, Timestamp)>,
    pruning: Option<JoinHandle<()>>,
    removed: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_of_events_deletes_what_is_in_use() {
    let mut removed = 0;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        removed += Life::new(seed).await.run().await;
    }
    println!("{removed} manifests were deleted");
    assert!(removed > SEEDS, "hardly anything was ever pruned");
}

/// Images that share a child with their neighbours.
fn images() -> Vec<Image> {
    let leaf = |number: usize| Image::new(&[format!("layer {number}").as_bytes()]);
    let index = |number: usize| {
        Image::index(&[("linux/amd64", leaf(number)), ("linux/arm64", leaf(number + 1))])
    };
    (0..5).map(index).collect()
}

impl Life {
    async fn new(seed: u64) -> Self {
        let store = Fixture::sqlite().await;
        store.pass(400 * DAY).await;
        let registry = ScriptedRegistry::start().await;
        let target = root(&format!("{}/mirror", registry.host()));
        let ledger = store.open().await;
        let cluster = Arc::new(Cluster::default());
        cluster.is_watched.store(true, Ordering::Relaxed);
        let beside = tokio::spawn(beside(ledger.clone(), Arc::clone(&cluster)));
        Self {
            store,
            random: fastrand::Rng::with_seed(seed),
            registry,
            target,
            ledger,
            cluster,
            beside,
            tags: vec![0; 4],
            images: images(),
            cache: Vec::new(),
            pruning: None,
            removed: 0,
        }
    }

    async fn run(mut self) -> u64 {
        for _ in 0..STEPS {
            match self.random.u8(0..24) {
                0..=5 => self.admit().await,
                6..=10 => self.copy().await,
                11 => {
                    let seconds = self.random.u64(1..90);
                    self.pass(Duration::from_secs(seconds)).await;
                }
                12..=15 => {
                    let seconds = self.random.u64(3_600..20_000);
                    self.pass(Duration::from_secs(seconds)).await;
                }
                16..=17 => self.end_pods(),
                18 => {
                    let tag = self.random.usize(0..self.tags.len());
                    self.tags[tag] = self.random.usize(0..self.images.len());
                }
                19 => {
                    let is_watched = self.random.u8(0..4) > 0;
                    self.cluster.is_watched.store(is_watched, Ordering::Relaxed);
                }
                20 => self.die().await,
                _ => self.prune().await,
            }
            self.check();
        }
        self.cluster.is_watched.store(true, Ordering::Relaxed);
        self.end_prune().await;
        self.check();
        self.beside.abort();
        self.removed
    }

    /// A reference as a pod's author writes it: by tag, by digest, or both.
    fn source(&mut self) -> ImageReference {
        let tag = self.random.usize(0..self.tags.len());
        let name = "r.example/app";
        let digest = &self.images[self.tags[tag]].digest;
        let text = match self.random.u8(0..4) {
            0 => format!("{name}@{digest}"),
            1 => format!("{name}:t{tag}@{digest}"),
            _ => format!("{name}:t{tag}"),
        };
        text.parse().unwrap()
    }

    /// A pod is admitted if its replica is there, as in mode `wait`; sometimes from what the host
    /// was told before.
    async fn admit(&mut self) {
        let source = self.source();
        let now = self.ledger.now();
        self.cache.retain(|(_, at)| now - *at < HOST_CACHE);
        let is_cached = self.cache.iter().any(|(known, _)| *known == source);
        if !is_cached && !self.ask(&source).await {
            return;
        }
        if !is_cached {
            self.cache.push((source.clone(), now));
        }
        let replica = self.target.replica_of(&source).unwrap();
        // Pods that name the source, its replica, or the digest that is there now.
        let image = match self.random.u8(0..3) {
            0 if source.digest().is_none() => {
                self.pinned(&replica.reference).unwrap_or(replica.reference)
            }
            _ => replica.reference,
        };
        let made_at = now + Duration::from_millis(self.random.u64(0..LATE.as_millis() as u64));
        self.cluster.pods.lock().unwrap().push(Pod { image, made_at });
    }

    fn pinned(&self, replica: &ImageReference) -> Option<ImageReference> {
        let holdings = self.registry.contents();
        let of = holdings.get(replica.repository().as_str())?;
        let digest = of.tags.get(replica.tag()?.as_str())?;
        Some(replica.clone().pinned(digest.clone()))
    }

    /// What the front does; whether the answer was that the replica is there.
    async fn ask(&self, source: &ImageReference) -> bool {
        let wish = Wish {
            target: self.target.replica_of(source).unwrap().reference,
            priority: Priority::Now,
            max_age: Some(Duration::from_secs(3_600)),
        };
        let mut record = self.ledger.find(source).await.unwrap();
        let now = self.ledger.now();
        let needs =
            record.as_ref().is_none_or(|record| record.demand(&wish, &shop(), now).is_some());
        let asker = asker("shop");
        if needs {
            let ask = Ask { source: source.clone(), wish, asker };
            record = Some(self.ledger.want(ask).await.unwrap());
        } else {
            self.ledger.note(source, &asker);
        }
        record.is_some_and(|record| record.state.is_there())
    }

    /// What a worker does.
    async fn copy(&mut self) {
        let Some(record) = self.ledger.claim(usize::MAX).await.unwrap() else { return };
        let image = match record.source.digest() {
            Some(digest) => self.images.iter().find(|image| image.digest == *digest).unwrap(),
            None => {
                let tag = record.source.tag().unwrap().as_str();
                &self.images[self.tags[tag[1..].parse::<usize>().unwrap()]]
            }
        };
        let replica = self.target.replica_of(&record.source).unwrap();
        let repository = replica.reference.repository().as_str();
        let holdings = self.registry.contents();
        let known = holdings.get(repository).cloned().unwrap_or_default();
        if let Some(keeper) = &replica.keeper {
            self.registry.push(image, repository, keeper.as_str());
        }
        let tag = replica.reference.tag().map(|tag| tag.as_str());
        let is_set = |tag: &&str| replica.keeper.is_none() || !known.tags.contains_key(*tag);
        if let Some(tag) = tag.filter(is_set) {
            self.registry.push(image, repository, tag);
        }
        let settlement = Settlement::Copied {
            digest: image.digest.clone(),
            size_bytes: 42,
            contents: None,
            charge: None,
        };
        let ticket = record.ticket().unwrap();
        self.ledger.settle(ticket, settlement, 7, None).await.unwrap();
    }

    fn end_pods(&mut self) {
        let mut pods = self.cluster.pods.lock().unwrap();
        let now = self.ledger.now();
        pods.retain(|pod| pod.made_at > now || self.random.bool());
    }

    /// Time that passes with the watch on pods standing, or not. It leaves no time between an
    /// admission and a pod for more than a pod takes.
    async fn pass(&self, time: Duration) {
        if time > LATE {
            self.pass_little(LATE).await;
        }
        self.pass_little(time).await;
    }

    async fn pass_little(&self, time: Duration) {
        self.store.pass(time).await;
        if self.cluster.is_watched.load(Ordering::Relaxed) {
            tell(&self.ledger, &self.cluster).await;
        }
        live(&self.ledger).await;
    }

    async fn prune(&mut self) {
        self.end_prune().await;
        let client = self.client();
        let pruner = pruner_at(&self.ledger, &self.target.to_string(), client);
        let pruning = tokio::spawn(async move {
            // Refused where the picture is old, which is as it should be.
            let _ = pruner.run(UnusedFor::new(LEAST_UNUSED).unwrap()).await;
        });
        self.pruning = Some(pruning);
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..700))).await;
    }

    async fn end_prune(&mut self) {
        if let Some(pruning) = self.pruning.take() {
            // While the watch is cut off it would wait for minutes.
            if self.cluster.is_watched.load(Ordering::Relaxed) {
                let _ = pruning.await;
            } else {
                self.pruning = Some(pruning);
                self.die().await;
            }
            self.removed = self.deletions();
        }
    }

    fn deletions(&self) -> u64 {
        self.registry.count(&http::Method::DELETE, testkit::Kind::Manifest) as u64
    }

    /// The replicator dies, whatever it is about to do, and another comes.
    async fn die(&mut self) {
        if let Some(pruning) = self.pruning.take() {
            pruning.abort();
            let _ = pruning.await;
            // What it had sent already arrives long before a lease ends.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.renew().await;
    }

    async fn renew(&mut self) {
        self.beside.abort();
        self.store.pass(TEST_LEASE).await;
        self.ledger = self.store.open().await;
        self.beside = tokio::spawn(beside(self.ledger.clone(), Arc::clone(&self.cluster)));
        // What the host remembers is older than that.
        self.cache.clear();
        self.removed = self.deletions();
    }

    fn client(&self) -> Client {
        let mut config = ClientConfig::default();
        let plain = RegistryConfig { plain_http: true, ..RegistryConfig::default() };
        config.registries.insert(self.registry.host().parse().unwrap(), plain);
        Client::new(config).unwrap()
    }

    /// Each pod could be started, or started again, at this moment.
    fn check(&self) {
        for pod in self.cluster.pods.lock().unwrap().iter() {
            let repository = pod.image.repository().as_str();
            let by = match (pod.image.digest(), pod.image.tag()) {
                (Some(digest), _) => digest.to_string(),
                (None, tag) => tag.unwrap().to_string(),
            };
            let manifest = self.registry.manifest(repository, &by);
            let digest: Digest = testkit::digest_of(
                &manifest
                    .unwrap_or_else(|| panic!("{} is not there, and a pod of it is", pod.image)),
            );
            let image = self.images.iter().find(|image| image.digest == digest).unwrap();
            assert!(self.registry.holds(image, repository), "{} misses a part", pod.image);
        }
    }
}

/// The watch on pods tells all that runs.
async fn tell(ledger: &Ledger, cluster: &Cluster) {
    let now = ledger.now();
    let mut running = Running::new();
    for pod in cluster.pods.lock().unwrap().iter().filter(|pod| pod.made_at <= now) {
        let used = Use { image: pod.image.clone(), namespace: shop(), digest: None };
        *running.entry(used).or_default() += 1;
    }
    let _ = ledger.see(Sighting::Cluster(running), now).await;
}

/// What goes on by itself: signs of life, and the watch while it stands.
async fn beside(ledger: Ledger, cluster: Arc<Cluster>) {
    loop {
        live(&ledger).await;
        if cluster.is_watched.load(Ordering::Relaxed) {
            tell(&ledger, &cluster).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
