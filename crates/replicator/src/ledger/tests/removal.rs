//! How replicas are taken away, seen from those who ask.

use protocol::TargetRoot;

use super::*;
use crate::ledger::record::Removal;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        what_is_leaving_is_not_there_and_gone_when_that_has_ended,
        what_is_asked_for_while_it_leaves_is_copied_once_that_has_ended,
        what_stays_after_all_is_there_again,
        who_dies_leaves_what_is_looked_at_before_it_is_told_to_be_there,
        nothing_is_copied_into_a_repository_that_is_held,
        requests_that_are_lost_are_written_down,
        one_replicator_prunes_at_a_time,
    );
}

/// A ledger with one image that is there, and what takes it away.
async fn leaving(store: &Fixture) -> (Ledger, Ticket) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    let leaving = ledger.retire(&present).await.unwrap().unwrap();
    assert_eq!(ledger.retire(&present).await.unwrap(), None, "it has changed since");
    (ledger, leaving.ticket().unwrap())
}

async fn state(ledger: &Ledger) -> Option<State> {
    ledger.find(&source("1")).await.unwrap().map(|record| record.state)
}

async fn what_is_leaving_is_not_there_and_gone_when_that_has_ended(store: &Fixture) {
    let (ledger, ticket) = leaving(store).await;
    assert_eq!(state(&ledger).await, Some(State::Wanted));
    assert_eq!(claim(&ledger).await, None, "nobody copies it meanwhile");
    let tickets = [ticket.clone()];
    assert_eq!(ledger.leaving(&tickets).await.unwrap(), tickets);
    assert_eq!(ledger.end_removal(ticket.clone(), Removal::Gone).await.unwrap(), None);
    assert_eq!(state(&ledger).await, None);
    for table in ["replicas", "requests"] {
        assert_eq!(store.rows(&format!("SELECT source FROM {table}")).await.len(), 0, "{table}");
    }
    assert_eq!(ledger.end_removal(ticket, Removal::Kept).await.unwrap(), None);
    ledger.want(ask("1")).await.unwrap();
    work_once(&ledger, copied()).await;
    let copies = store.rows("SELECT claim, result FROM copies ORDER BY claim").await;
    assert_eq!(copies, ["1 copied", "2 copied"], "what it was before stays on record");
}

async fn what_is_asked_for_while_it_leaves_is_copied_once_that_has_ended(store: &Fixture) {
    let (ledger, ticket) = leaving(store).await;
    let wanted = ledger.want(ask("1")).await.unwrap();
    assert_eq!(wanted.state, State::Copying);
    assert_eq!(claim(&ledger).await, None);
    assert!(ledger.leaving(std::slice::from_ref(&ticket)).await.unwrap().is_empty());
    let left = ledger.end_removal(ticket, Removal::Gone).await.unwrap().unwrap();
    assert_eq!((left.state, &left.digest), (State::Wanted, &None));
    assert_eq!(claim(&ledger).await.as_deref(), Some("1"));
}

async fn what_stays_after_all_is_there_again(store: &Fixture) {
    let (ledger, ticket) = leaving(store).await;
    ledger.end_removal(ticket, Removal::Kept).await.unwrap().unwrap();
    assert_eq!(state(&ledger).await, Some(State::Present));
    assert_eq!(claim(&ledger).await, None);
}

async fn who_dies_leaves_what_is_looked_at_before_it_is_told_to_be_there(store: &Fixture) {
    let (ledger, ticket) = leaving(store).await;
    drop(ledger);
    store.pass(TEST_LEASE).await;
    let ledger = store.open().await;
    assert_eq!(claim(&ledger).await.as_deref(), Some("1"));
    assert_eq!(ledger.end_removal(ticket, Removal::Gone).await.unwrap(), None, "it is another's");
    assert_eq!(state(&ledger).await, Some(State::Copying));
}

