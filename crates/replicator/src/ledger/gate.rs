//! The gate before the database: how many triggers may wait for it at once, and for how long.
//!
//! Who finds it full is turned away at once, so that a burst is answered late by nobody: those
//! inside are done in time, the others hear at once that they have to ask again. What memory
//! knows passes no gate, and workers do not either: what they hold must be settled.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::LedgerError;

/// Triggers that wait for the database at once, for reading and for writing each. A database that
/// takes 1 ms for a read on each of four connections, or 20 ms for a transaction of 256 changes,
/// is through with them in a fraction of the time that an answer may take.
pub(super) const PLACES: usize = 512;

/// A bounded way to the database.
#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
    limit: Duration,
}

impl Gate {
    /// One behind which work may take so long.
    pub(super) fn new(limit: Duration) -> Self {
        Self { places: Semaphore::new(PLACES), limit }
    }

    /// Does `work`, in time or not at all.
    pub(super) async fn pass<T>(
        &self,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let _place = self.places.try_acquire().map_err(|_| LedgerError::Crowded)?;
        tokio::time::timeout(self.limit, work).await.unwrap_or(Err(LedgerError::Busy))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;

    type Work = Result<(), LedgerError>;

    #[tokio::test]
    async fn who_finds_it_full_is_turned_away_and_who_leaves_makes_room() {
        let gate = Arc::new(Gate::new(Duration::MAX));
        let enter = |_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.pass(pending::<Work>()).await })
        };
        let inside: Vec<_> = (0..PLACES).map(enter).collect();
        while gate.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let turned_away = gate.pass(ready(Ok(()))).await;
        assert!(matches!(turned_away, Err(LedgerError::Crowded)), "{turned_away:?}");
        inside[0].abort();
        while gate.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        gate.pass(ready(Ok(()))).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_stays_longer_than_the_limit() {
        let late = Gate::new(Duration::from_millis(1)).pass(pending::<Work>()).await;
        assert!(matches!(late, Err(LedgerError::Busy)), "{late:?}");
    }
}
