//! What is told: a CloudEvent (1.0, in JSON) about one replica. Its `data` is described by
//! `docs/notification-v1.schema.json`; what means something else gets another version.

use std::sync::Arc;

use bytes::Bytes;
use protocol::TargetRoot;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::audit::entry::rfc3339;
use crate::clock::Timestamp;
use crate::ending::Ending;
use crate::ledger::record::{Failure, Record, Settlement, State};

/// The schema of `data`.
const SCHEMA: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/notification-v1.schema.json");

/// What can be told of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It is there, with bytes that were not there before.
    Copied,
    /// It could not be copied, and will be tried again by itself.
    Failed,
    /// It is there, and whether it is what its source has now could not be found out.
    Stale,
    /// It could not be copied, and will not be unless somebody asks again.
    Refused,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Copied, Self::Failed, Self::Stale, Self::Refused];

    /// What the end of a copy means to others. What goes on as before is no news: a replica that
    /// was found current, the next try that fails, one more look at what is stale.
    fn of(ending: &Ending<'_>) -> Option<Self> {
        let Ending { before, after, settlement, .. } = ending;
        let after = (*after)?;
        let failed_before = before.failure.as_ref().map(|failure| failure.is_lasting);
        match (settlement, after.state) {
            (Settlement::Copied { size_bytes, .. }, _) => (*size_bytes > 0).then_some(Self::Copied),
            (Settlement::Failed { .. }, State::Stale) => {
                (before.state != State::Stale).then_some(Self::Stale)
            }
            (Settlement::Failed { failure, .. }, _)
                if failed_before == Some(failure.is_lasting) =>
            {
                None
            }
            (Settlement::Failed { .. }, State::Refused) => Some(Self::Refused),
            (Settlement::Failed { .. }, _) => Some(Self::Failed),
            (Settlement::HandedBack, _) => None,
        }
    }

    /// The CloudEvent's type.
    fn type_(self) -> &'static str {
        match self {
            Self::Copied => "io.image-replicator.replica.copied.v1",
            Self::Failed => "io.image-replicator.replica.failed.v1",
            Self::Stale => "io.image-replicator.replica.stale.v1",
            Self::Refused => "io.image-replicator.replica.refused.v1",
        }
    }
}

/// Something to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    pub(super) kind: Kind,
    at: Timestamp,
    before: &'a Record,
    after: &'a Record,
}

/// An event on its way.
#[derive(Debug)]
pub(crate) struct Notice {
    /// Tells it apart from all others, however often it is sent.
    pub(super) id: String,
    /// The event as it is sent.
    pub(super) body: Bytes,
    /// Since when it is on its way.
    pub(super) told_at: Instant,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    type_: &'static str,
    subject: String,
    #[serde(serialize_with = "rfc3339")]
    time: Timestamp,
    datacontenttype: &'static str,
    dataschema: &'static str,
    data: Data<'a>,
}

/// A field is left out where it has nothing to say.
#[derive(Serialize)]
struct Data<'a> {
    source: String,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    namespace: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureData<'a>>,
}

#[derive(Serialize)]
struct FailureData<'a> {
    code: &'a str,
    side: &'static str,
    message: &'a str,
}

/// The `source` of events about replicas below `target`: all replicators that share it tell of
/// the same replicas.
pub(super) fn origin(target: &TargetRoot) -> Arc<str> {
    format!("oci://{target}").into()
}

impl<'a> Event<'a> {
    /// What the end of a copy is to be told as; None where it is no news.
    pub(super) fn of(ending: &Ending<'a>) -> Option<Self> {
        let kind = Kind::of(ending)?;
        Some(Self { kind, at: ending.at, before: ending.before, after: ending.after? })
    }

    /// The event as it is sent, from `origin`.
    pub(super) fn notice(&self, origin: &str) -> Notice {
        let id = self.id();
        let event = CloudEvent {
            specversion: "1.0",
            id: &id,
            source: origin,
            type_: self.kind.type_(),
            subject: self.after.source.to_string(),
            time: self.at,
            datacontenttype: "application/json",
            dataschema: SCHEMA,
            data: data(self.after),
        };
        // Texts and numbers alone, and a time of this age: serialising them cannot fail.
        let body = serde_json::to_vec(&event).unwrap_or_default().into();
        Notice { id, body, told_at: Instant::now() }
    }

    /// A claim ends once, so its ticket makes an id that no other event has. It has no `.`, as
    /// Standard Webhooks asks.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        if let Some(ticket) = self.before.ticket() {
            hash.update(ticket.owner.as_str());
            hash.update(ticket.claim.to_be_bytes());
        }
        hash.update(self.before.source.to_string());
        let hash: [u8; 32] = hash.finalize().into();
        hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn data(record: &Record) -> Data<'_> {
    let is_there = record.state.is_there();
    let digest = record.digest.as_ref().filter(|_| is_there);
    let failure = record.failure.as_ref();
    Data {
        source: record.source.to_string(),
        target: record.target.to_string(),
        replica: digest.map(|digest| format!("{}@{digest}", record.target.name())),
        digest: digest.map(ToString::to_string),
        size_bytes: record.size_bytes.filter(|_| is_there),
        namespace: record.namespace.as_str(),
        state: record.state.as_str(),
        failure: failure.map(|Failure { code, side, message, .. }| FailureData {
            code: code.as_str(),
            side: side.as_str(),
            message,
        }),
    }
}

#[cfg(test)]
mod tests;
