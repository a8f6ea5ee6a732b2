//! On whose behalf replicas are kept.

use protocol::Namespace;

use super::*;
use crate::ledger::charge::Charge;
use crate::ledger::record::Removal;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        a_replica_counts_for_one_namespace_until_it_is_gone,
        what_is_asked_for_while_it_leaves_counts_nothing_until_it_is_copied,
    );
}

fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

/// A copy that some namespace pays for.
fn paid_by(name: &str, bytes: u64) -> Settlement {
    match copied() {
        Settlement::Copied { digest, size_bytes, contents, .. } => {
            let charge = Some(Charge { namespace: namespace(name), bytes });
            Settlement::Copied { digest, size_bytes, contents, charge }
        }
        other => other,
    }
}

/// What shop and team have.
async fn charged(ledger: &Ledger) -> [u64; 2] {
    let of = async |name: &str| ledger.charged(&namespace(name), &[]).await.unwrap();
    [of("shop").await, of("team").await]
}

async fn a_replica_counts_for_one_namespace_until_it_is_gone(store: &Fixture) {
    let ledger = store.open().await;
    assert_eq!(charged(&ledger).await, [0, 0]);
    for (tag, bytes) in [("1", 1 << 40), ("2", 20), ("3", 300)] {
        ledger.want(ask(tag)).await.unwrap();
        work_once(&ledger, paid_by("shop", bytes)).await;
    }
    assert_eq!(charged(&ledger).await, [(1 << 40) + 320, 0]);
    let without = async |tags: &[&str]| {
        let sources: Vec<_> = tags.iter().map(|tag| source(tag)).collect();
        ledger.charged(&namespace("shop"), &sources).await.unwrap()
    };
    assert_eq!(without(&["1"]).await, 320);
    assert_eq!(without(&["1", "3", "4"]).await, 20);

    // Whoever has it looked at: what finds nothing new, and what fails, changes nothing.
    for settlement in [copied(), failed("it is away", Duration::ZERO)] {
        store.pass(Duration::from_secs(3_600)).await;
        ledger.want(Ask { asker: asker("team"), ..ask("1") }).await.unwrap();
        work_once(&ledger, settlement).await;
        assert_eq!(charged(&ledger).await, [(1 << 40) + 320, 0]);
    }
    ledger.retry(&source("1")).await.unwrap();
    let record = work_once(&ledger, paid_by("team", 7)).await;
    assert_eq!(charged(&ledger).await, [320, 7]);
    drop(ledger);
    let ledger = store.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(Arc::clone(&record)));

    let leaving = ledger.retire(&record).await.unwrap().unwrap();
    assert_eq!(charged(&ledger).await, [320, 7], "it is there still");
    ledger.end_removal(leaving.ticket().unwrap(), Removal::Gone).await.unwrap();
    assert_eq!(charged(&ledger).await, [320, 0]);
}

async fn what_is_asked_for_while_it_leaves_counts_nothing_until_it_is_copied(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let record = work_once(&ledger, paid_by("shop", 42)).await;
    let leaving = ledger.retire(&record).await.unwrap().unwrap();
    ledger.want(Ask { asker: asker("team"), ..ask("1") }).await.unwrap();
    ledger.end_removal(leaving.ticket().unwrap(), Removal::Gone).await.unwrap();
    assert_eq!(charged(&ledger).await, [0, 0]);
    work_once(&ledger, paid_by("team", 42)).await;
    assert_eq!(charged(&ledger).await, [0, 42]);
}
