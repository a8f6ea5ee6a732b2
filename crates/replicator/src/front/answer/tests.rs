use super::*;
use crate::ledger::record::{REFUSED_RETRY, Settlement};
use crate::ledger::work::{Ask, Asker, Owner, Priority};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

/// How old an answer of the source may be.
const MAX_AGE: Duration = Duration::from_secs(3_600);

struct Fixture {
    source: ImageReference,
    namespace: Namespace,
    wish: Wish,
}

fn fixture() -> Fixture {
    Fixture {
        source: "nginx:1.27".parse().unwrap(),
        namespace: "shop".parse().unwrap(),
        wish: Wish {
            target: "registry.corp/docker.io/library/nginx:1.27".parse().unwrap(),
            priority: Priority::Now,
            max_age: Some(MAX_AGE),
        },
    }
}

fn owner() -> Owner {
    "me".to_owned().into()
}

impl Fixture {
    fn question(&self, verb: Verb) -> Question<'_> {
        let Self { source, namespace, wish } = self;
        Question { verb, source, namespace, wish, now: NOW }
    }

    fn ask(&self) -> Ask {
        let asker = Asker { namespace: self.namespace.clone(), caller: "policy".into() };
        Ask { source: self.source.clone(), wish: self.wish.clone(), asker }
    }

    fn wanted(&self) -> Record {
        Record::wanted(self.ask(), 1, NOW)
    }

    fn settled(&self, settlement: Settlement) -> Record {
        settle(self.wanted(), settlement, NOW)
    }

    fn present(&self) -> Record {
        let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        self.settled(Settlement::Copied { digest, size_bytes: 1, contents: None, charge: None })
    }

    fn failed(&self) -> Record {
        let failure = failure(RefusalCode::Failed, "source docker.io does not answer", false);
        self.settled(Settlement::Failed { failure, not_before: Duration::from_secs(12) })
    }

    fn refused(&self) -> Record {
        let failure = failure(RefusalCode::NotFound, "source docker.io has no such image", true);
        self.settled(Settlement::Failed { failure, not_before: Duration::ZERO })
    }
}

fn settle(record: Record, settlement: Settlement, now: Timestamp) -> Record {
    let record = record.claim(owner(), now).unwrap();
    let ticket = record.ticket().unwrap();
    record.settle(&ticket, settlement, 1, now).unwrap()
}

fn failure(code: RefusalCode, message: &str, is_lasting: bool) -> Failure {
    Failure { code, side: Side::Source, message: message.into(), is_lasting }
}

fn progress() -> Progress {
    Progress { layers_done: 2, layers_total: 5, bytes_done: 43, bytes_total: 100 }
}

#[test]
fn case_16_a_plan_starts_nothing_and_never_refuses() {
    let fixture = fixture();
    let question = fixture.question(Verb::Plan);
    let records = [None, Some(fixture.wanted()), Some(fixture.failed()), Some(fixture.refused())];
    for record in records {
        assert!(!question.needs_want(record.as_ref()));
        let receipt = question.answer(record.as_ref(), None).unwrap();
        assert_eq!(receipt.state, ReplicaState::Planned);
        assert_eq!(receipt.target, fixture.wish.target);
    }
    let receipt = question.answer(Some(&fixture.present()), None).unwrap();
    assert_eq!(receipt.state, ReplicaState::Present);
    assert!(receipt.digest.is_some());
}

#[test]
fn a_start_is_answered_at_once_with_what_is_intended() {
    let fixture = fixture();
    let question = fixture.question(Verb::Start);
    assert!(question.needs_want(None));
    for record in [fixture.wanted(), fixture.failed()] {
        assert!(!question.needs_want(Some(&record)));
        let receipt = question.answer(Some(&record), Some(progress())).unwrap();
        assert_eq!((receipt.state, receipt.progress), (ReplicaState::Copying, Some(progress())));
    }
}

#[test]
fn a_start_of_what_cannot_be_copied_is_refused_until_a_new_try_succeeds() {
    let fixture = fixture();
    let later = Question { now: NOW + REFUSED_RETRY, ..fixture.question(Verb::Start) };
    let refused = fixture.refused();
    assert!(!fixture.question(Verb::Start).needs_want(Some(&refused)));
    assert!(later.needs_want(Some(&refused)));
    let waiting = refused.clone().want(fixture.ask(), 1, later.now);
    let copying = waiting.clone().claim(owner(), later.now).unwrap();
    for record in [refused, waiting, copying] {
        for verb in [Verb::Start, Verb::Replica] {
            let refusal = Question { verb, ..later }.answer(Some(&record), None).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::NotFound);
        }
    }
}

