//! The thread that writes the audit record: whole lines, as many at once as wait.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::Missed;
use super::entry::{Entry, Event};

/// Lines that are written at once while more wait.
const LINES_AT_ONCE: u64 = 256;

pub(super) struct Writer {
    output: Box<dyn Write + Send>,
    missed: Arc<Missed>,
    /// What is to be written next.
    bytes: Vec<u8>,
    /// How many lines that is, without the gap.
    lines: u64,
    /// How many lines it says are missing.
    gap: u64,
    /// The output may end within a line.
    torn: bool,
}

impl Writer {
    pub(super) fn new(output: Box<dyn Write + Send>, missed: Arc<Missed>) -> Self {
        Self { output, missed, bytes: Vec::new(), lines: 0, gap: 0, torn: false }
    }

    /// Writes until it is told to end, which is None.
    pub(super) fn run(mut self, waiting: &Receiver<Option<Entry>>) {
        while let Ok(Some(entry)) = waiting.recv() {
            self.gap = self.missed.take();
            if self.gap > 0 {
                self.add(&Entry::new(entry.time(), Event::Gap { missed: self.gap }));
            }
            self.add(&entry);
            self.lines = 1;
            let mut end = false;
            while self.lines < LINES_AT_ONCE && !end {
                match waiting.try_recv() {
                    Ok(Some(entry)) => {
                        self.add(&entry);
                        self.lines += 1;
                    }
                    Ok(None) => end = true,
                    Err(_) => break,
                }
            }
            self.write();
            if end {
                return;
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        // Texts and numbers alone, and a time of this age: serialising them cannot fail.
        let _ = serde_json::to_writer(&mut self.bytes, entry);
        self.bytes.push(b'\n');
    }

    fn write(&mut self) {
        match self.write_all() {
            Ok(()) => self.torn = false,
            Err(error) => {
                self.torn = true;
                self.missed.give_back(self.gap);
                self.missed.add(self.lines, &error.to_string());
            }
        }
        self.bytes.clear();
    }

    fn write_all(&mut self) -> io::Result<()> {
        if self.torn {
            self.output.write_all(b"\n")?;
        }
        self.output.write_all(&self.bytes)?;
        self.output.flush()
    }
}
