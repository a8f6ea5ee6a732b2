//! What a line of the audit record says. A field is left out where it has nothing to say; readers
//! ignore fields that they do not know. What means something else gets another version.

use std::time::Duration;

use protocol::{Receipt, Refusal, Side, Trigger};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

use crate::clock::Timestamp;
use crate::ending::Ending;
use crate::label::Label;
use crate::ledger::record::{Failure, Record, Settlement};

/// The schema and its version.
const SCHEMA: &str = "image-replicator/v1";

/// RFC 3339 with milliseconds, so that times sort as text.
const RFC3339_MS: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second { decimal_digits: std::num::NonZeroU8::new(3) })
    .encode();

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    audit: &'static str,
    #[serde(serialize_with = "rfc3339")]
    time: Timestamp,
    #[serde(flatten)]
    event: Event,
}

impl Entry {
    pub(super) fn new(time: Timestamp, event: Event) -> Self {
        Self { audit: SCHEMA, time, event }
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Event {
    /// A trigger was answered.
    Decision(Decision),
    /// A copy ended.
    Copy(CopyEnded),
    /// A replica was removed, since nobody used it.
    Removal(Removed),
    /// Lines are missing before this one.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// A trigger, and what was answered.
#[derive(Debug, Serialize)]
pub(crate) struct Decision {
    /// Who asked, by the name that it proved.
    caller: String,
    #[serde(flatten)]
    question: Option<Question>,
    /// The rule that decided; none for a reference that leads into the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// A state of a receipt, or the code of a refusal.
    result: &'static str,
    /// Where the replica is, or will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(flatten)]
    reason: Reason,
    #[serde(serialize_with = "milliseconds")]
    duration_ms: Duration,
}

/// What was asked, if it could be read.
#[derive(Debug, Serialize)]
struct Question {
    namespace: String,
    verb: &'static str,
    source: String,
}

/// Why there is no replica.
#[derive(Debug, Default, Serialize)]
struct Reason {
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A copy, and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct CopyEnded {
    /// The namespace that asked for it.
    namespace: String,
    source: String,
    target: String,
    /// The rule by which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(flatten)]
    reason: Reason,
    #[serde(serialize_with = "milliseconds")]
    duration_ms: Duration,
    /// Of blobs, to the target.
    bytes_moved: u64,
}

/// A replica that is not at the target any more.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    source: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// When it was asked for at last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
    last_asked: Option<Timestamp>,
    /// When a pod was seen to run it at last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
    last_run: Option<Timestamp>,
}

impl Removed {
    /// The replica of what `record` is about.
    pub(crate) fn new(
        record: &Record,
        last_asked: Option<Timestamp>,
        last_run: Option<Timestamp>,
    ) -> Self {
        Self {
            source: record.source.to_string(),
            target: record.target.to_string(),
            digest: record.digest.as_ref().map(ToString::to_string),
            last_asked,
            last_run,
        }
    }
}

impl Decision {
    /// What `caller` was answered; `trigger` is None where the question could not be read,
    /// and `rule` where none decided.
    pub(crate) fn new(
        caller: &str,
        trigger: Option<&Trigger>,
        rule: Option<&Label>,
        answer: &Result<Receipt, Refusal>,
        took: Duration,
    ) -> Self {
        let (result, receipt, reason) = match answer {
            Ok(receipt) => (receipt.state.as_str(), Some(receipt), Reason::default()),
            Err(refusal) => {
                (refusal.code.as_str(), None, Reason::new(refusal.side, &refusal.message))
            }
        };
        Self {
            caller: caller.to_owned(),
            question: trigger.map(|trigger| Question {
                namespace: trigger.namespace.to_string(),
                verb: trigger.verb.as_str(),
                source: trigger.source.to_string(),
            }),
            rule: rule.map(Label::to_string),
            result,
            target: receipt.map(|receipt| receipt.target.to_string()),
            digest: receipt.and_then(|receipt| Some(receipt.digest.as_ref()?.to_string())),
            reason,
            duration_ms: took,
        }
    }

    /// The answer in one word.
    pub(crate) fn result(&self) -> &'static str {
        self.result
    }
}

impl CopyEnded {
    /// What the record says of the end of a copy.
    pub(crate) fn new(ending: &Ending<'_>) -> Self {
        let (digest, reason) = match ending.settlement {
            Settlement::Copied { digest, .. } => (Some(digest.to_string()), Reason::default()),
            Settlement::Failed { failure: Failure { side, message, .. }, .. } => {
                (None, Reason::new(Some(*side), message))
            }
            Settlement::HandedBack => (None, Reason::default()),
        };
        let record = ending.before;
        Self {
            namespace: record.namespace.to_string(),
            source: record.source.to_string(),
            target: record.target.to_string(),
            rule: ending.rule.map(Label::to_string),
            result: ending.result(),
            digest,
            reason,
            duration_ms: ending.took,
            bytes_moved: ending.bytes_moved,
        }
    }
}

impl Reason {
    fn new(side: Option<Side>, message: &str) -> Self {
        Self { side: side.map(Side::as_str), message: Some(message.to_owned()) }
    }
}

impl From<Decision> for Event {
    fn from(decision: Decision) -> Self {
        Self::Decision(decision)
    }
}

impl From<CopyEnded> for Event {
    fn from(copy: CopyEnded) -> Self {
        Self::Copy(copy)
    }
}

impl From<Removed> for Event {
    fn from(removed: Removed) -> Self {
        Self::Removal(removed)
    }
}

fn optional_rfc3339<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// As text, in milliseconds.
pub(crate) fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.as_ms()) * 1_000_000);
    let time = time.map_err(S::Error::custom)?;
    let text = time.format(&Iso8601::<RFC3339_MS>).map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

/// With microseconds behind the point: an answer takes less than one.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}
