//! What is kept beside the records: requests, copies, places of blobs.

use protocol::{Digest, Registry};

use super::*;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        requests_are_counted_by_who_asked,
        each_copy_is_on_record_once,
        old_history_goes,
        places_of_blobs_are_kept,
        places_that_turn_out_wrong_are_forgotten,
    );
}

async fn requests_are_counted_by_who_asked(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    store.pass(Duration::from_millis(500)).await;
    for namespace in ["shop", "shop", "other"] {
        ledger.note(&source("1"), &asker(namespace));
    }
    ledger.close().await;
    let requests = store
        .rows("SELECT source, namespace, caller, first_at_ms, last_at_ms, count FROM requests ORDER BY namespace")
        .await;
    assert_eq!(
        requests,
        [
            "docker.io/library/nginx:1 other policy 1000500 1000500 1",
            "docker.io/library/nginx:1 shop policy 1000000 1000500 3",
        ]
    );
}

async fn each_copy_is_on_record_once(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    work_once(&ledger, failed("no", Duration::ZERO)).await;
    store.pass(Duration::from_secs(1)).await;
    let claimed = ledger.claim(1).await.unwrap().unwrap();
    store.pass(Duration::from_secs(2)).await;
    let ticket = claimed.ticket().unwrap();
    assert!(ledger.settle(ticket.clone(), copied(), 42, None).await.unwrap().is_some());
    assert_eq!(ledger.settle(ticket, copied(), 42, None).await.unwrap(), None);
    let copies = store
        .rows("SELECT claim, result, bytes_moved, began_at_ms, ended_at_ms FROM copies ORDER BY claim")
        .await;
    assert_eq!(copies, ["1 failed 7 1000000 1000000", "2 copied 42 1001000 1003000"]);
}

async fn old_history_goes(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    work_once(&ledger, copied()).await;
    store.pass(Duration::from_secs(90 * 24 * 60 * 60)).await;
    ledger.want(ask("2")).await.unwrap();
    work_once(&ledger, copied()).await;
    housekeeping::send(&ledger.commands, Action::Prune).await;
    assert_eq!(store.rows("SELECT source FROM copies").await.len(), 2);
    store.pass(Duration::from_millis(1)).await;
    housekeeping::send(&ledger.commands, Action::Prune).await;
    for table in ["copies", "requests"] {
        let kept = store.rows(&format!("SELECT source FROM {table}")).await;
        assert_eq!(kept, ["docker.io/library/nginx:2"], "{table}");
    }
    assert_eq!(ledger.find(&source("1")).await.unwrap().unwrap().state, State::Present);
}

async fn places_of_blobs_are_kept(store: &Fixture) {
    let registry: Registry = "registry.corp".parse().unwrap();
    let digest: Digest = format!("sha256:{}", "c".repeat(64)).parse().unwrap();
    let ledger = store.open().await;
    for repository in ["app/one", "app/two"] {
        ledger.places().record(&registry, &repository.parse().unwrap(), &digest);
    }
    ledger.close().await;
    drop(ledger);
    let ledger = store.open().await;
    assert_eq!(ledger.places().find(&registry, &digest), Some("app/two".parse().unwrap()));
    let elsewhere = "elsewhere.corp".parse().unwrap();
    assert_eq!(ledger.places().find(&elsewhere, &digest), None);
}

async fn places_that_turn_out_wrong_are_forgotten(store: &Fixture) {
    let registry: Registry = "registry.corp".parse().unwrap();
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse::<Digest>().unwrap();
    let (gone, moved, elsewhere) = (digest("a"), digest("b"), digest("c"));
    let [one, two] = ["app/one", "app/two"].map(|name| name.parse().unwrap());
    let ledger = store.open().await;
    for digest in [&gone, &moved, &elsewhere] {
        ledger.places().record(&registry, &one, digest);
    }
    ledger.close().await;
    drop(ledger);

    let ledger = store.open().await;
    let places = ledger.places();
    places.forget(&registry, &one, &gone);
    places.forget(&registry, &one, &moved);
    places.record(&registry, &two, &moved);
    places.forget(&registry, &two, &elsewhere);
    let found = |places: &BlobPlaces| {
        [&gone, &moved, &elsewhere].map(|digest| places.find(&registry, digest))
    };
    assert_eq!(found(&places), [None, Some(two.clone()), Some(one.clone())]);
    ledger.close().await;
    drop(ledger);
    let ledger = store.open().await;
    assert_eq!(found(&ledger.places()), [None, Some(two), Some(one)]);
}
