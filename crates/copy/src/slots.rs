//! A part of the target's requests for each source: uploads that wait for a slow source do not
//! keep those from other sources out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Registry;
use registry::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::MAX_SLOTS;

/// The blobs on their way, by source and target.
#[derive(Default)]
pub(crate) struct Slots {
    of: Mutex<HashMap<(Registry, Registry), Arc<Semaphore>>>,
}

impl Slots {
    /// Waits until one more blob may be on its way from `source` to `target`. To be taken before
    /// any permit of the client, since its holder waits for those.
    pub(crate) async fn slot(
        &self,
        client: &Client,
        source: &Registry,
        target: &Registry,
    ) -> OwnedSemaphorePermit {
        let slots = {
            let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
            if of.len() >= MAX_SLOTS {
                of.retain(|_, slots| Arc::strong_count(slots) > 1);
            }
            let slots = of.entry((source.clone(), target.clone()));
            let new = || Arc::new(Semaphore::new(share(client.requests_at_once(target))));
            Arc::clone(slots.or_insert_with(new))
        };
        slots.acquire_owned().await.expect("nobody closes the slots")
    }
}

/// Three quarters of what the target takes at once: a source that is alone is hardly slowed, and
/// one that is stuck leaves room.
fn share(requests_at_once: usize) -> usize {
    (requests_at_once - requests_at_once.div_ceil(4)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_something_and_leaves_something() {
        assert_eq!([0, 1, 2, 4, 16].map(share), [1, 1, 1, 3, 12]);
    }
}