#[test]
fn what_one_namespace_was_denied_no_other_one_hears() {
    let fixture = fixture();
    let failure = failure(RefusalCode::Denied, "namespace shop has 9 GiB of replicas", true);
    let refused = fixture.settled(Settlement::Failed { failure, not_before: Duration::ZERO });
    let waiting = refused.clone().want(fixture.ask(), 1, NOW + REFUSED_RETRY);
    let copying = waiting.clone().claim(owner(), NOW + REFUSED_RETRY).unwrap();
    let team = "team".parse().unwrap();
    for record in [refused, waiting, copying] {
        let question = fixture.question(Verb::Replica);
        let refusal = question.answer(Some(&record), None).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Denied);
        let question = Question { namespace: &team, ..question };
        let refusal = question.answer(Some(&record), None).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Pending);
        assert!(!refusal.message.contains("shop"), "{}", refusal.message);
        let started = Question { verb: Verb::Start, ..question }.answer(Some(&record), None);
        assert_eq!(started.unwrap().state, ReplicaState::Copying);
    }
}

#[test]
fn a_replica_is_refused_until_it_is_there() {
    let fixture = fixture();
    let question = fixture.question(Verb::Replica);
    assert!(question.needs_want(None));
    let copying = fixture.wanted().claim(owner(), NOW).unwrap();
    let due_at = NOW + Duration::from_secs(12);
    let retried = fixture.failed().join(1, due_at).unwrap().claim(owner(), due_at).unwrap();
    let messages = [
        (None, None),
        (Some(fixture.wanted()), None),
        (Some(copying.clone()), None),
        (Some(copying), Some(progress())),
        (Some(fixture.failed()), None),
        (Some(retried), Some(progress())),
        (Some(fixture.refused()), None),
    ]
    .map(|(record, progress)| {
        let refusal = question.answer(record.as_ref(), progress).unwrap_err();
        format!("{}: {}", refusal.code.as_str(), refusal.message)
    });
    insta::assert_snapshot!(messages.join("\n"));
    let receipt = question.answer(Some(&fixture.present()), None).unwrap();
    assert_eq!(receipt.state, ReplicaState::Present);
}

#[test]
fn what_lies_at_a_target_no_longer_in_force_is_not_there() {
    let fixture = fixture();
    let target = "other.corp/docker.io/library/nginx:1.27".parse().unwrap();
    let elsewhere = Wish { target, ..self::fixture().wish };
    let question = Question { wish: &elsewhere, ..fixture.question(Verb::Replica) };
    let present = fixture.present();
    assert!(question.needs_want(Some(&present)));
    assert_eq!(question.answer(Some(&present), None).unwrap_err().code, RefusalCode::Pending);
}

#[test]
fn case_20_a_replica_whose_source_is_down_is_served_with_its_age() {
    let fixture = fixture();
    let checked = fixture.present().want(fixture.ask(), 1, NOW + MAX_AGE);
    let failure = failure(RefusalCode::Failed, "source docker.io does not answer", false);
    let failed = Settlement::Failed { failure, not_before: Duration::ZERO };
    let stale = settle(checked, failed, NOW + MAX_AGE);
    for verb in [Verb::Plan, Verb::Start, Verb::Replica] {
        let now = NOW + MAX_AGE + Duration::from_secs(5);
        let question = Question { now, ..fixture.question(verb) };
        let receipt = question.answer(Some(&stale), None).unwrap();
        assert_eq!((receipt.state, receipt.age_s), (ReplicaState::Stale, Some(3_605)));
        assert_eq!(receipt.digest, fixture.present().digest);
    }
}

#[test]
fn a_replica_that_is_looked_after_is_answered_for_as_before() {
    let fixture = fixture();
    let later = Question { now: NOW + MAX_AGE, ..fixture.question(Verb::Replica) };
    let present = fixture.present();
    assert!(later.needs_want(Some(&present)));
    assert!(!Question { verb: Verb::Plan, ..later }.needs_want(Some(&present)));
    let waiting = present.clone().want(fixture.ask(), 1, later.now);
    let running = waiting.clone().claim(owner(), later.now).unwrap();
    for record in [waiting, running] {
        assert!(!later.needs_want(Some(&record)));
        assert_eq!(later.answer(Some(&record), None), later.answer(Some(&present), None));
    }
}

#[test]
fn a_full_queue_is_said_with_the_time_to_ask_again() {
    let refusal = full_queue(&fixture().source, "9 images wait");
    assert_eq!((refusal.code.http_status(), refusal.retry_after_s), (429, Some(10)));
}
