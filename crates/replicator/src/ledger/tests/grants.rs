//! What sources said of rights: kept over restarts, and seen by other replicators.

use super::*;
use crate::ledger::grant::{Finding, Identity, Right, Standing, Verdict};

mod scenarios {
    use super::super::on_both_stores;
    use super::*;

    on_both_stores!(
        a_right_is_kept_and_others_see_it,
        what_is_learned_counts_at_once,
        what_one_namespace_was_denied_is_copied_on_behalf_of_another,
    );
}

fn finding(verdict: Verdict) -> Finding {
    Finding { identity: hub(), verdict, changed_at: None }
}

fn hub() -> Identity {
    Identity::Named("hub".parse().unwrap())
}

async fn right(ledger: &Ledger) -> Right {
    let grants = ledger.grants(&(&source("1")).into()).await.unwrap();
    let Standing { right, .. } = grants.standing(&hub(), None, ledger.now(), ledger.remember());
    right
}

async fn a_right_is_kept_and_others_see_it(fixture: &Fixture) {
    let ledger = fixture.open().await;
    ledger.learn((&source("1")).into(), finding(Verdict::Allowed)).await.unwrap();
    drop(ledger);
    let ledger = fixture.open().await;
    // It is to the repository: another tag of it is the same.
    let grants = ledger.grants(&(&source("2")).into()).await.unwrap();
    assert_eq!(grants, ledger.grants(&(&source("1")).into()).await.unwrap());
    assert_eq!(right(&ledger).await, Right::Shown);
    if fixture.is_shared() {
        let other = fixture.open().await;
        other.learn((&source("1")).into(), finding(Verdict::Denied("no".into()))).await.unwrap();
        assert_eq!(right(&other).await, Right::Denied("no".into()));
        fixture.pass(Duration::from_secs(5)).await;
        assert_eq!(right(&ledger).await, Right::Denied("no".into()));
    }
    fixture.pass(ledger.remember()).await;
    assert_eq!(right(&ledger).await, Right::Unknown(None));
}

async fn what_is_learned_counts_at_once(fixture: &Fixture) {
    let ledger = fixture.open().await;
    assert_eq!(right(&ledger).await, Right::Unknown(None));
    for (verdict, expected) in [
        (Verdict::Unanswered("down".into()), Right::Unknown(Some("down".into()))),
        (Verdict::Allowed, Right::Shown),
        (Verdict::Unanswered("down".into()), Right::Shown),
        (Verdict::Denied("no".into()), Right::Denied("no".into())),
    ] {
        ledger.learn((&source("1")).into(), finding(verdict)).await.unwrap();
        assert_eq!(right(&ledger).await, expected);
    }
}

async fn what_one_namespace_was_denied_is_copied_on_behalf_of_another(fixture: &Fixture) {
    let ledger = fixture.open().await;
    ledger.want(ask("1")).await.unwrap();
    assert_eq!(work_once(&ledger, denied()).await.state, State::Refused);
    assert_eq!(ledger.want(ask("1")).await.unwrap().state, State::Refused);
    assert_eq!(claim(&ledger).await, None);
    ledger.want(Ask { asker: asker("other"), ..ask("1") }).await.unwrap();
    let claimed = ledger.claim(1).await.unwrap().unwrap();
    assert_eq!(claimed.namespace, asker("other").namespace);
}
