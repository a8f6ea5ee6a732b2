//! The front on the wire, asked by the client that the real host uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference};
use protocol::{Receipt, Refusal, RefusalCode, ReplicaState, Trigger};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::callers::Callers;
use super::listener::Listener;
use crate::audit::testing::Recorded;
use crate::board::Board;
use crate::clock::Clock;
use crate::freshness::Freshness;
use crate::ledger::record::Settlement;
use crate::ledger::{Ledger, Settings};
use crate::metrics::Metrics;

struct Front {
    address: SocketAddr,
    ca_pem: String,
    ledger: Ledger,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    recorded: Recorded,
    _directory: TempDir,
}

impl Front {
    async fn start() -> Self {
        Self::with_room_for(1_000).await
    }

    async fn with_room_for(max_waiting: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let settings = Settings { max_waiting, ..Settings::new(url.parse().unwrap()) };
        let ledger = Ledger::open(settings, Clock::system()).await.unwrap();
        let certificates = testkit::Certificates::new();
        let hash = bcrypt::hash("secret", 4).unwrap();
        let recorded = Recorded::new();
        let api = Api {
            ledger: ledger.clone(),
            board: Board::default(),
            target: Arc::new("registry.corp/mirror".parse().unwrap()),
            callers: Callers::parse(&format!("policy:{hash}"), [0; 32]).unwrap(),
            freshness: Arc::new(Freshness::default()),
            metrics: Metrics::default(),
            audit: recorded.audit.clone(),
        };
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any_port, certificates.server_config()).await.unwrap();
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listener.serve(api, stop.clone()));
        let ca_pem = certificates.ca_pem.clone();
        Self { address, ca_pem, ledger, stop, serving, recorded, _directory: directory }
    }

    /// Settles what waits first as a worker does that has copied it.
    async fn copy_next(&self) -> protocol::Digest {
        let claimed = self.ledger.claim(1).await.unwrap().unwrap();
        let digest: protocol::Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let copied = Settlement::Copied { digest: digest.clone(), size_bytes: 1 };
        self.ledger.settle(claimed.ticket().unwrap(), copied, 1).await.unwrap().unwrap();
        digest
    }

    /// As the host does: a new client for each call.
    async fn ask(&self, path: &str, password: &str) -> Result<String, String> {
        let certificate = Certificate {
            encoding: CertificateEncoding::Pem,
            data: self.ca_pem.clone().into_bytes(),
        };
        let config =
            ClientConfig { extra_root_certificates: vec![certificate], ..ClientConfig::default() };
        let client = Client::new(config);
        let reference: Reference =
            format!("localhost:{}/{path}", self.address.port()).parse().unwrap();
        let auth = RegistryAuth::Basic("policy".to_owned(), password.to_owned());
        let (manifest, _digest) =
            client.pull_manifest(&reference, &auth).await.map_err(|e| e.to_string())?;
        Ok(serde_json::to_string(&manifest).unwrap())
    }

    async fn trigger(&self, verb: &str, source: &str) -> Result<Receipt, Refusal> {
        let trigger = Trigger {
            verb: verb.parse().unwrap(),
            namespace: "shop".parse().unwrap(),
            source: source.parse().unwrap(),
        };
        let path = trigger.encode().unwrap().to_string();
        match self.ask(&path, "secret").await {
            Ok(body) => Ok(Receipt::from_json(body.as_bytes()).unwrap()),
            Err(text) => {
                Err(Refusal::find(&text).unwrap_or_else(|| panic!("no refusal in {text}")))
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_refusals_reach_the_hosts_client_whole() {
    let front = Front::start().await;
    let planned = front.trigger("plan", "nginx:1.27").await.unwrap();
    assert_eq!(planned.state, ReplicaState::Planned);
    assert_eq!(planned.target.to_string(), "registry.corp/mirror/docker.io/library/nginx:1.27");
    assert_eq!(front.ledger.find(&planned.source).await.unwrap(), None);

    let refusal = front.trigger("replica", "nginx:1.27").await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.source.as_str()),
        (RefusalCode::Pending, "docker.io/library/nginx:1.27")
    );
    let started = front.trigger("start", "nginx:1.27").await.unwrap();
    assert_eq!(started.state, ReplicaState::Copying);

    let digest = front.copy_next().await;
    let present = front.trigger("replica", "nginx:1.27").await.unwrap();
    assert_eq!((present.state, present.digest), (ReplicaState::Present, Some(digest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_into_the_target_is_known_if_its_source_was_asked_for() {
    let front = Front::start().await;
    let direct = "registry.corp/mirror/docker.io/library/nginx:1.27";
    let unknown = front.trigger("replica", direct).await.unwrap_err();
    assert_eq!((unknown.code, unknown.source.as_str()), (RefusalCode::NotFound, direct));

    front.trigger("start", "nginx:1.27").await.unwrap();
    let state = |receipt: Receipt| receipt.state;
    assert_eq!(front.trigger("plan", direct).await.map(state), Ok(ReplicaState::Planned));
    assert_eq!(front.trigger("start", direct).await.map(state), Ok(ReplicaState::Copying));
    assert_eq!(front.trigger("replica", direct).await.unwrap_err().code, RefusalCode::Pending);
    let digest = front.copy_next().await;

    let pinned = format!("{direct}@{digest}");
    for reference in [direct, &pinned] {
        let receipt = front.trigger("replica", reference).await.unwrap();
        assert_eq!(receipt.state, ReplicaState::Present);
        assert_eq!(
            (receipt.source.to_string(), &receipt.source),
            (reference.to_owned(), &receipt.target)
        );
    }
    let other = format!("{direct}@sha256:{}", "b".repeat(64));
    for reference in [other.as_str(), "registry.corp/mirror/elsewhere:1"] {
        assert_eq!(
            front.trigger("start", reference).await.unwrap_err().code,
            RefusalCode::NotFound
        );
        assert_eq!(front.ledger.find(&reference.parse().unwrap()).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_refused_with_the_reason() {
    let front = Front::start().await;
    let error = front.ask("v1/replica/shop/nginx:1", "secret").await.unwrap_err();
    let refusal = Refusal::find(&error).unwrap();
    assert_eq!(refusal.code, RefusalCode::Malformed);
    assert!(refusal.message.contains("is not a trigger"), "{}", refusal.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_learns_nothing() {
    let front = Front::start().await;
    let error =
        front.ask("v1/replica/shop/tag/docker.io/library/nginx:1", "wrong").await.unwrap_err();
    assert!(error.starts_with("Not authorized"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_hundred_questions_at_once_get_their_own_answers() {
    let front = Arc::new(Front::start().await);
    let asked: Vec<_> = (0..100)
        .map(|number| {
            let front = Arc::clone(&front);
            tokio::spawn(async move {
                (number, front.trigger("start", &format!("app-{number}:v{number}")).await)
            })
        })
        .collect();
    for answer in asked {
        let (number, receipt) = answer.await.unwrap();
        let expected = format!("docker.io/library/app-{number}:v{number}");
        assert_eq!(receipt.unwrap().source.to_string(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_ends_when_it_is_told_to() {
    let Front { serving, stop, .. } = Front::start().await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_a_clear_refusal_and_what_is_known_is_answered_as_ever() {
    let front = Front::with_room_for(1).await;
    front.trigger("start", "nginx:1").await.unwrap();
    for verb in ["start", "replica"] {
        let refusal = front.trigger(verb, "nginx:2").await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_s), (RefusalCode::TooMany, Some(10)));
        assert!(refusal.message.contains("1 images wait"), "{}", refusal.message);
    }
    assert_eq!(front.trigger("replica", "nginx:1").await.unwrap_err().code, RefusalCode::Pending);
    front.copy_next().await;
    assert_eq!(front.trigger("start", "nginx:2").await.unwrap().state, ReplicaState::Copying);
    assert_eq!(front.trigger("replica", "nginx:1").await.unwrap().state, ReplicaState::Present);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_in_the_audit_record_with_who_asked() {
    let front = Front::start().await;
    front.trigger("start", "nginx:1.27").await.unwrap();
    front.trigger("replica", "nginx:1.27").await.unwrap_err();
    front.ask("v1/replica/shop/nginx:1", "secret").await.unwrap_err();
    front.ask("v1/replica/shop/tag/docker.io/library/nginx:1", "wrong").await.unwrap_err();
    let lines = front.recorded.lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            ["kind", "caller", "namespace", "source", "result"].map(|key| line[key].as_str())
        })
        .collect();
    let nginx = Some("docker.io/library/nginx:1.27");
    let asked = |source: Option<&'static str>, result| {
        [Some("decision"), Some("policy"), source.map(|_| "shop"), source, Some(result)]
    };
    assert_eq!(told, [asked(nginx, "copying"), asked(nginx, "pending"), asked(None, "malformed")]);
}
