//! A database that fails, or is gone: known answers, and nothing lost.

use super::*;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        a_store_that_refuses_to_write_is_said_and_gone_on_with_later,
        a_clock_that_jumps_ahead_by_an_hour_loses_nothing,
        a_clock_that_is_set_back_by_an_hour_loses_nothing,
    );
}

/// As with a full disk, or one that has become read-only: what is read is there.
async fn a_store_that_refuses_to_write_is_said_and_gone_on_with_later(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    ledger.want(ask("2")).await.unwrap();
    let claimed = ledger.claim(1).await.unwrap().unwrap();
    let [forbid, allow] = if store.is_shared() {
        [
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full'; END $$; \
             CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON replicas EXECUTE FUNCTION refuse()",
            "DROP TRIGGER refused ON replicas",
        ]
    } else {
        [
            "CREATE TRIGGER no_insert BEFORE INSERT ON replicas BEGIN SELECT RAISE(ABORT, 'disk full'); END; \
             CREATE TRIGGER no_update BEFORE UPDATE ON replicas BEGIN SELECT RAISE(ABORT, 'disk full'); END",
            "DROP TRIGGER no_insert; DROP TRIGGER no_update",
        ]
    };
    store.run(forbid).await;
    let error = ledger.want(ask("3")).await.unwrap_err().to_string();
    assert!(error.contains("disk full"), "{error}");
    assert!(!ledger.is_writable());
    assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(present));
    let ticket = claimed.ticket().unwrap();
    ledger.settle(ticket.clone(), copied(), 1, None).await.unwrap_err();

    store.run(allow).await;
    assert!(ledger.settle(ticket, copied(), 1, None).await.unwrap().is_some());
    assert!(ledger.is_writable());
    assert_eq!(ledger.want(ask("3")).await.unwrap().state, State::Wanted);
}

const HOUR: Duration = Duration::from_secs(3_600);

/// A ledger with one replica there, one copy failed, one under way and one that waits. Its process
/// is gone: within one, a clock that is set changes nothing.
async fn in_the_middle_of_all(store: &Fixture) {
    let ledger = store.open().await;
    for (tag, settlement) in [("there", copied()), ("failed", failed("down", Duration::ZERO))] {
        ledger.want(ask(tag)).await.unwrap();
        work_once(&ledger, settlement).await;
    }
    for tag in ["under way", "waits"] {
        ledger.want(ask(&tag.replace(' ', "-"))).await.unwrap();
    }
    assert_eq!(claim(&ledger).await.unwrap(), "under-way");
}

/// Asks for all, as pods do that wait, and copies what that brings, each of them once.
async fn all_is_copied(store: &Fixture, ledger: &Ledger) {
    let tags = ["there", "failed", "under-way", "waits"];
    for tag in tags {
        ledger.want(ask(tag)).await.unwrap();
    }
    let mut copied_tags = Vec::new();
    while let Some(claimed) = ledger.claim(usize::MAX).await.unwrap() {
        ledger.settle(claimed.ticket().unwrap(), copied(), 1, None).await.unwrap().unwrap();
        copied_tags.push(claimed.source.tag().unwrap().to_string());
    }
    copied_tags.sort_unstable();
    assert_eq!(copied_tags, ["failed", "there", "under-way", "waits"]);
    assert_eq!(
        store.rows("SELECT state, COUNT(*) FROM replicas GROUP BY state").await,
        ["present 4"]
    );
}

async fn a_clock_that_jumps_ahead_by_an_hour_loses_nothing(store: &Fixture) {
    in_the_middle_of_all(store).await;
    store.pass(HOUR).await;
    all_is_copied(store, &store.open().await).await;
}

async fn a_clock_that_is_set_back_by_an_hour_loses_nothing(store: &Fixture) {
    in_the_middle_of_all(store).await;
    store.set_back(HOUR).await;
    let ledger = store.open().await;
    if store.is_shared() {
        // What a replicator has that is gone is taken over an hour later than else.
        ledger.want(ask("failed")).await.unwrap();
        assert_eq!(claim(&ledger).await.unwrap(), "waits");
        assert_eq!(claim(&ledger).await.unwrap(), "failed");
        drop(ledger);
        store.pass(HOUR + TEST_LEASE).await;
        return all_is_copied(store, &store.open().await).await;
    }
    all_is_copied(store, &ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_gone_memory_answers_and_afterwards_nothing_is_lost() {
    let mut cluster = cluster();
    let store = Fixture::postgres(&cluster, "gone").await;
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    ledger.want(ask("2")).await.unwrap();
    let claimed = ledger.claim(1).await.unwrap().unwrap();

    cluster.stop();
    let error = ledger.want(ask("3")).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_) | LedgerError::Storage(_)), "{error}");
    assert!(!ledger.is_writable());
    // No longer believed for itself, but nobody can be asked.
    store.pass_for_processes(Duration::from_secs(20));
    for _ in 0..2 {
        assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(Arc::clone(&present)));
        store.pass_for_processes(Duration::from_secs(5));
    }
    ledger.find(&source("3")).await.unwrap_err();
    ledger.claim(1).await.unwrap_err();
    let ticket = claimed.ticket().unwrap();
    ledger.settle(ticket.clone(), copied(), 1, None).await.unwrap_err();

    cluster.restart();
    assert!(ledger.settle(ticket, copied(), 1, None).await.unwrap().is_some());
    assert!(ledger.is_writable());
    assert_eq!(ledger.want(ask("3")).await.unwrap().state, State::Wanted);
    assert_eq!(claim(&ledger).await.unwrap(), "3");
}
