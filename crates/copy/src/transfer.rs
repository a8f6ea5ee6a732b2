//! One blob to the target: there already, mounted from another repository, or sent.

use std::sync::{Arc, Mutex, PoisonError};

use futures::stream;
use protocol::{ImageReference, Registry, Repository};
use registry::{Client, Descriptor, ErrorKind, Hasher, Mount, Retry, Upload};

use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::Blob;
use crate::limits::Limits;
use crate::origins::Origins;
use crate::reader::{Failure, Reader, SourceFailed};
use crate::slots::Slots;
use crate::tracker::Tracker;

/// What came of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It was there, or in the same registry: no byte of it travelled.
    Skipped,
    /// Its bytes travelled.
    Sent,
}

/// What all blobs of one copy have in common.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) flights: &'a Flights,
    pub(crate) slots: &'a Slots,
    pub(crate) origins: &'a dyn Origins,
    pub(crate) source: &'a ImageReference,
    pub(crate) target: &'a ImageReference,
    pub(crate) tracker: &'a Tracker,
}

/// Why one try to send a blob failed, and whether another may follow here and now.
struct Failed {
    error: CopyError,
    again: bool,
}

impl Transfer<'_> {
    /// Sees to it that the target has a blob.
    pub(crate) async fn ensure(&self, blob: &Blob) -> Result<Moved, CopyError> {
        let Blob { descriptor, role } = blob;
        let (registry, repository) = self.place();
        let _turn = self.flights.turn(registry, &descriptor.digest).await;
        let exists = self.client.blob_exists(registry, repository, descriptor).await;
        let moved = if exists.map_err(|error| self.at_target(descriptor, error))? {
            Moved::Skipped
        } else {
            let _slot = self.slots.slot(self.client, self.source.registry(), registry).await;
            self.mount_or_send(descriptor).await?
        };
        self.origins.record(registry, repository, &descriptor.digest);
        let uncounted = if moved == Moved::Skipped { descriptor.size } else { 0 };
        self.tracker.blob_done(*role, uncounted);
        Ok(moved)
    }

    async fn mount_or_send(&self, blob: &Descriptor) -> Result<Moved, CopyError> {
        let opened = match self.mount(blob).await {
            Some(Mount::Done) => return Ok(Moved::Skipped),
            Some(Mount::Upload(upload)) => Some(*upload),
            None => None,
        };
        // An upload that came of a refused mount is for the first try.
        let opened = Mutex::new(opened);
        let attempt = || async {
            let upload = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.send(blob, upload).await
        };
        let retry = |failed: &Failed| match failed.again {
            true => failed.error.retry(),
            false => Retry::Never,
        };
        let policy = self.client.retry_policy();
        let sent = policy.run(attempt, retry, |failed| failed.error.to_string()).await;
        sent.map(|()| Moved::Sent).map_err(|failed| failed.error)
    }

    /// Tries a mount where another repository is known to have the blob; None where it is of
    /// no use to try, or refused.
    async fn mount(&self, blob: &Descriptor) -> Option<Mount> {
        let (registry, repository) = self.place();
        let from = self.origins.find(registry, &blob.digest).filter(|from| from != repository)?;
        match self.client.mount(registry, repository, blob, &from).await {
            Ok(mount) => Some(mount),
            Err(error) => {
                tracing::debug!(%error, %from, "a mount was refused, the blob is sent");
                None
            }
        }
    }

    /// One try. The upload is opened first: a reader waits for nobody (`registry`'s lanes).
    async fn send(&self, blob: &Descriptor, upload: Option<Upload>) -> Result<(), Failed> {
        let (registry, repository) = self.place();
        let at_once = |error| Failed { error, again: false };
        let upload = match upload {
            Some(upload) => upload,
            None => {
                let opened = self.client.start_upload(registry, repository).await;
                opened.map_err(|error| at_once(self.at_target(blob, error)))?
            }
        };
        if blob.size == 0 {
            return self.send_nothing(blob, &upload).await;
        }
        let attempt = Arc::new(self.tracker.attempt());
        let reader =
            Reader::open(self.client, self.source, blob, self.limits, Arc::clone(&attempt)).await;
        let reader = reader.map_err(at_once)?;
        let failure = Failure::default();
        let put = upload.put(blob, reader.into_stream(Arc::clone(&failure))).await;
        let at_source = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (put, at_source) {
            (Ok(()), None) => {
                attempt.keep();
                Ok(())
            }
            // The target cannot have committed it: the last piece was never sent.
            (_, Some(error)) => Err(at_once(error)),
            (Err(error), None) => Err(Failed { error: self.at_target(blob, error), again: true }),
        }
    }

    /// A blob without bytes: there is nothing to read, but something to verify.
    async fn send_nothing(&self, blob: &Descriptor, upload: &Upload) -> Result<(), Failed> {
        let digest = Hasher::digest(blob.digest.algorithm(), b"");
        if digest != blob.digest {
            let message = format!("blob {} cannot have 0 bytes", blob.digest);
            let error = CopyError::found(self.source, ErrorKind::Malformed, message);
            return Err(Failed { error, again: false });
        }
        let nothing = stream::empty::<Result<_, SourceFailed>>();
        let put = upload.put(blob, nothing).await;
        put.map_err(|error| Failed { error: self.at_target(blob, error), again: true })
    }

    fn place(&self) -> (&Registry, &Repository) {
        (self.target.registry(), self.target.repository())
    }

    fn at_target(&self, blob: &Descriptor, error: registry::Error) -> CopyError {
        CopyError::target(self.target, error).with_part(&blob.digest)
    }
}
