//! The board: how far each running copy is. Workers pin trackers to it, the front reads it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use copy::Tracker;
use protocol::{ImageReference, Progress};

use crate::pace::Pace;

/// How far each running copy is. Holds as many entries as there are workers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Board {
    running: Arc<RwLock<HashMap<ImageReference, Entry>>>,
}

struct Entry {
    tracker: Tracker,
    begun: Instant,
    /// As of the last look.
    pace: Mutex<Pace>,
}

/// A copy that runs here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// How far it is.
    pub(crate) progress: Progress,
    /// How fast it goes.
    pub(crate) pace: Pace,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Board")
    }
}

impl Board {
    /// How far the copy of `source` is; None where none runs here.
    pub(crate) fn progress(&self, source: &ImageReference) -> Option<Progress> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        running.get(source).map(|entry| entry.tracker.progress())
    }

    /// The same, and how fast it goes as of the looks that people took.
    pub(crate) fn running(&self, source: &ImageReference) -> Option<Running> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let Entry { tracker, begun, pace } = running.get(source)?;
        let progress = tracker.progress();
        let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = pace.seen(progress.bytes_done, begun.elapsed());
        Some(Running { progress, pace: *pace })
    }

    /// Shows `tracker` for `source` as long as the result lives.
    pub(crate) fn pin(&self, source: ImageReference, tracker: Tracker) -> Pinned {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry { tracker, begun: Instant::now(), pace: Mutex::default() };
        running.insert(source.clone(), entry);
        drop(running);
        Pinned { board: self.clone(), source }
    }
}

/// A copy that is shown on the board.
#[derive(Debug)]
pub(crate) struct Pinned {
    board: Board,
    source: ImageReference,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut running = self.board.running.write().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.source);
    }
}
