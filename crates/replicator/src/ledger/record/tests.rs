use proptest::prelude::*;

use super::*;
use crate::ledger::testing::{ask, asker, copied, copied_as, denied, failed, refused, target};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);
const MAX_AGE: Duration = Duration::from_secs(3_600);

fn shop() -> Namespace {
    "shop".parse().unwrap()
}

fn owner() -> Owner {
    "me".to_owned().into()
}

fn wanted() -> Record {
    Record::wanted(ask("1.27"), 1, NOW)
}

fn copying() -> Record {
    wanted().claim(owner(), NOW).unwrap()
}

fn settle(record: Record, settlement: Settlement, now: Timestamp) -> Record {
    let ticket = record.ticket().unwrap();
    record.settle(&ticket, settlement, 1, now).unwrap()
}

fn present() -> Record {
    settle(copying(), copied(), NOW)
}

/// A present record that is asked for when it is old, and taken by a worker.
fn refreshing() -> Record {
    present().want(ask("1.27"), 1, NOW + MAX_AGE).claim(owner(), NOW + MAX_AGE).unwrap()
}

fn wish(change: impl FnOnce(&mut Wish)) -> Ask {
    let mut ask = ask("1.27");
    change(&mut ask.wish);
    ask
}

fn demand(record: &Record, now: Timestamp) -> Option<Demand> {
    record.demand(&ask("1.27").wish, &shop(), now)
}

#[test]
fn a_wanted_source_is_copied_and_present() {
    assert_eq!(copying().state, State::Copying);
    let record = present();
    assert_eq!((record.state, &record.work), (State::Present, &Work::Idle));
    assert_eq!((record.size_bytes, record.checked_at), (Some(42), Some(NOW)));
    assert_eq!((record.claims, record.revision - wanted().revision), (1, 2));
    assert_eq!(record.claim(owner(), NOW), None);
}

#[test]
fn one_copy_is_claimed_once_and_settled_once_by_who_claimed_it() {
    let record = copying();
    assert_eq!(record.clone().claim(owner(), NOW), None);
    let ticket = record.ticket().unwrap();
    let stranger = Ticket { owner: "other".to_owned().into(), ..ticket.clone() };
    assert_eq!(record.clone().settle(&stranger, copied(), 1, NOW), None);
    let again = record.clone().hand_back(1, NOW).unwrap().claim(owner(), NOW).unwrap();
    assert_eq!(again.settle(&ticket, copied(), 1, NOW), None, "an earlier claim of the same owner");
    let record = record.settle(&ticket, copied(), 1, NOW).unwrap();
    assert_eq!(record.settle(&ticket, copied(), 1, NOW), None);
}

