//! The record line by line, and what becomes of it while nobody takes it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use boon::{Compiler, Schemas};
use protocol::{Digest, Progress, Receipt, Refusal, RefusalCode, ReplicaState, Side, Trigger};
use serde_json::{Value, json};

use super::entry::{CopyEnded, Decision, Removed};
use super::testing::{Memory, Recorded, lines};
use super::*;
use crate::ending::Ending;
use crate::ledger::record::{Failure, Record, Settlement};
use crate::ledger::testing::asker;
use crate::ledger::work::{Ask, Priority, Wish};

const SCHEMA: &str = include_str!("../../../../docs/audit.schema.json");

/// 2026-11-25, at noon.
const NOON: Timestamp = Timestamp::from_ms(1_795_608_000_000);

fn digest() -> Digest {
    format!("sha256:{}", "a".repeat(64)).parse().unwrap()
}

fn trigger() -> Trigger {
    Trigger::decode("v1/replica/shop/tag/docker.io/library/nginx", "1.27").unwrap()
}

fn target() -> protocol::ImageReference {
    "registry.corp/mirror/docker.io/library/nginx:1.27".parse().unwrap()
}

fn receipt(state: ReplicaState) -> Receipt {
    let digest = Some(digest());
    let (progress, age_s) = (None, None);
    Receipt { source: trigger().source, target: target(), digest, state, progress, age_s }
}

fn record() -> Record {
    let wish = Wish { target: target(), priority: Priority::Now, max_age: None };
    Record::wanted(Ask { source: trigger().source, wish, asker: asker("shop") }, 0, NOON)
}

/// One of each kind of line, and of each kind of answer.
fn one_of_each() -> Vec<Event> {
    let us = Duration::from_micros;
    let rule = "hub".parse().unwrap();
    let decision =
        |trigger, answer| Decision::new("policy", trigger, Some(&rule), &answer, us(412)).into();
    let question = trigger();
    let pending =
        Refusal::new(RefusalCode::Pending, "docker.io/library/nginx:1.27", "copying 43 %")
            .with_progress(Some(Progress::default()));
    let malformed = Refusal::new(RefusalCode::Malformed, "", "'v1/x' is not a trigger");
    let failure = Failure {
        code: RefusalCode::Failed,
        side: Side::Source,
        message: "source docker.io: 503".to_owned(),
        is_lasting: false,
    };
    let record = record();
    let copy = |settlement: Settlement, counts: bool, bytes_moved| {
        CopyEnded::new(&Ending {
            at: NOON,
            before: &record,
            after: counts.then_some(&record),
            rule: Some(&rule),
            settlement: &settlement,
            took: us(7_200_000_000),
            bytes_moved,
        })
        .into()
    };
    let copied =
        Settlement::Copied { digest: digest(), size_bytes: 9, contents: None, charge: None };
    vec![
        decision(Some(&question), Ok(receipt(ReplicaState::Present))),
        decision(Some(&question), Err(pending.at(Side::Target))),
        decision(None, Err(malformed)),
        copy(copied.clone(), true, 9),
        copy(copied, false, 9),
        copy(Settlement::Failed { failure, not_before: Duration::ZERO }, true, 0),
        copy(Settlement::HandedBack, true, 0),
        Removed::new(&record, Some(NOON), Some(NOON)).into(),
        Event::Gap { missed: 3 },
    ]
}

#[test]
fn each_line_is_of_the_schema_and_all_of_it_is_used() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("audit.schema.json", schema.clone()).unwrap();
    let compiled = compiler.compile("audit.schema.json", &mut schemas).unwrap();
    let recorded = Recorded::new();
    for event in one_of_each() {
        recorded.audit.record(NOON, event);
    }
    let text = recorded.text();
    insta::assert_snapshot!(text);
    let lines = lines(&text);
    for line in &lines {
        let valid = schemas.validate(line, compiled);
        assert!(valid.is_ok(), "{line}: {}", valid.unwrap_err());
    }
    for field in schema["properties"].as_object().unwrap().keys() {
        assert!(lines.iter().any(|line| line.get(field).is_some()), "no line has {field}");
    }
    for wrong in [
        json!({}),
        json!({"audit": "image-replicator/v1", "time": "2026-11-25T12:00:00.000Z", "kind": "copy"}),
        json!({"audit": "image-replicator/v2", "time": "2026-11-25T12:00:00.000Z", "kind": "gap", "missed": 1}),
        json!({"audit": "image-replicator/v1", "time": "noon", "kind": "gap", "missed": 1}),
    ] {
        assert!(schemas.validate(&wrong, compiled).is_err(), "{wrong}");
    }
}

