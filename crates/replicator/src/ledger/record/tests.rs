use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

fn source() -> ImageReference {
    "nginx:1.27".parse().unwrap()
}

fn target() -> ImageReference {
    "registry.corp/docker.io/library/nginx:1.27".parse().unwrap()
}

fn copying() -> Record {
    Record::wanted(source(), target(), NOW).claim(NOW).unwrap()
}

fn failure(code: RefusalCode, is_lasting: bool) -> Failure {
    Failure { code, side: Side::Source, message: "no".into(), is_lasting }
}

fn failed(not_before: Duration) -> Settlement {
    Settlement::Failed { failure: failure(RefusalCode::Failed, false), not_before }
}

fn refused() -> Settlement {
    let failure = failure(RefusalCode::NotFound, true);
    Settlement::Failed { failure, not_before: Duration::ZERO }
}

fn copied() -> Settlement {
    let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    Settlement::Copied { digest, size_bytes: 7 }
}

#[test]
fn a_wanted_source_is_copied_and_present() {
    let record = copying();
    assert_eq!((record.state, record.due_at), (State::Copying, None));
    let record = record.settle(copied(), NOW).unwrap();
    assert_eq!(record.state, State::Present);
    assert_eq!((record.size_bytes, record.due_at, record.revision), (Some(7), None, 3));
    assert!(!record.needs_want(&target(), NOW + LAST_RETRY));
    assert_eq!(record.claim(NOW), None);
}

#[test]
fn one_copy_is_claimed_once_and_settled_once() {
    let record = copying();
    assert_eq!(record.clone().claim(NOW), None);
    let record = record.settle(copied(), NOW).unwrap();
    assert_eq!(record.settle(copied(), NOW), None);
}

#[test]
fn failures_are_tried_again_with_growing_delays_that_end() {
    let mut record = copying();
    let mut now = NOW;
    let mut delays = Vec::new();
    for _ in 0..12 {
        record = record.settle(failed(Duration::ZERO), now).unwrap();
        let due_at = record.due_at.unwrap();
        delays.push((due_at - now).as_secs());
        assert_eq!(
            record.clone().claim(due_at + Duration::ZERO).map(|r| r.state),
            Some(State::Copying)
        );
        assert_eq!(record.clone().claim(now), None, "not before it is due");
        now = due_at;
        record = record.claim(now).unwrap();
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
}

#[test]
fn a_registry_that_names_a_time_is_heard() {
    let record = copying().settle(failed(Duration::from_secs(90)), NOW).unwrap();
    assert_eq!(record.due_at.unwrap() - NOW, Duration::from_secs(90));
}

#[test]
fn a_refused_source_is_tried_again_when_asked_after_a_while_and_says_no_until_then() {
    let record = copying().settle(refused(), NOW).unwrap();
    assert_eq!(record.due_at, None);
    assert!(!record.needs_want(&target(), NOW + (REFUSED_RETRY - Duration::from_millis(1))));
    let later = NOW + REFUSED_RETRY;
    let record = record.want(&target(), later);
    assert_eq!((record.state, record.due_at), (State::Refused, Some(later)));
    assert!(record.failure.is_some());
    assert!(!record.needs_want(&target(), later + REFUSED_RETRY), "already on its way");
    let record = record.claim(later).unwrap().settle(copied(), later).unwrap();
    assert_eq!((record.state, record.failure, record.attempts), (State::Present, None, 0));
}

#[test]
fn a_handed_back_copy_is_due_at_once_and_counts_as_no_failure() {
    let record = copying().settle(Settlement::HandedBack, NOW).unwrap();
    assert_eq!((record.state, record.due_at, record.attempts), (State::Wanted, Some(NOW), 0));
}

#[test]
fn another_target_makes_a_present_replica_wanted_again() {
    let record = copying().settle(copied(), NOW).unwrap();
    let revision = record.revision;
    let moved = "other.corp/docker.io/library/nginx:1.27".parse().unwrap();
    let record = record.want(&moved, NOW);
    assert_eq!((record.state, &record.target), (State::Wanted, &moved));
    assert!(record.revision > revision);
}

#[test]
fn states_are_readable_back() {
    for state in [State::Wanted, State::Copying, State::Present, State::Failed, State::Refused] {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    assert_eq!(State::parse("lost"), None);
}

#[derive(Clone, Debug)]
enum Move {
    Want,
    Claim,
    Settle(Settlement),
    Wait(u64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        Just(Move::Want),
        Just(Move::Claim),
        Just(Move::Settle(copied())),
        Just(Move::Settle(failed(Duration::ZERO))),
        Just(Move::Settle(refused())),
        Just(Move::Settle(Settlement::HandedBack)),
        (0..400_000u64).prop_map(Move::Wait),
    ]
}

proptest! {
    /// No order of events loses a source: it is present, under way, due some day, or refused
    /// with a reason; and each change is seen by its revision.
    #[test]
    fn nothing_is_lost(moves in proptest::collection::vec(any_move(), 0..60)) {
        let mut now = NOW;
        let mut record = Record::wanted(source(), target(), now);
        for step in moves {
            let before = record.clone();
            record = match step {
                Move::Want => record.want(&target(), now),
                Move::Claim => record.clone().claim(now).unwrap_or(record),
                Move::Settle(settlement) => record.clone().settle(settlement, now).unwrap_or(record),
                Move::Wait(ms) => { now = now + Duration::from_millis(ms); record }
            };
            let safe = match record.state {
                State::Wanted | State::Failed => record.due_at.is_some(),
                State::Copying => record.due_at.is_none(),
                State::Present => record.digest.is_some() && record.failure.is_none(),
                State::Refused => record.failure.is_some(),
            };
            prop_assert!(safe, "{:?}", record);
            prop_assert_eq!(record == before, record.revision == before.revision);
        }
    }
}
