use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::{ImageReference, Namespace, TargetRoot};

use super::*;
use crate::ledger::Ledger;
use crate::ledger::removal::Picture;
use crate::ledger::testing::{Fixture, asker};
use crate::ledger::uses::{Running, Sighting, Use};
use crate::ledger::work::{Ask, Priority, Wish};

mod life;
mod year;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn root(text: &str) -> Arc<TargetRoot> {
    Arc::new(text.parse().unwrap())
}

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn run_of(image: &str, pods: u64) -> (Use, u64) {
    (Use { image: image.parse().unwrap(), namespace: shop(), digest: None }, pods)
}

/// Asks for `source`, and has it copied as the image of that digit.
async fn copied(ledger: &Ledger, target: &TargetRoot, source: &str, digit: char) {
    let source: ImageReference = source.parse().unwrap();
    let wish = Wish {
        target: target.replica_of(&source).unwrap().reference,
        priority: Priority::Now,
        max_age: None,
    };
    ledger.want(Ask { source: source.clone(), wish, asker: asker("shop") }).await.unwrap();
    let settlement = crate::ledger::testing::copied_as(digit);
    crate::ledger::testing::work_once(ledger, settlement).await;
}

/// What would go, and what stays.
async fn plan(ledger: &Ledger, target: &Arc<TargetRoot>) -> (BTreeSet<String>, Vec<(String, Why)>) {
    let cutoff = UnusedFor::new(30 * DAY).unwrap().cutoff(ledger.now());
    let mut planner = Planner::new(ledger, target, cutoff).await.unwrap();
    let (mut unused, mut kept) = (BTreeSet::new(), Vec::new());
    while let Some(page) = planner.next().await.unwrap() {
        for group in page.unused {
            unused.extend(group.records.iter().map(|one| one.record.source.to_string()));
        }
        kept.extend(page.kept.into_iter().map(|kept| (kept.source.to_string(), kept.why)));
    }
    (unused, kept)
}

#[test]
fn nothing_is_decided_on_a_picture_that_is_not_whole_and_new() {
    let now = Timestamp::from_ms(10_000_000_000);
    let ago = |time: Duration| Some(UnusedFor(time).cutoff(now));
    let seen = |pods: Duration, lost: Option<Duration>| {
        let picture = Picture { pods_known_until: ago(pods), requests_lost_at: lost.and_then(ago) };
        check(picture, now)
    };
    assert_eq!(check(Picture::default(), now), Err(Blind::NoWatch));
    assert_eq!(seen(FRESH, None), Ok(()));
    let old = FRESH + Duration::from_millis(1);
    assert_eq!(seen(old, None), Err(Blind::OldPicture(old)));
    let recently = LEAST_UNUSED - Duration::from_millis(1);
    assert_eq!(seen(FRESH, Some(recently)), Err(Blind::RequestsLost(recently)));
    assert_eq!(seen(FRESH, Some(LEAST_UNUSED)), Ok(()));
    let said = Blind::NoWatch.to_string();
    assert!(said.contains("turn on `inventory.watch_pods`"), "{said}");
}

#[test]
fn a_time_is_neither_so_short_that_it_is_not_safe_nor_longer_than_is_remembered() {
    assert_eq!(UnusedFor::new(LEAST_UNUSED - Duration::from_secs(1)), None);
    assert_eq!(UnusedFor::new(LEAST_UNUSED), Some(UnusedFor(LEAST_UNUSED)));
    assert_eq!(UnusedFor::new(MOST_UNUSED + Duration::from_secs(1)), None);
    assert_eq!(UnusedFor::new(USUAL_UNUSED), Some(UnusedFor::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_by_any_name_stays_with_what_shares_its_manifest() {
    let store = Fixture::sqlite().await;
    let ledger = store.open().await;
    let target = root("registry.corp/mirror");
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let mirrored = "registry.corp/mirror/docker.io/library";
    for (source, digit) in [
        ("by-source:1", 'a'),
        ("by-target:1", 'a'),
        ("by-digest:1", 'b'),
        ("by-digest:same", 'b'),
        ("by-kubelet:1", 'c'),
        ("pinned:1", 'd'),
        ("unused:1", 'b'),
        ("unused:other", 'b'),
    ] {
        copied(&ledger, &target, source, digit).await;
    }
    let kept = format!("keeper@{}", digest("e"));
    copied(&ledger, &target, &kept, 'e').await;
    store.pass(100 * DAY).await;
    copied(&ledger, &target, "asked:1", 'f').await;
    let by_kubelet =
        Use { digest: Some(digest("c").parse().unwrap()), ..run_of("by-kubelet:moved", 1).0 };
    let running: Running = [
        run_of("by-source:1", 1),
        run_of(&format!("{mirrored}/by-target:1"), 1),
        run_of(&format!("{mirrored}/by-digest@{}", digest("b")), 1),
        run_of(&format!("{mirrored}/pinned:2@{}", digest("d")), 1),
        run_of(&format!("{mirrored}/keeper:digest-sha256-{}", "e".repeat(64)), 1),
        // The name of an image that is unused, elsewhere.
        run_of("elsewhere.example/library/unused:1", 1),
        (by_kubelet, 1),
    ]
    .into();
    ledger.see(Sighting::Cluster(running), ledger.now()).await.unwrap();
    let (unused, kept) = plan(&ledger, &target).await;
    let library = |names: &[&str]| {
        names.iter().map(|name| format!("docker.io/library/{name}")).collect::<BTreeSet<_>>()
    };
    assert_eq!(unused, library(&["unused:1", "unused:other"]));
    assert!(kept.iter().all(|(_, why)| *why == Why::Runs), "{kept:?}");
    assert_eq!(kept.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_or_ran_not_long_ago_stays_and_says_why() {
    not_long_ago(&Fixture::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_postgres() {
    let cluster = testkit::Postgres::start().expect("PostgreSQL is not installed");
    not_long_ago(&Fixture::postgres(&cluster, "retention").await).await;
}

async fn not_long_ago(store: &Fixture) {
    let ledger = store.open().await;
    let target = root("registry.corp/mirror");
    for source in ["asked:1", "asked:same", "ran:1", "gone:1"] {
        copied(&ledger, &target, source, 'a').await;
    }
    store.pass(80 * DAY).await;
    ledger.note(&"asked:1".parse().unwrap(), &asker("other"));
    crate::ledger::testing::live(&ledger).await;
    let ran: Running = [run_of("ran:1", 0)].into();
    ledger.see(Sighting::Changes(ran), ledger.now()).await.unwrap();
    let ran_at = ledger.now();
    store.pass(20 * DAY).await;
    let (unused, kept) = plan(&ledger, &target).await;
    assert_eq!(unused.into_iter().collect::<Vec<_>>(), ["docker.io/library/gone:1"]);
    let asked = "docker.io/library/asked:1".parse().unwrap();
    assert_eq!(
        kept,
        [
            ("docker.io/library/asked:same".to_owned(), Why::SharedWith(asked)),
            ("docker.io/library/ran:1".to_owned(), Why::Ran(ran_at)),
        ]
    );
    store.pass(11 * DAY).await;
    assert_eq!(plan(&ledger, &target).await.0.len(), 4, "all of them, in the end");
    let elsewhere = root("registry.corp/other");
    let (unused, kept) = plan(&ledger, &elsewhere).await;
    assert!(unused.is_empty() && kept.iter().all(|(_, why)| *why == Why::Elsewhere), "{kept:?}");
}
