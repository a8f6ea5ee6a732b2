//! The ledger fails while the real binary works: what memory knows is answered, the rest refused
//! with the reason, readiness falls; afterwards all goes on by itself, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use http::Method;
use protocol::{RefusalCode, ReplicaState};
use testkit::{Fault, Image, Kind, Postgres, ScriptedRegistry, When};

use support::{Home, Process, run, until};

/// A replicator with one image present and another under way, and the rest of its world.
struct Drill {
    source: ScriptedRegistry,
    target: ScriptedRegistry,
    home: Home,
}

impl Drill {
    async fn begin(ledger: Option<&str>, wrapper: &[&str]) -> (Self, Process) {
        let (source, target) = (ScriptedRegistry::start().await, ScriptedRegistry::start().await);
        for name in ["known", "slow", "new"] {
            source.push(&Image::new(&[name.as_bytes()]), name, "v1");
        }
        let home = Home::new(&source, &target, ledger);
        let drill = Self { source, target, home };
        let process = drill.home.start(wrapper).await;
        drill.home.trigger("start", &drill.name("known")).await.unwrap();
        drill.until_present("known").await;

        // Its end comes while the ledger is away.
        let slowly = Fault::Delay(Duration::from_secs(2));
        drill.source.script(When::first(Method::GET, Kind::Blob).of("/slow/"), slowly);
        drill.home.trigger("start", &drill.name("slow")).await.unwrap();
        until("a copy is under way", async || (drill.source.met().len() == 1).then_some(())).await;
        (drill, process)
    }

    fn name(&self, image: &str) -> String {
        self.source.reference(&format!("{image}:v1")).to_string()
    }

    /// Waits for a replica by questions that begin no copy.
    async fn until_present(&self, image: &str) {
        let name = self.name(image);
        let look = async || self.home.trigger("plan", &name).await.ok();
        let is_present = async || look().await.filter(|r| r.state == ReplicaState::Present);
        until(&format!("{image} is present"), is_present).await;
    }

    /// While the ledger is away.
    async fn known_answers(&self) {
        self.home.until_readyz_is(503).await;
        for verb in ["start", "replica"] {
            let refusal = self.home.trigger(verb, &self.name("new")).await.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unavailable, "{}", refusal.message);
            assert!(refusal.retry_after_s.is_some());
        }
        let tags = async || (!self.target.tags(&self.replica("slow")).is_empty()).then_some(());
        until("the copy under way has come to its end", tags).await;
        let known = self.home.trigger("replica", &self.name("known")).await.unwrap();
        assert_eq!(known.state, ReplicaState::Present);
    }

    fn replica(&self, image: &str) -> String {
        format!("{}/{image}", self.source.host().replace(':', "_"))
    }

    /// When the ledger is back.
    async fn nothing_is_lost(&self, mut process: Process, wrapper: &[&str]) {
        self.home.until_readyz_is(200).await;
        self.until_present("slow").await;
        // A pod that was refused asks again.
        let new = self.name("new");
        let accepted = async || self.home.trigger("start", &new).await.ok();
        until("what was refused is accepted", accepted).await;
        self.until_present("new").await;
        process.signal("-TERM");
        assert!(process.ended().await.success(), "{}", process.log());

        let _process = self.home.start(wrapper).await;
        for image in ["known", "slow", "new"] {
            let receipt = self.home.trigger("plan", &self.name(image)).await.unwrap();
            assert_eq!(receipt.state, ReplicaState::Present, "{image}");
        }
        let blobs = |name: &str| {
            let of = |r: &&testkit::Recorded| r.kind == Kind::Blob && r.path.contains(name);
            self.source.requests().iter().filter(of).count()
        };
        assert_eq!(blobs("/slow/"), blobs("/known/"), "a copy that was done was done again");
    }
}

/// No file can be written any more: as on a full disk, each write of the ledger fails, and the
/// system lifts that without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    // What writes past the limit would else be killed, and nobody kills for a full disk.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let (drill, process) = Drill::begin(None, &wrapper).await;
    let limit = |limit| run("prlimit", &["--pid", &process.id().to_string(), limit]);
    limit("--fsize=0:");
    drill.known_answers().await;
    limit("--fsize=unlimited:");
    drill.nothing_is_lost(process, &wrapper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_gone() {
    let mut cluster = cluster();
    let url = cluster.database("gone");
    let (drill, process) = Drill::begin(Some(&url), &[]).await;
    cluster.stop();
    drill.known_answers().await;
    cluster.restart();
    drill.nothing_is_lost(process, &[]).await;
}

/// As one that has become a standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_has_become_read_only() {
    let cluster = cluster();
    let url = cluster.database("frozen");
    let (drill, process) = Drill::begin(Some(&url), &[]).await;
    let read_only = |value| {
        cluster
            .sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        cluster.sql("postgres", "SELECT pg_reload_conf()");
    };
    read_only("on");
    drill.known_answers().await;
    read_only("off");
    drill.nothing_is_lost(process, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_only_at_the_start_is_said() {
    // Permissions do not bind root, unless it does without what makes it so.
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let as_anybody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"];
    let wrapper = if is_root { as_anybody.as_slice() } else { &[] };
    let (drill, mut process) = Drill::begin(None, wrapper).await;
    process.signal("-TERM");
    assert!(process.ended().await.success(), "{}", process.log());

    let allow = |file: u32, folder: u32| {
        for entry in std::fs::read_dir(drill.home.ledger()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::set_permissions(path, Permissions::from_mode(file)).unwrap();
        }
        std::fs::set_permissions(drill.home.ledger(), Permissions::from_mode(folder)).unwrap();
    };
    allow(0o444, 0o555);
    let mut process = drill.home.launch(wrapper);
    assert_eq!(process.ended().await.code(), Some(1));
    let log = async || Some(process.log()).filter(|log| log.contains("readonly database"));
    let log = until("the reason is said", log).await;
    assert!(log.contains("image-replicator: the ledger's database failed"), "{log}");

    allow(0o644, 0o755);
    let _process = drill.home.start(wrapper).await;
    for image in ["known", "slow"] {
        drill.until_present(image).await;
    }
}

fn cluster() -> Postgres {
    Postgres::start().expect("PostgreSQL is not installed: scripts/install-tools.sh does it")
}
