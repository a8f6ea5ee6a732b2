//! What people ask of the ledger: how things stand, and the inventory.

use std::collections::BTreeMap;

use protocol::TargetRoot;

use super::*;
use crate::ledger::contents::Contents;
use crate::ledger::inventory::{Cursor, Filter, MAX_PAGE, Seen};
use crate::ledger::uses::{Running, Sighting, Use};

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        an_overview_has_what_waits_what_failed_and_who_asked,
        a_retry_waits_at_once_and_once,
        the_inventory_comes_in_pages_with_what_runs_unreplicated_first,
        filters_leave_what_fits,
        what_a_copy_saw_is_kept_until_another_one_sees_more,
        first_and_last_are_known_when_the_requests_are_forgotten,
    );
}

/// How long requests are kept, and a little more.
const FORGOTTEN: Duration = Duration::from_secs(91 * 24 * 60 * 60);

fn root() -> TargetRoot {
    "registry.corp".parse().unwrap()
}

async fn present(ledger: &Ledger, tag: &str) {
    ledger.want(ask(tag)).await.unwrap();
    work_once(ledger, copied()).await;
}

fn tags(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.source.tag().unwrap().as_str()).collect()
}

async fn an_overview_has_what_waits_what_failed_and_who_asked(store: &Fixture) {
    let ledger = store.open().await;
    present(&ledger, "present").await;
    for tag in ["first", "second"] {
        ledger.want(ask(tag)).await.unwrap();
        work_once(&ledger, refused()).await;
        store.pass(Duration::from_secs(1)).await;
    }
    ledger.want(ask("failed")).await.unwrap();
    work_once(&ledger, failed("it is down", Duration::ZERO)).await;
    ledger.want(ask("copying")).await.unwrap();
    ledger.claim(usize::MAX).await.unwrap().unwrap();
    let other = Ask { asker: asker("cart"), ..ask("waiting") };
    ledger.want(other).await.unwrap();
    ledger.want(ask("waiting")).await.unwrap();
    ledger.note(&source("waiting"), &asker("shop"));
    housekeeping::live(&ledger.shared, &ledger.commands).await;

    let overview = ledger.overview().await.unwrap();
    assert_eq!(overview.leased, 1);
    assert_eq!(tags(&overview.copying), ["copying"]);
    assert_eq!(tags(&overview.waiting), ["waiting"]);
    assert_eq!(overview.askers.of(&overview.waiting[0]), ["cart", "shop"]);
    // The newest first.
    assert_eq!(tags(&overview.failed), ["failed", "second", "first"]);
    assert!(overview.stale.is_empty());
    let count =
        |state| overview.figures.states.iter().find(|(other, _)| *other == state).unwrap().1;
    assert_eq!((count(State::Present), count(State::Refused), count(State::Failed)), (1, 2, 1));
}

async fn a_retry_waits_at_once_and_once(store: &Fixture) {
    let ledger = store.open().await;
    assert_eq!(ledger.retry(&source("never")).await.unwrap(), None);
    ledger.want(ask("refused")).await.unwrap();
    work_once(&ledger, refused()).await;
    ledger.want(ask("failed")).await.unwrap();
    work_once(&ledger, failed("later", Duration::from_secs(3_000))).await;
    for tag in ["refused", "failed"] {
        let before = ledger.find(&source(tag)).await.unwrap().unwrap();
        let after = ledger.retry(&source(tag)).await.unwrap().unwrap();
        assert!(matches!(after.work, work::Work::Waiting { .. }), "{after:?}");
        // What people are told does not flicker.
        assert_eq!((after.state, &after.failure), (before.state, &before.failure));
        // It waits already.
        assert_eq!(ledger.retry(&source(tag)).await.unwrap().unwrap().revision, after.revision);
    }
    assert_eq!(claim(&ledger).await.as_deref(), Some("refused"));
    // It is worked on already.
    let leased = ledger.retry(&source("refused")).await.unwrap().unwrap();
    assert!(matches!(leased.work, work::Work::Leased { .. }), "{leased:?}");
    assert_eq!(claim(&ledger).await.as_deref(), Some("failed"));
}

/// Those of `filter`, page by page.
async fn all(ledger: &Ledger, filter: &Filter, limit: u32) -> Vec<Seen> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ledger.images(&root(), filter, after, limit).await.unwrap();
        assert!(page.images.len() <= limit as usize);
        all.extend(page.images);
        match page.next {
            // As a client has it.
            Some(next) => after = Some(next.to_string().parse::<Cursor>().unwrap()),
            None => return all,
        }
    }
}

fn names(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.image.to_string()).collect()
}

fn used(image: &str, namespace: &str, pods: u64) -> (Use, u64) {
    let image = image.parse().unwrap();
    (Use { image, namespace: namespace.parse().unwrap(), digest: None }, pods)
}

async fn see(ledger: &Ledger, running: impl IntoIterator<Item = (Use, u64)>) {
    let running: Running = running.into_iter().collect();
    ledger.see(Sighting::Cluster(running), ledger.now()).await.unwrap();
}

