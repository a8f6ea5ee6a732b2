//! Two replicators, one PostgreSQL.

use super::*;

/// Runs `workers` claims at a time until nothing waits, and returns what was claimed.
async fn drain(ledger: &Ledger, workers: usize) -> Vec<String> {
    let workers = (0..workers).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(record) = ledger.claim(usize::MAX).await.unwrap() {
                let settled =
                    ledger.settle(record.ticket().unwrap(), copied(), 1, None).await.unwrap();
                assert!(settled.is_some());
                claimed.push(record.source.to_string());
            }
            claimed
        })
    });
    let mut claimed = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        claimed.append(&mut worker.await.unwrap());
    }
    claimed
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicators_share_500_images_and_each_is_copied_once() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "shared").await;
    let (one, other) = (store.open().await, store.open().await);
    // Both are asked for all, at the same time.
    let asked = [&one, &other].map(|ledger| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let asked = (0..500).map(|number| {
                let ledger = ledger.clone();
                // Some may have to be asked for twice: a burst of writes has a time limit.
                tokio::spawn(async move {
                    while ledger.want(ask(&number.to_string())).await.is_err() {}
                })
            });
            for asked in asked.collect::<Vec<_>>() {
                asked.await.unwrap();
            }
        })
    });
    for asked in asked {
        asked.await.unwrap();
    }
    let (mut claimed, mut by_other) = tokio::join!(drain(&one, 4), drain(&other, 4));
    assert!(!claimed.is_empty() && !by_other.is_empty(), "one has done all the work");
    claimed.append(&mut by_other);
    assert_eq!(claimed.len(), 500);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 500);
    assert_eq!(
        store.rows("SELECT state, COUNT(*), MAX(claims) FROM replicas GROUP BY state").await,
        ["present 500 1"]
    );
    assert_eq!(store.rows("SELECT COUNT(*) FROM copies").await, ["500"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_replicator_had_is_taken_over_and_its_word_counts_no_more() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "silent").await;
    let (one, other) = (store.open().await, store.open().await);
    one.want(ask("1")).await.unwrap();
    let lost = one.claim(1).await.unwrap().unwrap();
    store.pass(TEST_LEASE - Duration::from_millis(1)).await;
    assert_eq!(claim(&other).await, None, "its lease holds");
    store.pass(Duration::from_millis(1)).await;
    let taken = other.claim(1).await.unwrap().unwrap();
    assert_eq!((&taken.source, taken.claims), (&lost.source, 2));

    let (late, in_time) = (lost.ticket().unwrap(), taken.ticket().unwrap());
    assert_eq!(one.settle(late.clone(), copied_as('b'), 1, None).await.unwrap(), None);
    let settled = other.settle(in_time, copied(), 1, None).await.unwrap().unwrap();
    assert_eq!(one.settle(late, copied_as('b'), 1, None).await.unwrap(), None);
    store.pass(Duration::from_secs(5)).await;
    assert_eq!(one.find(&source("1")).await.unwrap(), Some(settled));
    assert_eq!(store.rows("SELECT claim, result FROM copies").await, ["2 copied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicator_that_lives_keeps_what_it_has_and_one_that_ends_lets_go() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "living").await;
    let (one, other) = (store.open().await, store.open().await);
    one.want(ask("1")).await.unwrap();
    let claimed = one.claim(1).await.unwrap().unwrap();
    for _ in 0..4 {
        store.pass(TEST_LEASE / 2).await;
        housekeeping::live(&one.shared, &one.commands).await;
        assert_eq!(claim(&other).await, None);
    }
    one.close().await;
    assert_eq!(other.claim(1).await.unwrap().unwrap().source, claimed.source);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clocks_of_replicators_do_not_matter() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "clocks").await;
    let hour = Duration::from_secs(3_600);
    let one = store.open().await;
    let ahead = Ledger::open(store.settings(), store.clock_ahead(hour)).await.unwrap();
    one.want(ask("1")).await.unwrap();
    one.claim(1).await.unwrap().unwrap();
    assert_eq!(claim(&ahead).await, None, "an hour is no hour for the database");
    ahead.want(ask("2")).await.unwrap();
    assert_eq!(ahead.now(), one.now());
    ahead.claim(1).await.unwrap().unwrap();
    assert_eq!(claim(&one).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_replicator_answers_what_another_did_after_a_short_while() {
    let cluster = cluster();
    let store = Fixture::postgres(&cluster, "memory").await;
    let (one, other) = (store.open().await, store.open().await);
    other.want(ask("1")).await.unwrap();
    one.want(ask("1")).await.unwrap();
    let present = work_once(&other, copied()).await;
    let known = |record: Option<Arc<Record>>| record.unwrap().state;
    assert_eq!(known(one.find(&source("1")).await.unwrap()), State::Wanted);
    store.pass(Duration::from_millis(500)).await;
    assert_eq!(one.find(&source("1")).await.unwrap(), Some(present));
}
