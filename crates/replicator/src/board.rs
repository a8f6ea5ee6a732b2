//! The board: how far each running copy is. Workers pin trackers to it, the front reads it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use copy::Tracker;
use protocol::{ImageReference, Progress};

/// How far each running copy is. Holds as many entries as there are workers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Board {
    running: Arc<RwLock<HashMap<ImageReference, Tracker>>>,
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
        running.get(source).map(Tracker::progress)
    }

    /// Shows `tracker` for `source` as long as the result lives.
    pub(crate) fn pin(&self, source: ImageReference, tracker: Tracker) -> Pinned {
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.insert(source.clone(), tracker);
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
