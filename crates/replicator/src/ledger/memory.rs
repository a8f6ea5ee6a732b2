//! What a process remembers of records, and how long it believes that.
//!
//! Of a file this process is the only master: what it remembers is so. On PostgreSQL others
//! change rows, so a memory is believed for a short time, and for as long as nobody can be asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::ops::compute::Op;
use protocol::ImageReference;

use super::record::Record;
use crate::clock::Timestamp;

/// Records kept in memory. About 800 bytes each, so 16 MiB at the most.
const REMEMBERED_RECORDS: u64 = 20_000;

/// How long it is believed that a replica is there: so much later than its own replicator another
/// one tells a new digest. The host believes a receipt for a minute.
const BELIEVED_THERE: Duration = Duration::from_secs(5);

/// How long it is believed that one is not: a pod that waits asks every few seconds, and shall
/// hear soon that it need not.
const BELIEVED_ABSENT: Duration = Duration::from_millis(500);

/// What a process remembers.
#[derive(Debug)]
pub(super) struct Memory {
    known: moka::sync::Cache<ImageReference, Arc<Entry>>,
    is_shared: bool,
}

#[derive(Debug)]
struct Entry {
    record: Arc<Record>,
    read_at_ms: AtomicI64,
}

/// A memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recalled {
    /// It is believed.
    Fresh(Arc<Record>),
    /// Somebody may have changed it; who hears this looks, and all others go on believing.
    Old(Arc<Record>),
}

impl Memory {
    /// An empty one, of rows that other processes change, or do not.
    pub(super) fn new(is_shared: bool) -> Self {
        Self { known: moka::sync::Cache::new(REMEMBERED_RECORDS), is_shared }
    }

    /// What is remembered of `source`.
    pub(super) fn recall(&self, source: &ImageReference, now: Timestamp) -> Option<Recalled> {
        let entry = self.known.get(source)?;
        let record = Arc::clone(&entry.record);
        let read_at = entry.read_at_ms.load(Ordering::Relaxed);
        let believed = if record.state.is_there() { BELIEVED_THERE } else { BELIEVED_ABSENT };
        let is_fresh = !self.is_shared || now.apart(Timestamp::from_ms(read_at)) < believed;
        // One of all who ask at this moment looks.
        let looks = || {
            let order = Ordering::Relaxed;
            entry.read_at_ms.compare_exchange(read_at, now.as_ms(), order, order).is_ok()
        };
        Some(if is_fresh || !looks() { Recalled::Fresh(record) } else { Recalled::Old(record) })
    }

    /// There is no such record any more.
    pub(super) fn forget(&self, source: &ImageReference) {
        self.known.invalidate(source);
    }

    /// Keeps the newer one of what is remembered and `record`, which was so at `now`.
    pub(super) fn remember(&self, record: &Arc<Record>, now: Timestamp) {
        self.known.entry_by_ref(&record.source).and_compute_with(|known| match known {
            Some(known) if known.value().record.revision > record.revision => Op::Nop,
            _ => Op::Put(Arc::new(Entry {
                record: Arc::clone(record),
                read_at_ms: AtomicI64::new(now.as_ms()),
            })),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{ask, source};

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn record(revision: u64) -> Arc<Record> {
        Arc::new(Record { revision, ..Record::wanted(ask("1"), 1, NOW) })
    }

    #[test]
    fn the_newer_of_two_readings_is_kept() {
        let memory = Memory::new(false);
        memory.remember(&record(2), NOW);
        memory.remember(&record(1), NOW);
        assert_eq!(memory.recall(&source("1"), NOW), Some(Recalled::Fresh(record(2))));
        assert_eq!(memory.recall(&source("2"), NOW), None);
    }

    #[test]
    fn what_others_may_have_changed_is_looked_up_by_one_after_a_while() {
        let memory = Memory::new(true);
        memory.remember(&record(1), NOW);
        let later = NOW + BELIEVED_ABSENT;
        assert_eq!(memory.recall(&source("1"), NOW), Some(Recalled::Fresh(record(1))));
        assert_eq!(memory.recall(&source("1"), later), Some(Recalled::Old(record(1))));
        assert_eq!(memory.recall(&source("1"), later), Some(Recalled::Fresh(record(1))));
        let even_later = later + BELIEVED_ABSENT;
        assert_eq!(memory.recall(&source("1"), even_later), Some(Recalled::Old(record(1))));
    }

    #[test]
    fn the_only_master_of_a_file_believes_itself() {
        let memory = Memory::new(false);
        memory.remember(&record(1), NOW);
        let later = NOW + Duration::from_secs(3_600);
        assert_eq!(memory.recall(&source("1"), later), Some(Recalled::Fresh(record(1))));
    }
}
