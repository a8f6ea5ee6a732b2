//! The audit record: one line of JSON for each decision and each copy, for machines and for years.
//!
//! - [`entry`]: what a line says; its schema is `docs/audit.schema.json`;
//! - `writer`: the thread that writes.
//!
//! Writing never holds up an answer: what cannot be written is counted, and the record says how
//! much of it is missing.

pub(crate) mod entry;
mod writer;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::metrics::Metrics;
use entry::{Entry, Event};
use writer::Writer;

/// Lines that wait to be written: some 4 MiB. At a thousand triggers a second they last for
/// eight, longer than a disk or a log collector stalls while it is well.
const WAITING_LINES: usize = 8_192;

/// How long the last lines may take when the process ends: nobody may be reading any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the record goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Destination {
    /// To standard output, which is the record's alone: logs go to standard error.
    #[default]
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;

    fn try_from(text: String) -> Result<Self, DestinationError> {
        match text.as_str() {
            "stdout" => Ok(Self::Stdout),
            path if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err(DestinationError(text)),
        }
    }
}

/// Not a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither 'stdout' nor the absolute path of a file")]
pub(crate) struct DestinationError(String);

impl Destination {
    /// Opens it for appending: nothing that was written is ever changed.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
        })
    }
}

/// The audit record. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// What is to be written; None ends it.
    lines: SyncSender<Option<Entry>>,
    missed: Arc<Missed>,
}

/// Lines that are missing and that the record does not yet say are missing.
#[derive(Debug)]
struct Missed {
    count: AtomicU64,
    metrics: Metrics,
}

impl Missed {
    /// Counts lines that were not written; the first of a gap is told in the log.
    fn add(&self, lines: u64, reason: &str) {
        self.metrics.audit_missed(lines);
        if self.count.fetch_add(lines, Ordering::Relaxed) == 0 {
            tracing::error!(reason, "the audit record has a gap");
        }
    }

    /// Takes what is to be told in the record.
    fn take(&self) -> u64 {
        self.count.swap(0, Ordering::Relaxed)
    }

    /// Could not be told after all.
    fn give_back(&self, lines: u64) {
        self.count.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The thread that writes the record.
#[derive(Debug)]
pub(crate) struct Writing(JoinHandle<()>);

impl Audit {
    /// Begins a record that goes to `output`.
    pub(crate) fn begin(
        output: Box<dyn Write + Send>,
        metrics: Metrics,
    ) -> io::Result<(Self, Writing)> {
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let missed = Arc::new(Missed { count: AtomicU64::new(0), metrics });
        let writer = Writer::new(output, Arc::clone(&missed));
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let writing = thread.spawn(move || writer.run(&waiting))?;
        Ok((Self { lines, missed }, Writing(writing)))
    }

    /// Writes down what happened at `time`, soon.
    pub(crate) fn record(&self, time: Timestamp, event: impl Into<Event>) {
        let entry = Entry::new(time, event.into());
        match self.lines.try_send(Some(entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.missed.add(1, "lines come faster than they are written");
            }
            Err(TrySendError::Disconnected(_)) => self.missed.add(1, "it was closed"),
        }
    }

    /// Waits until what was recorded is written, for a short while.
    pub(crate) async fn close(self, writing: Writing) {
        let (ended, end) = oneshot::channel();
        // A thread of its own: the runtime would wait for one of its own at its end, however long.
        std::thread::spawn(move || {
            let _ = self.lines.send(None);
            let _ = writing.0.join();
            let _ = ended.send(());
        });
        if tokio::time::timeout(CLOSE_TIMEOUT, end).await.is_err() {
            tracing::error!("the end of the audit record could not be written in time");
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
