//! What is remembered, and who comes first.

use super::*;

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        what_was_written_is_there_after_a_restart,
        a_copy_under_way_at_the_end_is_taken_up_again,
        case_14_a_burst_for_one_image_is_one_copy,
        a_newcomer_comes_before_the_second_image_of_who_asked_for_many,
        a_pod_that_waits_comes_first,
        a_failed_copy_comes_again_when_it_is_due,
        one_registry_gets_so_many_claims_and_no_more,
        a_long_queue_of_one_registry_hides_no_other,
        what_is_handed_back_comes_first_again,
        a_full_queue_takes_nothing_new_on,
        case_18_an_old_replica_is_looked_after_once_and_served_meanwhile,
        a_claim_that_nobody_has_is_handed_back,
        waiting_for_work_ends_when_some_comes,
        states_and_queue_are_counted,
        the_oldest_stale_replica_is_known_while_it_is_in_use,
    );
}

async fn what_was_written_is_there_after_a_restart(store: &Fixture) {
    let ledger = store.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap(), None);
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    ledger.want(ask("2")).await.unwrap();
    let failed = work_once(&ledger, failed("it's \"gone\"", Duration::ZERO)).await;
    let wanted = ledger.want(ask("3")).await.unwrap();
    drop(ledger);

    let ledger = store.open().await;
    assert_eq!(ledger.find(&source("1")).await.unwrap(), Some(present));
    assert_eq!(ledger.find(&source("2")).await.unwrap(), Some(failed));
    assert_eq!(ledger.find(&source("3")).await.unwrap(), Some(wanted));
}

async fn a_copy_under_way_at_the_end_is_taken_up_again(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let claimed = ledger.claim(1).await.unwrap().unwrap();
    assert_eq!(claimed.state, State::Copying);
    assert_eq!(claim(&ledger).await, None);
    drop(ledger);

    // Of a file the next process is the master; of a database others may live.
    if store.is_shared() {
        store.pass(TEST_LEASE).await;
    }
    let ledger = store.open().await;
    let again = ledger.claim(1).await.unwrap().unwrap();
    assert_eq!((&again.source, again.claims), (&claimed.source, 2));
    assert_eq!(ledger.settle(claimed.ticket().unwrap(), copied(), 0, None).await.unwrap(), None);
}

async fn case_14_a_burst_for_one_image_is_one_copy(store: &Fixture) {
    let ledger = store.open().await;
    let asked = (0..500).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.want(ask("1")).await.unwrap() })
    });
    let mut revisions = HashSet::new();
    for asked in asked.collect::<Vec<_>>() {
        revisions.insert(asked.await.unwrap().revision);
    }
    assert_eq!(revisions.len(), 1);
    let claims = (0..8).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.claim(usize::MAX).await.unwrap() })
    });
    let mut claimed = 0;
    for claim in claims.collect::<Vec<_>>() {
        claimed += usize::from(claim.await.unwrap().is_some());
    }
    assert_eq!(claimed, 1);
}

async fn a_newcomer_comes_before_the_second_image_of_who_asked_for_many(store: &Fixture) {
    let ledger = store.open().await;
    for number in 0..40 {
        ledger.want(ask(&format!("many-{number}"))).await.unwrap();
    }
    assert_eq!(claim(&ledger).await.unwrap(), "many-0");
    store.pass(Duration::from_millis(1)).await;
    let newcomer = |tag: &str| Ask { asker: asker("other"), ..ask(tag) };
    ledger.want(newcomer("few-0")).await.unwrap();
    ledger.want(newcomer("few-1")).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(claim(&ledger).await.unwrap());
    }
    // A tie goes to who has waited longer; nobody waits for ever.
    assert_eq!(order, ["many-1", "many-2", "few-0", "many-3"]);
    assert_eq!(claim(&ledger).await.unwrap(), "few-1");
}

async fn a_pod_that_waits_comes_first(store: &Fixture) {
    let ledger = store.open().await;
    let soon = |tag: &str| {
        let wish = Wish { priority: Priority::Soon, ..ask(tag).wish };
        Ask { wish, ..ask(tag) }
    };
    for tag in ["1", "2", "3"] {
        ledger.want(soon(tag)).await.unwrap();
    }
    let raised = ledger.want(ask("3")).await.unwrap();
    assert_eq!(raised.priority, Priority::Now);
    assert_eq!(ledger.want(soon("3")).await.unwrap(), raised, "never lowered");
    ledger.want(ask("4")).await.unwrap();
    let mut order = Vec::new();
    while let Some(tag) = claim(&ledger).await {
        order.push(tag);
    }
    assert_eq!(order, ["3", "4", "1", "2"]);
}

