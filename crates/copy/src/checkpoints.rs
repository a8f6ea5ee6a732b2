//! States of a hash at some places of a blob, so that hashing can go on from near any byte that
//! was passed, without reading all of the blob again.

use registry::Hasher;

/// The least distance between two states: what is read twice when a target breaks off.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// The most states of one blob, of some 300 bytes each. The step doubles when they are as many.
const MOST: usize = 64;

/// States of one blob's hash, in the order of their places.
pub(crate) struct Checkpoints {
    step_bytes: u64,
    states: Vec<(u64, Hasher)>,
}

impl Checkpoints {
    pub(crate) fn new() -> Self {
        Self { step_bytes: STEP_BYTES, states: Vec::new() }
    }

    /// Keeps the state after `at` bytes, where the last one kept is far enough away.
    pub(crate) fn pass(&mut self, at: u64, hasher: &Hasher) {
        let last = self.states.last().map_or(0, |(at, _)| *at);
        if at < last.saturating_add(self.step_bytes) {
            return;
        }
        if self.states.len() == MOST {
            let mut place = 0;
            self.states.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.step_bytes *= 2;
        }
        self.states.push((at, hasher.clone()));
    }

    /// The last state at or before `at`; None where that is the beginning. Later ones are
    /// forgotten: the bytes after it pass again.
    pub(crate) fn back_to(&mut self, at: u64) -> Option<(u64, Hasher)> {
        self.states.retain(|(place, _)| *place <= at);
        self.states.last().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::reference::Algorithm;

    #[test]
    fn a_state_is_near_and_there_are_never_many() {
        const PIECE: u64 = 1 << 20;
        const SIZE: u64 = 4096 * PIECE;
        let mut checkpoints = Checkpoints::new();
        // The bytes do not matter here: a state is known by its place.
        let hasher = Hasher::new(Algorithm::Sha256);
        for piece in 1..=SIZE / PIECE {
            checkpoints.pass(piece * PIECE, &hasher);
            assert!(checkpoints.states.len() <= MOST);
        }
        for at in [SIZE, SIZE - 1, SIZE / 2 + 7] {
            let (place, _) = checkpoints.back_to(at).unwrap();
            assert!(place <= at && at - place < SIZE / 16, "{place} for {at}");
        }
        assert!(checkpoints.back_to(STEP_BYTES - 1).is_none());
        assert!(checkpoints.states.is_empty());
    }
}