async fn the_inventory_comes_in_pages_with_what_runs_unreplicated_first(store: &Fixture) {
    let ledger = store.open().await;
    for tag in ["1", "2", "3"] {
        present(&ledger, tag).await;
    }
    let before = all(&ledger, &Filter::default(), MAX_PAGE).await;
    assert_eq!(names(&before), ["1", "2", "3"].map(|tag| source(tag).to_string()));
    // Nobody watches pods.
    assert!(before.iter().all(|seen| seen.in_use.is_none() && seen.unreplicated.is_none()));

    see(
        &ledger,
        [
            used("registry.corp/docker.io/library/nginx:1", "shop", 2),
            used("nginx:3", "cart", 1),
            used("registry.corp/docker.io/library/nginx:3", "shop", 1),
            used("quay.io/else/where:1", "cart", 4),
        ],
    )
    .await;
    let expected: Vec<_> = [
        ("nginx:3", Some(2), Some(true)),
        ("quay.io/else/where:1", Some(4), Some(true)),
        ("nginx:1", Some(2), Some(false)),
        ("nginx:2", Some(0), Some(false)),
    ]
    .map(|(image, in_use, unreplicated)| {
        (image.parse::<ImageReference>().unwrap(), in_use, unreplicated)
    })
    .into();
    for limit in 1..=5 {
        let seen = all(&ledger, &Filter::default(), limit).await;
        let seen: Vec<_> =
            seen.into_iter().map(|seen| (seen.image, seen.in_use, seen.unreplicated)).collect();
        assert_eq!(seen, expected, "{limit} on a page");
    }
    // Of an old picture nobody can tell what is not in use any more.
    store.pass(Duration::from_secs(3_600)).await;
    let old = all(&ledger, &Filter::default(), MAX_PAGE).await;
    let in_use: Vec<_> = old.iter().map(|seen| seen.in_use).collect();
    assert_eq!(in_use, [Some(2), Some(4), Some(2), None]);
}

async fn filters_leave_what_fits(store: &Fixture) {
    let ledger = store.open().await;
    present(&ledger, "1").await;
    present(&ledger, "A_B").await;
    ledger.want(Ask { asker: asker("cart"), ..ask("refused") }).await.unwrap();
    work_once(&ledger, refused()).await;
    let outside = used("quay.io/else/where:1", "cart", 4);
    see(&ledger, [used("registry.corp/docker.io/library/nginx:1", "shop", 1), outside]).await;
    let found = async |filter: Filter| {
        let seen = all(&ledger, &filter, 1).await;
        let tag = |seen: &Seen| seen.image.to_string().rsplit(':').next().unwrap().to_owned();
        seen.iter().map(tag).collect::<Vec<_>>().join(" ")
    };
    let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
    let cart = Filter { namespace: Some("cart".parse().unwrap()), ..Filter::default() };
    let is = |unreplicated, in_use| Filter { unreplicated, in_use, ..Filter::default() };
    assert_eq!(found(cart).await, "1 refused");
    assert_eq!(found(search("a_b")).await, "A_B");
    assert_eq!(found(search("WHERE")).await, "1");
    // What means something in LIKE is text like any other.
    assert_eq!(found(search("%")).await, "");
    assert_eq!(found(search("n_inx")).await, "");
    assert_eq!(found(search("' OR 1=1 --")).await, "");
    assert_eq!(found(Filter { state: Some(State::Refused), ..Filter::default() }).await, "refused");
    assert_eq!(found(is(Some(true), None)).await, "1");
    assert_eq!(found(is(Some(false), Some(true))).await, "1");
    assert_eq!(found(is(None, Some(false))).await, "A_B refused");
    assert_eq!(found(is(Some(true), Some(false))).await, "");
}

async fn what_a_copy_saw_is_kept_until_another_one_sees_more(store: &Fixture) {
    let ledger = store.open().await;
    let settled = |contents| match copied() {
        Settlement::Copied { digest, size_bytes, .. } => {
            Settlement::Copied { digest, size_bytes, contents, charge: None }
        }
        other => other,
    };
    let contents = |referrers: Option<BTreeMap<String, u64>>| Contents {
        platforms: vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()],
        is_signed: referrers.as_ref().map(|referrers| !referrers.is_empty()),
        referrers,
    };
    let known = async || {
        let found = ledger.image(&root(), &source("1")).await.unwrap().unwrap();
        found.seen.contents
    };
    ledger.want(ask("1")).await.unwrap();
    work_once(&ledger, settled(Some(contents(None)))).await;
    assert_eq!(known().await, Some(contents(None)));
    let signed = contents(Some([("signature".to_owned(), 2), ("sbom".to_owned(), 1)].into()));
    for contents in [Some(signed.clone()), None] {
        ledger.retry(&source("1")).await.unwrap();
        work_once(&ledger, settled(contents)).await;
        // A look that found it current saw nothing of it.
        assert_eq!(known().await, Some(signed.clone()));
    }
    let found = ledger.image(&root(), &source("1")).await.unwrap().unwrap();
    assert_eq!(found.copies.len(), 3);
    assert_eq!(found.requests[0].namespace, "shop");
    assert!(ledger.image(&root(), &source("2")).await.unwrap().is_none());
}

async fn first_and_last_are_known_when_the_requests_are_forgotten(store: &Fixture) {
    let ledger = store.open().await;
    let begin = ledger.now();
    present(&ledger, "1").await;
    store.pass(Duration::from_secs(60)).await;
    let later = ledger.now();
    ledger.note(&source("1"), &asker("cart"));
    housekeeping::live(&ledger.shared, &ledger.commands).await;
    let asked = async || {
        let found = ledger.image(&root(), &source("1")).await.unwrap().unwrap();
        (found.seen.asked, found.seen.namespaces, found.requests.len())
    };
    let both = vec!["cart".to_owned(), "shop".to_owned()];
    assert_eq!(asked().await, (Some((begin, later)), both, 2));
    store.pass(FORGOTTEN).await;
    housekeeping::send(&ledger.commands, Action::Prune).await;
    // On whose behalf it was copied is known for ever.
    assert_eq!(asked().await, (Some((begin, later)), vec!["shop".to_owned()], 0));
    let now = ledger.now();
    ledger.note(&source("1"), &asker("cart"));
    housekeeping::live(&ledger.shared, &ledger.commands).await;
    assert_eq!(asked().await, (Some((begin, now)), vec!["cart".to_owned()], 1));
}