async fn a_failed_copy_comes_again_when_it_is_due(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    ledger.want(ask("2")).await.unwrap();
    let record = work_once(&ledger, failed("no", Duration::from_secs(10))).await;
    assert_eq!((record.source.clone(), record.state), (source("1"), State::Failed));
    assert_eq!(claim(&ledger).await.unwrap(), "2");
    assert_eq!(claim(&ledger).await, None);
    drop(ledger);

    let ledger = store.open().await;
    store.pass(Duration::from_secs(9)).await;
    assert_ne!(claim(&ledger).await.as_deref(), Some("1"), "not before it is due");
    store.pass(Duration::from_secs(1)).await;
    assert_eq!(claim(&ledger).await.unwrap(), "1");
}

async fn one_registry_gets_so_many_claims_and_no_more(store: &Fixture) {
    let ledger = store.open().await;
    for tag in ["1", "2", "3", "4"] {
        ledger.want(ask(tag)).await.unwrap();
    }
    // A host that merely begins like the other.
    let other = Ask { source: "docker.io.example/app:other".parse().unwrap(), ..ask("other") };
    let soon = Wish { priority: Priority::Soon, ..other.wish.clone() };
    ledger.want(Ask { wish: soon, ..other }).await.unwrap();
    let mut claimed = Vec::new();
    for expected in ["1", "2", "other"] {
        let record = ledger.claim(2).await.unwrap().unwrap();
        assert_eq!(record.source.tag().unwrap().to_string(), expected);
        claimed.push(record.ticket().unwrap());
    }
    assert_eq!(ledger.claim(2).await.unwrap(), None, "whoever comes next finds a worker");
    ledger.settle(claimed.swap_remove(1), Settlement::HandedBack, 0, None).await.unwrap();
    assert_eq!(ledger.claim(1).await.unwrap(), None);
    assert_eq!(ledger.claim(2).await.unwrap().unwrap().source, source("2"));
    assert_eq!(ledger.claim(2).await.unwrap(), None);
}

