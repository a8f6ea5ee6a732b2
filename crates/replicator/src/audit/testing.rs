//! What tests need of the audit record.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Audit, Writing};
use crate::metrics::Metrics;

/// An output in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A record that ends up in memory.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Where to record.
    pub(crate) audit: Audit,
    writing: Writing,
    memory: Memory,
}

impl Recorded {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let memory = Memory::default();
        Self::through(Box::new(memory.clone()), memory)
    }

    /// An empty one, written through `output`, which hands it on to `memory`.
    pub(crate) fn through(output: Box<dyn Write + Send>, memory: Memory) -> Self {
        let (audit, writing) = Audit::begin(output, Metrics::default()).unwrap();
        Self { audit, writing, memory }
    }

    /// All that was written, once all of it is.
    pub(crate) fn text(self) -> String {
        self.audit.lines.send(None).unwrap();
        self.writing.0.join().unwrap();
        String::from_utf8(self.memory.0.lock().unwrap().clone()).unwrap()
    }

    /// Ends it as the process does.
    pub(crate) async fn close(self) {
        self.audit.close(self.writing).await;
    }

    /// The lines of it.
    pub(crate) fn lines(self) -> Vec<Value> {
        lines(&self.text())
    }
}

/// The lines of a record.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
