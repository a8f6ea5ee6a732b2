//! Notifications on the wire: to receivers that take them, refuse them, or say nothing.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::{RefusalCode, Side};
use registry::Poster;

use super::address::Address;
use super::receiver::Secrets;
use super::testing::{Reply, ScriptedReceiver};
use super::*;
use crate::clock::Timestamp;
use crate::ledger::record::{Failure, Record, Settlement};
use crate::ledger::testing::asker;
use crate::ledger::work::{Ask, Owner, Priority, Wish};
use crate::watch::Held;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Times that fit a test: no pause worth speaking of, and nothing given up.
const SOON: Pace = Pace {
    waiting: 100,
    answer: Duration::from_secs(60),
    give_up: Duration::from_secs(600),
    first_pause: Duration::from_millis(1),
    last_pause: Duration::from_millis(5),
    closing: Duration::from_secs(60),
};

/// A notifier, what sends for it, and what is counted.
struct Scene {
    notifier: Notifier,
    deliveries: Deliveries,
    metrics: Metrics,
}

impl Scene {
    fn of(receivers: Vec<Receiver>, pace: Pace) -> Self {
        let metrics = Metrics::default();
        // Each look at the clock is a second later.
        let seconds = AtomicI64::new(1_000);
        let tick = move || Timestamp::from_ms(seconds.fetch_add(1, Ordering::Relaxed) * 1_000);
        let target = "registry.corp/mirror".parse().unwrap();
        let (notifier, deliveries) =
            Notifier::paced(receivers, &target, &metrics, &Clock::of(tick), pace);
        Self { notifier, deliveries, metrics }
    }

    /// Tells that the replica of `app:TAG` was copied.
    fn copied(&self, tag: usize) {
        let digest = testkit::digest_of(b"manifest");
        self.tell(tag, &Settlement::Copied { digest, size_bytes: 9, contents: None, charge: None });
    }

    fn tell(&self, tag: usize, settlement: &Settlement) {
        let at = Timestamp::from_ms(1_000_000);
        let target = format!("registry.corp/mirror/r.example/app:{tag}").parse().unwrap();
        let wish = Wish { target, priority: Priority::Now, max_age: None };
        let source = format!("r.example/app:{tag}").parse().unwrap();
        let wanted = Record::wanted(Ask { source, wish, asker: asker("shop") }, 0, at);
        let before = wanted.claim(Owner::random(), at).unwrap();
        let ticket = before.ticket().unwrap();
        let after = before.clone().settle(&ticket, settlement.clone(), 0, at);
        self.notifier.tell(&Ending {
            at,
            before: &before,
            after: after.as_ref(),
            rule: None,
            settlement,
            took: Duration::ZERO,
            bytes_moved: 9,
        });
    }

    /// Waits until all is sent, or given up, and returns how often each result was counted.
    async fn results(self, receiver: &str) -> [u64; 3] {
        self.notifier.close(self.deliveries).await;
        counted(&self.metrics, receiver)
    }
}

/// Delivered, failed, dropped.
fn counted(metrics: &Metrics, receiver: &str) -> [u64; 3] {
    let text = metrics.counted();
    ["delivered", "failed", "dropped"].map(|result| {
        let name = "image_replicator_notifications_total";
        let begin = format!("{name}{{receiver=\"{receiver}\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap().parse().unwrap()
    })
}

fn secrets(text: &str) -> Secrets {
    Secrets::parse(text).unwrap()
}

#[tokio::test]
async fn a_notification_is_a_signed_cloudevent() {
    let receiver = ScriptedReceiver::start([]).await;
    let held = Held::channel(secrets(SECRET)).1;
    let scene = Scene::of(vec![receiver.receiver("scanner", Some(held))], SOON);
    scene.copied(1);
    assert_eq!(scene.results("scanner").await, [1, 0, 0]);
    let [heard] = &receiver.heard()[..] else { panic!("one is heard") };
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.header("content-type"), "application/cloudevents+json");
    let event = heard.event();
    assert_eq!(event["type"], "io.image-replicator.replica.copied.v1");
    assert_eq!(event["source"], "oci://registry.corp/mirror");
    assert_eq!(event["subject"], "r.example/app:1");
    assert_eq!(event["id"], heard.header("webhook-id"));
    assert_eq!(heard.header("webhook-timestamp"), "1000");
    let signature = secrets(SECRET).sign(heard.header("webhook-id"), 1000, &heard.body);
    assert_eq!(heard.header("webhook-signature"), signature);
}

