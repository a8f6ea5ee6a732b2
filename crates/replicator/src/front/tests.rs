//! The front on the wire, asked by the client that the real host uses.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Receipt, Refusal, RefusalCode, ReplicaState, Side};
use tempfile::TempDir;

use super::api::Api;
use super::listener::Listener;
use super::testing::{self, api};
use crate::audit::testing::Recorded;
use crate::clock::Clock;
use crate::ledger::grant::{Finding, Identity, Verdict};
use crate::ledger::record::Settlement;
use crate::ledger::{Ledger, Settings};
use crate::metrics::Metrics;
use crate::rules::tests::rules;

mod callers;
mod crowds;

/// A front over a ledger of its own, without workers.
struct Front {
    ledger: Ledger,
    front: testing::Front,
    url: String,
    metrics: Metrics,
    recorded: Recorded,
    _directory: TempDir,
}

impl Deref for Front {
    type Target = testing::Front;

    fn deref(&self) -> &testing::Front {
        &self.front
    }
}

impl Front {
    async fn start() -> Self {
        Self::with_room_for(1_000).await
    }

    async fn with_room_for(max_waiting: u64) -> Self {
        Self::start_with(max_waiting, |_| {}).await
    }

    async fn start_with(max_waiting: u64, change: impl FnOnce(&mut Listener)) -> Self {
        Self::open(max_waiting, |_| {}, change).await
    }

    /// One whose API and listener are not the usual ones.
    async fn open(
        max_waiting: u64,
        adjust: impl FnOnce(&mut Api),
        change: impl FnOnce(&mut Listener),
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("ledger.db").display());
        let settings = Settings { max_waiting, ..Settings::new(url.parse().unwrap()) };
        let ledger = Ledger::open(settings, Clock::system()).await.unwrap();
        let recorded = Recorded::new();
        let mut api = Api {
            audit: recorded.audit.clone(),
            ..api(
                &ledger,
                "registry.corp/mirror",
                rules(
                    "[{name: bad, sources: docker.io/library/bad, deny: true},
                    {name: all, sources: docker.io/**, namespaces: [shop]}]",
                ),
            )
        };
        adjust(&mut api);
        let metrics = api.metrics.clone();
        let front = testing::Front::start_with(api, change).await;
        Self { ledger, front, url, metrics, recorded, _directory: directory }
    }

    /// Settles what waits first as a worker does that has copied it.
    async fn copy_next(&self) -> protocol::Digest {
        let claimed = self.ledger.claim(1).await.unwrap().unwrap();
        let (identity, verdict) = (Identity::Anonymous, Verdict::Allowed);
        let public = Finding { identity, verdict, changed_at: None };
        self.ledger.learn((&claimed.source).into(), public).await.unwrap();
        let digest: protocol::Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let copied = Settlement::Copied {
            digest: digest.clone(),
            size_bytes: 1,
            contents: None,
            charge: None,
        };
        self.ledger.settle(claimed.ticket().unwrap(), copied, 1, None).await.unwrap().unwrap();
        digest
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
async fn case_21_what_no_rule_allows_is_refused_and_leaves_no_trace() {
    let front = Front::start().await;
    let direct = "registry.corp/mirror/docker.io/library/bad:1";
    for (image, reason) in [
        ("quay.io/a/b:1", "no rule allows quay.io/a/b:1 in namespace shop"),
        ("docker.io/library/bad:1", "rule 'bad' denies docker.io/library/bad:1"),
        (direct, "rule 'bad' denies docker.io/library/bad:1"),
    ] {
        for verb in ["plan", "start", "replica"] {
            let refusal = front.trigger(verb, image).await.unwrap_err();
            assert_eq!((refusal.code, refusal.side), (RefusalCode::Denied, Some(Side::Replicator)));
            assert!(refusal.message.starts_with(reason), "{}", refusal.message);
        }
        assert_eq!(front.ledger.find(&image.parse().unwrap()).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_refused_with_the_reason() {
    let front = Front::start().await;
    let error = front.host.ask("v1/replica/shop/nginx:1", "secret").await.unwrap_err();
    let refusal = Refusal::find(&error).unwrap();
    assert_eq!(refusal.code, RefusalCode::Malformed);
    assert!(refusal.message.contains("is not a trigger"), "{}", refusal.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_learns_nothing() {
    let front = Front::start().await;
    let error =
        front.host.ask("v1/replica/shop/tag/docker.io/library/nginx:1", "wrong").await.unwrap_err();
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
    let Front { front: testing::Front { serving, stop, .. }, .. } = Front::start().await;
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
    front.host.ask("v1/replica/shop/nginx:1", "secret").await.unwrap_err();
    front.host.ask("v1/replica/shop/tag/docker.io/library/nginx:1", "wrong").await.unwrap_err();
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