async fn nothing_is_copied_into_a_repository_that_is_held(store: &Fixture) {
    let ledger = store.open().await;
    let root: TargetRoot = "registry.corp".parse().unwrap();
    let repository = root.repository_of(&target("1")).unwrap();
    let other = Ask {
        source: "nginx-unprivileged:1".parse().unwrap(),
        wish: Wish {
            target: "registry.corp/docker.io/library/nginx-unprivileged:1".parse().unwrap(),
            ..ask("1").wish
        },
        ..ask("1")
    };
    assert!(ledger.hold(&repository).await.unwrap());
    ledger.want(ask("1")).await.unwrap();
    assert_eq!(claim(&ledger).await, None);
    ledger.want(other).await.unwrap();
    assert_eq!(claim(&ledger).await.as_deref(), Some("1"), "its name only begins like that");
    ledger.release(&repository).await.unwrap();
    assert_eq!(claim(&ledger).await.as_deref(), Some("1"));
    assert!(!ledger.hold(&repository).await.unwrap(), "a copy is under way there");
    // Who gives no sign of life holds nothing.
    drop(ledger);
    store.pass(TEST_LEASE).await;
    let ledger = store.open().await;
    assert_eq!(claim(&ledger).await.as_deref(), Some("1"));
}

async fn requests_that_are_lost_are_written_down(store: &Fixture) {
    let ledger = store.open().await;
    live(&ledger).await;
    assert_eq!(ledger.picture().await.unwrap().requests_lost_at, None);
    for number in 0..10_001 {
        ledger.note(&source(&number.to_string()), &asker("shop"));
    }
    live(&ledger).await;
    let lost_at = ledger.picture().await.unwrap().requests_lost_at;
    assert_eq!(lost_at, Some(ledger.now()));
    store.pass(Duration::from_secs(5)).await;
    if !store.is_shared() {
        // A process that did not end in order has lost what it had counted.
        drop(ledger);
        let ledger = store.open().await;
        assert_eq!(ledger.picture().await.unwrap().requests_lost_at, Some(ledger.now()));
        ledger.close().await;
        store.pass(Duration::from_secs(5)).await;
        let lost_at = ledger.picture().await.unwrap().requests_lost_at;
        drop(ledger);
        let ledger = store.open().await;
        assert_eq!(ledger.picture().await.unwrap().requests_lost_at, lost_at);
    }
}

async fn one_replicator_prunes_at_a_time(store: &Fixture) {
    let ledger = store.open().await;
    ledger.begin_prune().await.unwrap();
    if store.is_shared() {
        let other = store.open().await;
        assert!(matches!(other.begin_prune().await, Err(LedgerError::Held)));
        ledger.end_prune().await.unwrap();
        other.begin_prune().await.unwrap();
        store.pass(TEST_LEASE).await;
        live(&ledger).await;
        ledger.begin_prune().await.unwrap();
    }
}

/// The grace is over when each replicator has heard, and no sooner.
#[tokio::test(flavor = "multi_thread")]
async fn each_replicator_has_heard_when_the_grace_is_over() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "grace").await;
    let (one, other) = (store.open().await, store.open().await);
    one.want(ask("1")).await.unwrap();
    let present = work_once(&one, copied()).await;
    assert_eq!(other.find(&source("1")).await.unwrap(), Some(Arc::clone(&present)));
    one.retire(&present).await.unwrap().unwrap();
    assert_eq!(state(&other).await, Some(State::Present), "it remembers");
    let waiting = {
        let one = one.clone();
        tokio::spawn(async move { one.grace().await })
    };
    for _ in 0..4 {
        live(&one).await;
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!waiting.is_finished(), "the other one has said nothing");
    other.note(&source("1"), &asker("late"));
    let mut signs = 0;
    while !waiting.is_finished() && signs < 100 {
        live(&one).await;
        live(&other).await;
        signs += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(waiting.await.unwrap().unwrap());
    assert_eq!(state(&other).await, Some(State::Wanted), "nobody needs to ask for that");
    let namespaces = store.rows("SELECT namespace FROM requests ORDER BY namespace").await;
    assert_eq!(namespaces, ["late", "shop"]);
}