#[tokio::test]
async fn without_a_secret_there_is_no_signature() {
    let receiver = ScriptedReceiver::start([]).await;
    let scene = Scene::of(vec![receiver.receiver("scanner", None)], SOON);
    scene.copied(1);
    let heard = receiver.hears(1).await;
    assert!(!heard[0].headers.contains_key("webhook-signature"));
    assert!(heard[0].headers.contains_key("webhook-id"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_under_the_same_id() {
    let answers = [503, 429, 401, 404].map(Reply::status);
    let receiver = ScriptedReceiver::start(answers).await;
    let held = Held::channel(secrets(SECRET)).1;
    let scene = Scene::of(vec![receiver.receiver("scanner", Some(held))], SOON);
    scene.copied(1);
    scene.copied(2);
    assert_eq!(scene.results("scanner").await, [2, 0, 0]);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 6);
    let (first, next) = (&heard[0], &heard[5]);
    for (tried, time_s) in heard[..5].iter().zip(1_000..) {
        assert_eq!(tried.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(tried.body, first.body);
        // A receiver takes no old signature: each try has one of its own time.
        let signature = secrets(SECRET).sign(tried.header("webhook-id"), time_s, &tried.body);
        assert_eq!(tried.header("webhook-signature"), signature);
    }
    assert_ne!(next.header("webhook-id"), first.header("webhook-id"));
}

#[tokio::test]
async fn what_will_not_pass_is_given_up_and_the_next_is_sent() {
    let receiver = ScriptedReceiver::start([400, 410].map(Reply::status)).await;
    let scene = Scene::of(vec![receiver.receiver("scanner", None)], SOON);
    (1..=3).for_each(|tag| scene.copied(tag));
    assert_eq!(scene.results("scanner").await, [1, 2, 0]);
    assert_eq!(receiver.heard().len(), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedReceiver::start([]).await;
    let redirects =
        [301, 302, 307, 308].map(|status| Reply::Status(status, "location", elsewhere.url("http")));
    let receiver = ScriptedReceiver::start(redirects).await;
    let scene = Scene::of(vec![receiver.receiver("scanner", None)], SOON);
    (1..=4).for_each(|tag| scene.copied(tag));
    assert_eq!(scene.results("scanner").await, [0, 4, 0]);
    assert_eq!((receiver.heard().len(), elsewhere.heard().len()), (4, 0));
}

#[tokio::test]
async fn what_is_too_old_is_given_up() {
    let receiver = ScriptedReceiver::start(vec![Reply::status(503); 1_000]).await;
    let pace = Pace { give_up: Duration::from_millis(50), ..SOON };
    let scene = Scene::of(vec![receiver.receiver("scanner", None)], pace);
    scene.copied(1);
    assert_eq!(scene.results("scanner").await, [0, 1, 0]);
    assert!(!receiver.heard().is_empty());
}

#[tokio::test]
async fn a_receiver_that_says_nothing_holds_up_nobody_and_loses_what_does_not_fit() {
    let silent = ScriptedReceiver::start([Reply::Silence]).await;
    let well = ScriptedReceiver::start([]).await;
    let pace = Pace { waiting: 4, closing: Duration::from_millis(50), ..SOON };
    let receivers = vec![silent.receiver("silent", None), well.receiver("well", None)];
    let scene = Scene::of(receivers, pace);
    scene.copied(0);
    silent.hears(1).await;
    // One is on its way, four wait, and the rest has no place.
    for tag in 1..=10 {
        scene.copied(tag);
        well.hears(tag + 1).await;
    }
    let metrics = scene.metrics.clone();
    assert_eq!(counted(&metrics, "silent"), [0, 0, 6]);
    // At the end the rest is counted, too.
    assert_eq!(scene.results("silent").await, [0, 0, 11]);
    assert_eq!(counted(&metrics, "well"), [11, 0, 0]);
}

#[tokio::test]
async fn a_receiver_hears_only_what_it_asked_for() {
    let receiver = ScriptedReceiver::start([]).await;
    let refused = Receiver {
        events: vec![serde_json::from_str("\"refused\"").unwrap()],
        ..receiver.receiver("scanner", None)
    };
    let scene = Scene::of(vec![refused], SOON);
    scene.copied(1);
    let (code, side, message) = (RefusalCode::NotFound, Side::Source, "no such image".to_owned());
    let failure = Failure { code, side, message, is_lasting: true };
    scene.tell(2, &Settlement::Failed { failure, not_before: Duration::ZERO });
    assert_eq!(scene.results("scanner").await, [1, 0, 0]);
    let event = receiver.heard()[0].event();
    assert_eq!(event["data"]["failure"]["code"], "not-found");
}

#[tokio::test]
async fn a_changed_secret_is_used_from_then_on() {
    let receiver = ScriptedReceiver::start([]).await;
    let (change, held) = Held::channel(secrets(SECRET));
    let scene = Scene::of(vec![receiver.receiver("scanner", Some(held))], SOON);
    scene.copied(1);
    receiver.hears(1).await;
    change.send_replace(Arc::new(secrets(&format!("{NEXT_SECRET}\n{SECRET}"))));
    scene.copied(2);
    let heard = receiver.hears(2).await;
    let signed = |secret: &str, index: usize, time_s| {
        secrets(secret).sign(heard[index].header("webhook-id"), time_s, &heard[index].body)
    };
    assert_eq!(heard[0].header("webhook-signature"), signed(SECRET, 0, 1_000));
    let both = format!("{} {}", signed(NEXT_SECRET, 1, 1_001), signed(SECRET, 1, 1_001));
    assert_eq!(heard[1].header("webhook-signature"), both);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let receiver = ScriptedReceiver::start([Reply::Endless]).await;
    let scene = Scene::of(vec![receiver.receiver("scanner", None)], SOON);
    scene.copied(1);
    assert_eq!(scene.results("scanner").await, [1, 0, 0]);
}

#[tokio::test]
async fn a_receiver_is_known_by_its_own_authority() {
    let certificates = testkit::Certificates::new();
    let receiver = ScriptedReceiver::with_tls(&certificates).await;
    let address = Address::parse(&receiver.url("https"), false).unwrap();
    let known_by = |name: &str, pem: &str| Receiver {
        address: address.clone(),
        poster: Held::channel(Poster::new(Some(pem.as_bytes())).unwrap()).1,
        ..receiver.receiver(name, None)
    };
    let other = testkit::Certificates::new().ca_pem;
    let receivers = vec![known_by("known", &certificates.ca_pem), known_by("stranger", &other)];
    let pace = Pace { give_up: Duration::from_millis(200), ..SOON };
    let scene = Scene::of(receivers, pace);
    scene.copied(1);
    let metrics = scene.metrics.clone();
    assert_eq!(scene.results("known").await, [1, 0, 0]);
    assert_eq!(counted(&metrics, "stranger"), [0, 1, 0]);
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn case_40_a_receiver_is_no_way_to_metadata() {
    let poster = Poster::new(None).unwrap();
    let url = "http://169.254.169.254/latest".parse().unwrap();
    let (headers, limit) = (http::HeaderMap::new(), Duration::from_secs(60));
    let error = poster.post(&url, headers, bytes::Bytes::new(), limit).await.unwrap_err();
    assert!(error.contains("never asked"), "{error}");
}

/// A receiver as `docs/notifications.md` has it, with a stand-in for the scanner.
#[tokio::test]
async fn the_example_scans_each_replica_once_and_believes_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("secret"), SECRET).unwrap();
    std::fs::write(path("scanner"), "#!/bin/sh\necho \"$@\" >> \"$0.log\"\n").unwrap();
    std::fs::set_permissions(path("scanner"), Permissions::from_mode(0o755)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/notifications/scan.py");
    let _running = tokio::process::Command::new("python3")
        .args([example, &port.to_string(), &path("scanner").display().to_string(), "image"])
        .env("SECRET_FILE", path("secret"))
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let receiver = |name: &str, secret: &str| Receiver {
        name: name.parse().unwrap(),
        address: Address::parse(&format!("http://127.0.0.1:{port}/"), true).unwrap(),
        events: Kind::ALL.into(),
        secrets: Some(Held::channel(secrets(secret)).1),
        poster: Held::channel(Poster::new(None).unwrap()).1,
    };
    // Twice the same events, as if an answer had been lost.
    let receivers =
        ["first", "again"].map(|name| receiver(name, &format!("{NEXT_SECRET}\n{SECRET}")));
    let metrics = Metrics::default();
    let target = "registry.corp/mirror".parse().unwrap();
    let begin = |receivers: Vec<_>, pace| {
        let (notifier, deliveries) =
            Notifier::paced(receivers, &target, &metrics, &Clock::wall(), pace);
        Scene { notifier, deliveries, metrics: metrics.clone() }
    };
    let scene = begin(receivers.into(), SOON);
    (1..=2).for_each(|tag| scene.copied(tag));
    assert_eq!(scene.results("first").await, [2, 0, 0]);
    assert_eq!(counted(&metrics, "again"), [2, 0, 0]);
    let pace = Pace { give_up: Duration::from_millis(200), ..SOON };
    let impostor = begin(vec![receiver("impostor", NEXT_SECRET)], pace);
    impostor.copied(3);
    assert_eq!(impostor.results("impostor").await, [0, 1, 0]);

    let log = path("scanner.log");
    let scanned = || std::fs::read_to_string(&log).unwrap_or_default();
    while scanned().lines().count() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let digest = testkit::digest_of(b"manifest");
    let line = format!("image registry.corp/mirror/r.example/app@{digest}\n");
    assert_eq!(scanned(), line.repeat(2));
}
