//! What is told, byte by byte, and when.

use std::time::Duration;

use boon::{Compiler, Schemas};
use protocol::{RefusalCode, Side};
use serde_json::Value;

use super::*;
use crate::ledger::record::Settlement::{Copied, Failed};
use crate::ledger::testing::asker;
use crate::ledger::work::{Ask, Owner, Priority, Wish};

const DATA_SCHEMA: &str = include_str!("../../../../../docs/notification-v1.schema.json");

/// 2026-11-25, at noon.
const NOON: Timestamp = Timestamp::from_ms(1_795_608_000_000);

/// A source as it was claimed for the first time.
fn claimed() -> Record {
    let target = "registry.corp/mirror/docker.io/library/nginx:1.27".parse().unwrap();
    let wish = Wish { target, priority: Priority::Now, max_age: None };
    let source = "docker.io/library/nginx:1.27".parse().unwrap();
    claim(Record::wanted(Ask { source, wish, asker: asker("shop") }, 0, NOON))
}

fn claim(record: Record) -> Record {
    record.claim(Owner::from("0123456789abcdef".to_owned()), NOON).unwrap()
}

/// The same, claimed anew.
fn again(record: &Record) -> Record {
    let turn = crate::ledger::work::Work::Waiting { turn: 0, since: NOON };
    claim(Record { work: turn, ..record.clone() })
}

fn copied(size_bytes: u64) -> Settlement {
    let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    Copied { digest, size_bytes, contents: None, charge: None }
}

fn failed(is_lasting: bool) -> Settlement {
    let (code, side) = match is_lasting {
        true => (RefusalCode::NotFound, Side::Source),
        false => (RefusalCode::Failed, Side::Target),
    };
    let message = "registry.corp \"says\" 503".to_owned();
    Failed { failure: Failure { code, side, message, is_lasting }, not_before: Duration::ZERO }
}

/// The record after `settlement`, and what is told of it.
fn settle(before: &Record, settlement: &Settlement) -> (Record, Option<(Kind, Notice)>) {
    let ticket = before.ticket().unwrap();
    let after = before.clone().settle(&ticket, settlement.clone(), 0, NOON).unwrap();
    let (took, bytes_moved) = (Duration::from_secs(1), 0);
    let ending =
        Ending { at: NOON, before, after: Some(&after), rule: None, settlement, took, bytes_moved };
    let event = Event::of(&ending);
    let origin = origin(&"registry.corp/mirror".parse().unwrap());
    let told = event.map(|event| (event.kind, event.notice(&origin)));
    assert!(Event::of(&Ending { after: None, ..ending }).is_none(), "it does not count");
    (after, told)
}

/// One of each kind.
fn one_of_each() -> Vec<Notice> {
    let (present, new) = settle(&claimed(), &copied(7_340_032));
    let all = [
        new,
        settle(&claimed(), &failed(false)).1,
        settle(&again(&present), &failed(false)).1,
        settle(&claimed(), &failed(true)).1,
    ];
    let all = all.map(Option::unwrap);
    assert_eq!(all.each_ref().map(|(kind, _)| *kind), Kind::ALL);
    all.into_iter().map(|(_, notice)| notice).collect()
}

#[test]
fn each_event_is_a_cloudevent_whose_data_is_of_the_schema() {
    let schema: Value = serde_json::from_str(DATA_SCHEMA).unwrap();
    assert_eq!(schema["$id"], SCHEMA);
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("data.json", schema.clone()).unwrap();
    let compiled = compiler.compile("data.json", &mut schemas).unwrap();
    let notices = one_of_each();
    let text = |notice: &Notice| String::from_utf8(notice.body.to_vec()).unwrap();
    insta::assert_snapshot!(notices.iter().map(text).collect::<Vec<_>>().join("\n"));
    let events = notices.iter().map(|notice| serde_json::from_slice(&notice.body).unwrap());
    let events: Vec<Value> = events.collect();
    for (event, notice) in events.iter().zip(&notices) {
        assert_eq!((&event["specversion"], &event["id"]), (&"1.0".into(), &(&*notice.id).into()));
        let valid = schemas.validate(&event["data"], compiled);
        assert!(valid.is_ok(), "{event}: {}", valid.unwrap_err());
    }
    for field in schema["properties"].as_object().unwrap().keys() {
        assert!(events.iter().any(|event| event["data"].get(field).is_some()), "no {field}");
    }
    assert!(schemas.validate(&serde_json::json!({"state": "present"}), compiled).is_err());
}

#[test]
fn what_goes_on_as_before_is_no_news() {
    let kind = |(record, told): (Record, Option<(Kind, Notice)>)| (record, told.map(|one| one.0));
    // Tried again and again, until it goes.
    let (record, told) = kind(settle(&claimed(), &failed(false)));
    assert_eq!(told, Some(Kind::Failed));
    let (record, told) = kind(settle(&again(&record), &failed(false)));
    assert_eq!(told, None);
    let (refused, told) = kind(settle(&again(&record), &failed(true)));
    assert_eq!(told, Some(Kind::Refused));
    assert_eq!(kind(settle(&again(&refused), &failed(true))).1, None);
    let (present, told) = kind(settle(&again(&record), &copied(9)));
    assert_eq!(told, Some(Kind::Copied));
    // Looked at: current, stale, still stale, current, stale once more, moved.
    let (present, told) = kind(settle(&again(&present), &copied(0)));
    assert_eq!(told, None);
    let (stale, told) = kind(settle(&again(&present), &failed(true)));
    assert_eq!(told, Some(Kind::Stale));
    assert_eq!(kind(settle(&again(&stale), &failed(false))).1, None);
    let (present, told) = kind(settle(&again(&stale), &copied(0)));
    assert_eq!(told, None);
    let (stale, told) = kind(settle(&again(&present), &failed(false)));
    assert_eq!(told, Some(Kind::Stale));
    assert_eq!(kind(settle(&again(&stale), &copied(9))).1, Some(Kind::Copied));
    assert!(settle(&claimed(), &Settlement::HandedBack).1.is_none());
}

#[test]
fn each_claim_has_an_id_of_its_own() {
    let id = |before: &Record| settle(before, &copied(9)).1.unwrap().1.id;
    let first = claimed();
    assert_eq!(id(&first), id(&first.clone()));
    assert_ne!(id(&first), id(&again(&first)));
    let other = claim(Record {
        work: crate::ledger::work::Work::Waiting { turn: 0, since: NOON },
        source: "docker.io/library/nginx:1.28".parse().unwrap(),
        claims: 0,
        ..first.clone()
    });
    assert_ne!(id(&first), id(&other));
}