#[test]
fn failures_are_tried_again_with_growing_delays_that_end() {
    let mut record = copying();
    let mut now = NOW;
    let mut delays = Vec::new();
    for _ in 0..12 {
        record = settle(record, failed("no", Duration::ZERO), now);
        assert_eq!((record.state, demand(&record, now)), (State::Failed, None));
        let due_at = record.next_try().unwrap();
        delays.push((due_at - now).as_secs());
        assert_eq!(record.clone().join(1, now), None, "not before it is due");
        now = due_at;
        record = record.join(1, now).unwrap().claim(owner(), now).unwrap();
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
}

#[test]
fn case_34_a_registry_that_names_a_time_is_heard() {
    let record = settle(copying(), failed("no", Duration::from_secs(90)), NOW);
    assert_eq!(record.next_try().unwrap() - NOW, Duration::from_secs(90));
}

#[test]
fn a_refused_source_is_tried_again_when_asked_after_a_while_and_says_no_until_then() {
    let record = settle(copying(), refused(), NOW);
    assert_eq!((record.state, &record.work), (State::Refused, &Work::Idle));
    assert_eq!(demand(&record, NOW + (REFUSED_RETRY - Duration::from_millis(1))), None);
    let later = NOW + REFUSED_RETRY;
    let record = record.want(ask("1.27"), 4, later);
    assert_eq!(record.state, State::Refused);
    assert_eq!(record.work, Work::Waiting { turn: 4, since: later });
    assert!(record.failure.is_some());
    assert_eq!(demand(&record, later + REFUSED_RETRY), None, "already on its way");
    let record = settle(record.claim(owner(), later).unwrap(), copied(), later);
    assert_eq!((record.state, record.failure, record.attempts), (State::Present, None, 0));
}

#[test]
fn a_handed_back_copy_waits_and_counts_as_no_failure() {
    let record = settle(copying(), Settlement::HandedBack, NOW);
    assert_eq!((record.state, record.attempts), (State::Wanted, 0));
    assert_eq!(record.work, Work::Waiting { turn: 1, since: NOW });
}

#[test]
fn another_target_makes_a_present_replica_wanted_again() {
    let elsewhere = target("elsewhere");
    let record = present();
    let (claims, revision) = (record.claims, record.revision);
    let record = record.want(wish(|wish| wish.target = elsewhere.clone()), 1, NOW);
    assert_eq!((record.state, &record.target), (State::Wanted, &elsewhere));
    assert!(record.claims == claims && record.revision > revision);
    let running = copying();
    assert_eq!(running.demand(&wish(|wish| wish.target = elsewhere).wish, &shop(), NOW), None);
}

#[test]
fn a_pod_that_waits_raises_what_waits_already() {
    let soon = wish(|wish| wish.priority = Priority::Soon);
    let record = Record::wanted(soon.clone(), 9, NOW);
    assert_eq!(record.demand(&soon.wish, &shop(), NOW), None);
    let later = NOW + Duration::from_secs(1);
    let record = record.want(ask("1.27"), 3, later);
    assert_eq!(record.priority, Priority::Now);
    assert_eq!(record.work, Work::Waiting { turn: 3, since: NOW });
    assert_eq!(record.demand(&soon.wish, &shop(), later), None, "never lowered");
}

#[test]
fn case_19_a_present_replica_is_looked_after_when_it_is_asked_for_and_old() {
    let record = present();
    assert_eq!(demand(&record, NOW + (MAX_AGE - Duration::from_millis(1))), None);
    let old = NOW + MAX_AGE;
    assert_eq!(demand(&record, old), Some(Demand::Again(Priority::Refresh)));
    assert_eq!(record.demand(&wish(|wish| wish.max_age = None).wish, &shop(), old), None);

    let refreshing = refreshing();
    assert_eq!((refreshing.state, demand(&refreshing, old)), (State::Present, None));
    let moved = settle(refreshing.clone(), copied_as('b'), old);
    assert_eq!((moved.state, moved.checked_at), (State::Present, Some(old)));
    assert_ne!(moved.digest, record.digest);

    let digest = record.digest.clone().unwrap();
    let current = settle(
        refreshing,
        Settlement::Copied { digest, size_bytes: 0, contents: None, charge: None },
        old,
    );
    assert_eq!((current.digest, current.size_bytes), (record.digest, Some(42)));
    assert_eq!(current.checked_at, Some(old));
}

#[test]
fn a_clock_that_was_wrong_by_an_hour_does_not_keep_a_replica_from_being_looked_after() {
    assert_eq!(
        demand(&Record { checked_at: Some(NOW + MAX_AGE), ..present() }, NOW),
        Some(Demand::Again(Priority::Refresh))
    );
}

#[test]
fn case_20_a_replica_whose_source_is_down_or_gone_is_stale_until_it_is_there_again() {
    let old = NOW + MAX_AGE;
    let stale = settle(refreshing(), failed("down", Duration::ZERO), old);
    assert_eq!((stale.state, stale.attempts), (State::Stale, 1));
    assert_eq!((stale.digest.is_some(), stale.checked_at), (true, Some(NOW)));
    let due_at = stale.next_try().unwrap();
    let again = stale.join(1, due_at).unwrap().claim(owner(), due_at).unwrap();
    assert_eq!(again.state, State::Stale);
    let handed_back = again.clone().hand_back(1, due_at).unwrap();
    assert_eq!(handed_back.state, State::Stale);
    let present = settle(again, copied(), due_at);
    assert_eq!((present.state, present.failure, present.attempts), (State::Present, None, 0));

    let gone = settle(refreshing(), refused(), old);
    assert_eq!((gone.state, &gone.work), (State::Stale, &Work::Idle));
    assert_eq!(demand(&gone, old + Duration::from_secs(29)), None, "not hammered");
    assert_eq!(demand(&gone, old + REFUSED_RETRY), Some(Demand::Again(Priority::Refresh)));
}

#[test]
fn who_asks_again_takes_the_turn() {
    let other = Ask { asker: asker("other"), ..ask("1.27") };
    assert_eq!(present().want(other, 1, NOW + MAX_AGE).namespace.as_str(), "other");
}

/// What one namespace may not have, another one may.
#[test]
fn a_source_that_one_namespace_was_denied_is_tried_at_once_for_another() {
    let other = Ask { asker: asker("other"), ..ask("1.27") };
    let record = settle(copying(), denied(), NOW);
    assert_eq!(demand(&record, NOW), None);
    let moved = record.want(other.clone(), 7, NOW);
    assert_eq!((moved.state, moved.namespace.as_str()), (State::Wanted, "other"));
    assert_eq!((&moved.failure, moved.attempts), (&None, 0));
    assert_eq!(moved.work, Work::Waiting { turn: 7, since: NOW });
    let missing = settle(copying(), refused(), NOW);
    assert_eq!(missing.clone().want(other, 7, NOW), missing, "nobody has it");
}

#[test]
fn words_are_readable_back() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for priority in Priority::ALL {
        assert_eq!(Priority::from_number(priority.as_number()), Some(priority));
    }
    assert_eq!((State::parse("lost"), Priority::from_number(3)), (None, None));
}