/// An output that waits for a word before each write, and fails where the word is no.
struct Gate {
    words: Receiver<bool>,
    asked: Sender<()>,
    memory: Memory,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(());
        match self.words.recv() {
            Ok(true) | Err(_) => self.memory.write(bytes),
            Ok(false) => Err(io::Error::other("the disk is full")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gated() -> (Recorded, Sender<bool>, Receiver<()>) {
    let (word, words) = channel();
    let (asked, asking) = channel();
    let memory = Memory::default();
    let gate = Gate { words, asked, memory: memory.clone() };
    (Recorded::through(Box::new(gate), memory), word, asking)
}

fn decision() -> Decision {
    let answer = Ok(receipt(ReplicaState::Present));
    Decision::new("policy", Some(&trigger()), None, &answer, Duration::ZERO)
}

fn count(lines: &[Value], kind: &str) -> usize {
    lines.iter().filter(|line| line["kind"] == kind).count()
}

fn missed(lines: &[Value]) -> u64 {
    lines.iter().filter_map(|line| line["missed"].as_u64()).sum()
}

#[test]
fn a_record_that_nobody_takes_holds_up_nothing_and_tells_its_gap() {
    let (recorded, word, asking) = gated();
    let audit = &recorded.audit;
    audit.record(NOON, decision());
    asking.recv().unwrap();
    // The writer is stuck: the queue takes what it can, and this goes on all the same.
    let beyond = 5;
    for _ in 0..WAITING_LINES + beyond {
        audit.record(NOON, decision());
    }
    let shown = audit.missed.metrics.counted();
    assert!(shown.contains("image_replicator_audit_lines_missed_total 5\n"), "{shown}");
    drop(word);
    let lines = recorded.lines();
    assert_eq!(count(&lines, "decision"), 1 + WAITING_LINES);
    assert_eq!(missed(&lines), beyond as u64);
}

#[test]
fn lines_that_could_not_be_written_are_told_once_that_works_again() {
    let (recorded, word, _asking) = gated();
    let audit = &recorded.audit;
    for failed in 1..=2 {
        word.send(false).unwrap();
        audit.record(NOON, decision());
        // The next one is not of the same batch.
        while audit.missed.count.load(Ordering::Relaxed) < failed {
            std::thread::yield_now();
        }
    }
    drop(word);
    audit.record(NOON, decision());
    let lines = lines(recorded.text().trim_start());
    assert_eq!((count(&lines, "decision"), missed(&lines)), (1, 2));
}

#[tokio::test]
async fn a_file_is_gone_on_with_and_never_changed() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("audit.jsonl");
    let destination = Destination::try_from(path.display().to_string()).unwrap();
    for number in 1..=2 {
        let (audit, writing) =
            Audit::begin(destination.open().unwrap(), Metrics::default()).unwrap();
        audit.record(NOON, decision());
        audit.close(writing).await;
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), number);
    }
}

#[tokio::test]
async fn a_record_that_nobody_takes_does_not_hold_up_the_end() {
    let (recorded, _word, asking) = gated();
    recorded.audit.record(NOON, decision());
    asking.recv().unwrap();
    recorded.close().await;
}

#[test]
fn a_destination_is_standard_output_or_an_absolute_path() {
    let destination = |text: &str| Destination::try_from(text.to_owned());
    assert_eq!(destination("stdout"), Ok(Destination::Stdout));
    assert_eq!(destination("/var/log/a"), Ok(Destination::File("/var/log/a".into())));
    for text in ["", "off", "stderr", "audit.jsonl"] {
        assert!(destination(text).is_err(), "{text}");
    }
}