async fn a_long_queue_of_one_registry_hides_no_other(store: &Fixture) {
    let ledger = store.open().await;
    let asked = (0..600).map(|number| {
        let ledger = ledger.clone();
        // Some have to be asked for again: a burst of writes has a limit.
        tokio::spawn(async move {
            while ledger.want(ask(&number.to_string())).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    let other: ImageReference = "quay.io/app:other".parse().unwrap();
    let soon = Wish { priority: Priority::Soon, ..ask("other").wish };
    ledger.want(Ask { source: other.clone(), wish: soon, ..ask("other") }).await.unwrap();
    assert_ne!(ledger.claim(1).await.unwrap().unwrap().source, other);
    assert_eq!(ledger.claim(1).await.unwrap().unwrap().source, other);
}

async fn what_is_handed_back_comes_first_again(store: &Fixture) {
    let ledger = store.open().await;
    for tag in ["1", "2", "3"] {
        ledger.want(ask(tag)).await.unwrap();
    }
    assert_eq!(claim(&ledger).await.unwrap(), "1");
    let second = ledger.claim(usize::MAX).await.unwrap().unwrap();
    let back =
        ledger.settle(second.ticket().unwrap(), Settlement::HandedBack, 0, None).await.unwrap();
    assert_eq!(back.unwrap().state, State::Wanted);
    assert_eq!([claim(&ledger).await, claim(&ledger).await], [Some("2".into()), Some("3".into())]);
}

async fn a_full_queue_takes_nothing_new_on(store: &Fixture) {
    let ledger = store.open_with(Settings { max_waiting: 2, ..store.settings() }).await;
    ledger.want(ask("old")).await.unwrap();
    let old = work_once(&ledger, copied()).await;
    store.pass(Duration::from_secs(3_600)).await;
    ledger.want(ask("1")).await.unwrap();
    ledger.want(ask("2")).await.unwrap();
    let refused = ledger.want(ask("3")).await.unwrap_err();
    assert!(matches!(refused, LedgerError::TooMany { limit: 2 }), "{refused}");
    assert_eq!(ledger.want(ask("1")).await.unwrap().state, State::Wanted);
    assert_eq!(ledger.want(ask("old")).await.unwrap(), old, "served on, looked after later");
    assert_eq!(ledger.find(&source("3")).await.unwrap(), None);

    // A copy that will be tried again waits, too.
    work_once(&ledger, failed("no", Duration::from_secs(60))).await;
    ledger.want(ask("3")).await.unwrap_err();
    assert_eq!(claim(&ledger).await.unwrap(), "2");
    ledger.want(ask("3")).await.unwrap();
    drop(ledger);
    let ledger = store.open_with(Settings { max_waiting: 2, ..store.settings() }).await;
    ledger.want(ask("4")).await.unwrap_err();
}

async fn case_18_an_old_replica_is_looked_after_once_and_served_meanwhile(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    assert_eq!(ledger.want(ask("1")).await.unwrap(), present);
    assert_eq!(claim(&ledger).await, None);

    store.pass(Duration::from_secs(3_600)).await;
    ledger.want(ask("2")).await.unwrap();
    for _ in 0..3 {
        let served = ledger.want(ask("1")).await.unwrap();
        assert_eq!((served.state, &served.digest), (State::Present, &present.digest));
    }
    assert_eq!(claim(&ledger).await.unwrap(), "2", "what a pod waits for comes before it");
    let moved = work_once(&ledger, copied_as('b')).await;
    assert_eq!((&moved.source, moved.state), (&present.source, State::Present));
    assert_ne!(moved.digest, present.digest);
    assert_eq!(claim(&ledger).await, None);

    store.pass(Duration::from_secs(3_600)).await;
    ledger.want(ask("1")).await.unwrap();
    let stale = work_once(&ledger, refused()).await;
    assert_eq!((stale.state, &stale.digest), (State::Stale, &moved.digest));
}

async fn a_claim_that_nobody_has_is_handed_back(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    ledger.want(ask("2")).await.unwrap();
    assert_eq!(claim(&ledger).await.unwrap(), "1");
    // A worker that has gone when the answer comes.
    let (reply, answer) = oneshot::channel();
    drop(answer);
    let action = Action::Claim { most_of_one_registry: usize::MAX };
    ledger.commands.send(Command { action, reply }).await.unwrap();
    assert_eq!(claim(&ledger).await, None);
    housekeeping::live(&ledger.shared, &ledger.commands).await;
    assert_eq!(claim(&ledger).await.unwrap(), "2");
    assert_eq!(claim(&ledger).await, None, "the other one is somebody's");
}

async fn waiting_for_work_ends_when_some_comes(store: &Fixture) {
    let ledger = store.open().await;
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.wait_for_work(Duration::from_secs(60)).await }
    });
    ledger.want(ask("1")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
}

async fn states_and_queue_are_counted(store: &Fixture) {
    let ledger = store.open().await;
    for tag in ["1", "2", "3"] {
        ledger.want(ask(tag)).await.unwrap();
    }
    claim(&ledger).await.unwrap();
    let mut figures = ledger.figures().await.unwrap();
    figures.states.sort_by_key(|(state, _)| state.as_str());
    assert_eq!(figures.states, [(State::Copying, 1), (State::Wanted, 2)]);
    assert_eq!(figures.waiting, [(Priority::Now, 2, ledger.now())]);
}

async fn the_oldest_stale_replica_is_known_while_it_is_in_use(store: &Fixture) {
    let ledger = store.open().await;
    ledger.want(ask("1")).await.unwrap();
    let present = work_once(&ledger, copied()).await;
    assert_eq!(ledger.figures().await.unwrap().stale_since, None);
    store.pass(Duration::from_secs(3_600)).await;
    ledger.want(ask("1")).await.unwrap();
    assert_eq!(work_once(&ledger, refused()).await.state, State::Stale);
    assert_eq!(ledger.figures().await.unwrap().stale_since, present.checked_at);
    store.pass(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(ledger.figures().await.unwrap().stale_since, None);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_an_error_at_start() {
    let settings = Settings::new("sqlite:/nowhere/ledger.db".parse().unwrap());
    let error = Ledger::open(settings, Clock::system()).await.unwrap_err().to_string();
    assert!(error.contains("the ledger's database failed"), "{error}");
}
