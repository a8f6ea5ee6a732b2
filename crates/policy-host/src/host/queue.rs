//! The way from a guest's thread, which may block, to the async side, which must not.
//!
//! A bounded queue and one task that takes calls off it, each answered by a task of its own. So
//! slow calls pile up at the caches' locks ([`super::cache`]) and not here, as in the real host.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::CallError;
use super::answers::{Answers, Failure};
use super::request::HostRequest;

/// Calls that may wait to be taken up; the real host's figure. One more is an error at once.
const QUEUE_DEPTH: usize = 100;

struct Pending {
    request: HostRequest,
    reply: oneshot::Sender<Result<Vec<u8>, Failure>>,
}

/// The sending end of the queue; cheap to clone, one for all policies.
#[derive(Debug, Clone)]
pub struct HostCalls {
    queue: mpsc::Sender<Pending>,
}

impl HostCalls {
    /// Starts the task that answers. Must be called within a tokio runtime; the task ends when the
    /// last clone is gone.
    pub fn start(answers: Arc<Answers>) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Pending>(QUEUE_DEPTH);
        tokio::spawn(async move {
            while let Some(Pending { request, reply }) = waiting.recv().await {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    // The guest may have been interrupted meanwhile: then nobody listens.
                    let _ = reply.send(answers.answer(&request).await);
                });
            }
        });
        Self { queue }
    }

    /// Asks and waits. Blocks the thread, however long the answer takes.
    pub(super) fn ask(&self, request: HostRequest) -> Result<Vec<u8>, CallError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Pending { request, reply }).map_err(|_| CallError::QueueFull)?;
        match answer.blocking_recv() {
            Ok(Ok(payload)) => Ok(payload),
            Ok(Err(failure)) => Err(CallError::Failed(failure.layout())),
            Err(_) => Err(CallError::NoAnswer),
        }
    }
}
