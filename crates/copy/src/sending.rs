//! One blob into one upload: whole, or in the chunks that the registry wants, going on where
//! the target broke off as far as it kept what it got.

use std::time::Duration;

use protocol::ImageReference;
use registry::{Client, Descriptor, ErrorKind, Portion, Retry, Upload};

use crate::error::CopyError;
use crate::lending::Lender;
use crate::limits::Limits;

/// A blob on its way.
pub(crate) struct Sending<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) target: &'a ImageReference,
    pub(crate) blob: &'a Descriptor,
    pub(crate) upload: Upload,
    pub(crate) reader: Lender,
}

/// Why a blob did not get through.
pub(crate) enum Failed {
    /// The source is to blame. The target cannot have committed the blob: the last piece was
    /// never sent.
    Source(CopyError),
    /// The target is. `retry` tells of a new upload, here and now.
    Target { error: CopyError, retry: Retry },
}

/// What a request led to.
enum Step {
    /// The target has committed the blob.
    Done,
    /// It holds so many bytes.
    Holds(u64),
}

impl Sending<'_> {
    /// Sends it. After an error nothing wrong is committed.
    pub(crate) async fn run(mut self) -> Result<(), Failed> {
        let (mut at, mut resumes, mut fruitless) = (0, 0, 0);
        loop {
            let step = self.step(at).await;
            let given = self.reader.back().map_err(Failed::Source)?;
            let holds = match step {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Holds(holds)) if holds <= given => holds,
                Ok(Step::Holds(holds)) => return Err(self.too_many(holds, given)),
                Err(error) => {
                    if given == self.blob.size && self.is_there_after(&error).await {
                        return Ok(());
                    }
                    let holds = self.holds_after(&error, at, given).await?;
                    resumes += 1;
                    fruitless = if holds > at { 0 } else { fruitless + 1 };
                    let limits = self.limits;
                    if resumes > limits.resumes || fruitless >= limits.fruitless_resumes {
                        return Err(self.failed(error.retry(), error));
                    }
                    tracing::info!(%error, from = holds, "the upload goes on where it broke off");
                    holds
                }
            };
            if holds < given {
                self.reader.go_back_to(holds);
            }
            at = holds;
        }
    }

    async fn step(&mut self, at: u64) -> Result<Step, registry::Error> {
        match self.upload.next(self.blob, at) {
            Portion::Whole => {
                let body = self.reader.lend(self.blob.size);
                self.upload.put(self.blob, body).await.map(|()| Step::Done)
            }
            Portion::Chunk(length) => {
                let body = self.reader.lend(length);
                self.upload.chunk(at, length, body).await.map(Step::Holds)
            }
            Portion::Nothing => self.upload.finish(self.blob).await.map(|()| Step::Done),
        }
    }

    /// Whether the target has the blob although the answer to its last byte was lost, or refused
    /// it: some do not take what another client was faster to send.
    async fn is_there_after(&self, error: &registry::Error) -> bool {
        let (registry, repository) = (self.target.registry(), self.target.repository());
        if !broke(error) && error.kind() != ErrorKind::Malformed {
            return false;
        }
        let held = self.client.blob_size(registry, repository, self.blob).await;
        held.is_ok_and(|size| size == Some(self.blob.size))
    }

    /// How much the target holds after a request failed; an error where that is no use to know,
    /// or not enough.
    async fn holds_after(
        &mut self,
        error: &registry::Error,
        at: u64,
        given: u64,
    ) -> Result<u64, Failed> {
        let is_asked = broke(error) || at > 0;
        let retry = match error.kind() {
            // It may just be this upload that the target knows no more, or does not go on with.
            ErrorKind::NotFound | ErrorKind::Malformed | ErrorKind::Unsupported if at > 0 => {
                Retry::Later { after: Duration::ZERO }
            }
            _ => error.retry(),
        };
        let is_out_of_order = error.status() == Some(416);
        if !is_out_of_order && (!is_asked || error.retry() == Retry::Never) {
            return Err(self.failed(retry, error.clone()));
        }
        match self.upload.held().await {
            Ok(Some(holds)) if holds <= given => Ok(holds),
            Ok(_) => Err(self.failed(retry, error.clone())),
            // It was asked more than once already.
            Err(error) => Err(self.failed(Retry::Never, error)),
        }
    }

    fn failed(&self, retry: Retry, error: registry::Error) -> Failed {
        let error = CopyError::target(self.target, error).with_part(&self.blob.digest);
        Failed::Target { error, retry }
    }

    fn too_many(&self, holds: u64, given: u64) -> Failed {
        let message = format!(
            "blob {}: it says that it has {holds} bytes, and got {given}",
            self.blob.digest
        );
        let error = CopyError::found_at_target(self.target, ErrorKind::Malformed, message);
        Failed::Target { error, retry: Retry::Never }
    }
}

/// Whether something broke on the way, so that the target may have got more than it says.
fn broke(error: &registry::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Server)
}
