//! What runs, as the watch on pods tells it.

use super::*;
use crate::ledger::uses::{Running, Sighting, Use};

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        what_runs_is_written_down_as_it_is_told,
        a_complete_list_ends_what_is_not_in_it,
        more_than_one_change_takes_is_all_there_before_the_picture_is_whole,
        what_ended_long_ago_goes_and_what_runs_stays,
    );
}

const ROWS: &str = "SELECT image, namespace, pods, first_seen_at_ms, last_seen_at_ms FROM uses \
     ORDER BY image, namespace";

fn used(tag: &str, namespace: &str) -> Use {
    Use { image: source(tag), namespace: namespace.parse().unwrap(), digest: None }
}

fn running(uses: impl IntoIterator<Item = (Use, u64)>) -> Running {
    uses.into_iter().collect()
}

async fn see(ledger: &Ledger, sighting: Sighting) {
    ledger.see(sighting, ledger.now()).await.unwrap();
}

async fn what_runs_is_written_down_as_it_is_told(store: &Fixture) {
    let ledger = store.open().await;
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let pinned = Use { digest: Some(digest), ..used("1", "shop") };
    for _ in 0..2 {
        let both = running([(pinned.clone(), 3), (used("2", "shop"), 1)]);
        see(&ledger, Sighting::Changes(both)).await;
        store.pass(Duration::from_secs(1)).await;
    }
    see(&ledger, Sighting::Changes(running([(used("2", "shop"), 0)]))).await;
    assert_eq!(
        store.rows(ROWS).await,
        [
            "docker.io/library/nginx:1 shop 3 1000000 1001000",
            "docker.io/library/nginx:2 shop 0 1000000 1002000",
        ]
    );
    assert_eq!(
        ledger.picture().await.unwrap().pods_known_until,
        Some(Timestamp::from_ms(1_002_000))
    );
}

async fn a_complete_list_ends_what_is_not_in_it(store: &Fixture) {
    let ledger = store.open().await;
    assert_eq!(ledger.picture().await.unwrap().pods_known_until, None);
    let first = running([(used("1", "shop"), 2), (used("2", "shop"), 1)]);
    see(&ledger, Sighting::Cluster(first)).await;
    store.pass(Duration::from_secs(60)).await;
    let second = running([(used("2", "shop"), 1), (used("3", "other"), 1)]);
    // Told late: what was so then says nothing of now.
    let as_of = Timestamp::from_ms(ledger.now().as_ms() - 5_000);
    ledger.see(Sighting::Cluster(second), as_of).await.unwrap();
    assert_eq!(
        store.rows(ROWS).await,
        [
            "docker.io/library/nginx:1 shop 0 1000000 1060000",
            "docker.io/library/nginx:2 shop 1 1000000 1000000",
            "docker.io/library/nginx:3 other 1 1060000 1060000",
        ]
    );
    assert_eq!(
        ledger.picture().await.unwrap().pods_known_until,
        Some(Timestamp::from_ms(1_055_000))
    );
}

async fn more_than_one_change_takes_is_all_there_before_the_picture_is_whole(store: &Fixture) {
    let ledger = store.open().await;
    let many = (0..1_234).map(|number| (used(&number.to_string(), "shop"), 1));
    see(&ledger, Sighting::Cluster(running(many))).await;
    assert_eq!(store.rows("SELECT COUNT(*) FROM uses WHERE pods = 1").await, ["1234"]);
    see(&ledger, Sighting::Cluster(Running::new())).await;
    assert_eq!(store.rows("SELECT COUNT(*) FROM uses WHERE pods = 1").await, ["0"]);
}

async fn what_ended_long_ago_goes_and_what_runs_stays(store: &Fixture) {
    let ledger = store.open().await;
    let both = running([(used("1", "shop"), 1), (used("2", "shop"), 0)]);
    see(&ledger, Sighting::Changes(both)).await;
    store.pass(Duration::from_secs(400 * 24 * 60 * 60) + Duration::from_millis(1)).await;
    housekeeping::send(&ledger.commands, Action::Prune).await;
    assert_eq!(
        store.rows(ROWS).await,
        ["docker.io/library/nginx:1 shop 1 1000000 1000000"],
        "a pod may run for longer than history is kept"
    );
}