#[derive(Clone, Debug)]
enum Move {
    Want(Box<Ask>),
    Join,
    Claim,
    Settle(Settlement),
    Retire,
    EndRemoval(Removal),
    Expire,
    Wait(u64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        Just(Move::Want(Box::new(ask("1.27")))),
        Just(Move::Want(Box::new(wish(|wish| wish.priority = Priority::Soon)))),
        Just(Move::Want(Box::new(wish(|wish| wish.max_age = None)))),
        Just(Move::Want(Box::new(wish(|wish| wish.target = target("elsewhere"))))),
        Just(Move::Want(Box::new(Ask { asker: asker("other"), ..ask("1.27") }))),
        Just(Move::Join),
        Just(Move::Claim),
        Just(Move::Settle(copied())),
        Just(Move::Settle(copied_as('b'))),
        Just(Move::Settle(failed("no", Duration::ZERO))),
        Just(Move::Settle(refused())),
        Just(Move::Settle(denied())),
        Just(Move::Settle(Settlement::HandedBack)),
        Just(Move::Retire),
        Just(Move::EndRemoval(Removal::Gone)),
        Just(Move::EndRemoval(Removal::Kept)),
        Just(Move::EndRemoval(Removal::Unknown)),
        Just(Move::Expire),
        (0..4_000_000u64).prop_map(Move::Wait),
    ]
}

/// A record is served, on its way, or refused with the reason.
fn is_legal(record: &Record) -> bool {
    let will_be_tried = record.work.is_ahead();
    let is_running = matches!(record.work, Work::Leased { .. });
    match record.state {
        // Under a lease it is leaving.
        State::Wanted => matches!(record.work, Work::Waiting { .. } | Work::Leased { .. }),
        State::Copying => is_running,
        State::Present => {
            record.digest.is_some() && record.checked_at.is_some() && record.failure.is_none()
        }
        State::Stale => record.digest.is_some() && record.failure.is_some(),
        State::Failed => will_be_tried && record.failure.is_some(),
        State::Refused => !is_running && record.failure.is_some(),
    }
}

/// What was forgotten is asked for once more.
fn wanted_again(record: &Record, now: Timestamp) -> Record {
    Record { claims: record.claims, ..Record::wanted(ask("1.27"), 1, now) }
}

proptest! {
    /// No order of events makes an illegal record; each change is seen by its revision; and
    /// whoever claimed something knows by its ticket whether it is still its own.
    #[test]
    fn nothing_is_lost(moves in proptest::collection::vec(any_move(), 0..80)) {
        let mut now = NOW;
        let mut record = wanted();
        let mut ticket = None;
        // Whether what it is worked on for is a removal.
        let mut leaves = false;
        for step in moves {
            let before = record.clone();
            leaves &= ticket.is_some();
            record = match step {
                Move::Want(ask) => record.want(*ask, 1, now),
                Move::Join => record.clone().join(1, now).unwrap_or(record),
                Move::Claim => match record.clone().claim(owner(), now) {
                    Some(record) => {
                        prop_assert_eq!(&ticket, &None, "claimed twice at once");
                        ticket = record.ticket();
                        record
                    }
                    None => record,
                },
                Move::Settle(settlement) => match ticket.take_if(|_| !leaves) {
                    Some(ticket) => record.settle(&ticket, settlement, 1, now).unwrap(),
                    None => record,
                },
                Move::Retire => match record.clone().retire(owner(), now) {
                    Some(record) => {
                        prop_assert_eq!(&ticket, &None, "taken from who works on it");
                        prop_assert!(record.is_leaving() && !record.state.is_there());
                        leaves = true;
                        ticket = record.ticket();
                        record
                    }
                    None => record,
                },
                Move::EndRemoval(removal) => match ticket.take_if(|_| leaves) {
                    Some(ticket) => {
                        let was_wanted = !record.is_leaving();
                        let was_there = record.checked_at.is_some();
                        match record.clone().end_removal(&ticket, removal, 1, now).unwrap() {
                            Left::Nothing => {
                                prop_assert!(removal == Removal::Gone && !was_wanted);
                                Record { revision: record.revision + 1, ..wanted_again(&record, now) }
                            }
                            Left::Stays(left) => {
                                let may_serve = removal == Removal::Kept && was_there && !was_wanted;
                                prop_assert_eq!(left.state.is_there(), may_serve);
                                prop_assert!(may_serve || left.work.is_ahead());
                                *left
                            }
                        }
                    }
                    None => record,
                },
                Move::Expire => {
                    if let Some(lost) = ticket.take() {
                        let was_leaving = record.is_leaving();
                        record = record.hand_back(1, now).unwrap();
                        prop_assert!(!was_leaving || record.checked_at.is_none());
                        prop_assert_eq!(record.clone().settle(&lost, copied(), 1, now), None);
                    }
                    record
                }
                Move::Wait(ms) => { now = now + Duration::from_millis(ms); record }
            };
            prop_assert!(is_legal(&record), "{:?}", record);
            prop_assert_eq!(record == before, record.revision == before.revision);
            prop_assert!(record.claims >= before.claims && record.revision >= before.revision);
        }
    }
}
