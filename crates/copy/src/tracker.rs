//! How far a copy is, written by the engine and read by whoever is interested.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use protocol::Progress;

use crate::graph::{Blob, Role};

/// A copy's progress. Cheap to clone; clones show the same copy.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    layers_done: AtomicU64,
    layers_total: AtomicU64,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
}

impl Tracker {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        let counts = &self.counts;
        Progress {
            layers_done: counts.layers_done.load(Relaxed),
            layers_total: counts.layers_total.load(Relaxed),
            bytes_done: counts.bytes_done.load(Relaxed),
            bytes_total: counts.bytes_total.load(Relaxed),
        }
    }

    /// What there is to do. A copy that is tried again begins anew.
    pub(crate) fn begin(&self, blobs: &[Blob]) {
        let counts = &self.counts;
        for count in
            [&counts.layers_done, &counts.layers_total, &counts.bytes_done, &counts.bytes_total]
        {
            count.store(0, Relaxed);
        }
        self.more(blobs);
    }

    /// There is more to do than was known at the beginning.
    pub(crate) fn more(&self, blobs: &[Blob]) {
        let layers = blobs.iter().filter(|blob| blob.role == Role::Layer).count();
        self.counts.layers_total.fetch_add(layers as u64, Relaxed);
        let bytes = blobs.iter().map(|blob| blob.descriptor.size).sum();
        self.counts.bytes_total.fetch_add(bytes, Relaxed);
    }

    /// A blob is at the target; `bytes` of it were not counted yet.
    pub(crate) fn blob_done(&self, role: Role, bytes: u64) {
        self.counts.bytes_done.fetch_add(bytes, Relaxed);
        if role == Role::Layer {
            self.counts.layers_done.fetch_add(1, Relaxed);
        }
    }

    /// A blob that counted as done is not at the target after all.
    pub(crate) fn blob_lost(&self, role: Role, bytes: u64) {
        self.counts.bytes_done.fetch_sub(bytes, Relaxed);
        if role == Role::Layer {
            self.counts.layers_done.fetch_sub(1, Relaxed);
        }
    }

    /// Counts the bytes of one try to send a blob.
    pub(crate) fn attempt(&self) -> Attempt {
        Attempt { tracker: self.clone(), bytes: AtomicU64::new(0) }
    }
}

/// The bytes of one try. They count no longer when it is dropped before it succeeded.
pub(crate) struct Attempt {
    tracker: Tracker,
    bytes: AtomicU64,
}

impl Attempt {
    pub(crate) fn passed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.tracker.counts.bytes_done.fetch_add(bytes as u64, Relaxed);
    }

    /// Only the first `bytes` count: the rest passes again.
    pub(crate) fn back_to(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Relaxed);
        self.tracker.counts.bytes_done.fetch_sub(before.saturating_sub(bytes), Relaxed);
    }

    /// The try succeeded: its bytes are at the target.
    pub(crate) fn keep(&self) {
        self.bytes.store(0, Relaxed);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.tracker.counts.bytes_done.fetch_sub(self.bytes.load(Relaxed), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_try_takes_its_bytes_back() {
        let tracker = Tracker::default();
        let failed = tracker.attempt();
        failed.passed(70);
        assert_eq!(tracker.progress().bytes_done, 70);
        drop(failed);
        let good = tracker.attempt();
        good.passed(90);
        good.back_to(60);
        assert_eq!(tracker.progress().bytes_done, 60);
        good.passed(40);
        good.keep();
        drop(good);
        assert_eq!(tracker.progress().bytes_done, 100);
    }
}
