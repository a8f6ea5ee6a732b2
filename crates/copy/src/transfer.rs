//! One blob to the target: there already, mounted from another repository, or sent.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::{ImageReference, Registry, Repository};
use registry::{Client, Descriptor, ErrorKind, Hasher, Mount, Retry, Upload};
use tokio::time::Instant;

use crate::creations::Creations;
use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::Blob;
use crate::lending::Lender;
use crate::limits::Limits;
use crate::origins::Origins;
use crate::reader::Reader;
use crate::sending::{self, Sending};
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
    pub(crate) origins: &'a dyn Origins,
    pub(crate) creations: &'a Creations,
    pub(crate) source: &'a ImageReference,
    pub(crate) target: &'a ImageReference,
    pub(crate) tracker: &'a Tracker,
}

/// Why one try to send a blob failed, and whether another may follow here and now.
struct Failed {
    error: CopyError,
    again: Retry,
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
        let policy = self.client.retry_policy();
        let describe = |failed: &Failed| failed.error.to_string();
        let sent = policy.run(attempt, |failed| failed.again, describe).await;
        sent.map(|()| Moved::Sent).map_err(|failed| failed.error)
    }

    /// Tries a mount where another repository is known to have the blob; None where it is of
    /// no use to try, or refused.
    async fn mount(&self, blob: &Descriptor) -> Option<Mount> {
        let (registry, repository) = self.place();
        let from = self.origins.find(registry, &blob.digest).filter(|from| from != repository)?;
        let mount = || self.client.mount(registry, repository, blob, &from);
        let asked = Instant::now();
        let mounted = match mount().await {
            Err(error) if is_unknown_repository(&error) => {
                match self.creations.create(registry, repository, asked).await {
                    Some(Ok(())) => mount().await,
                    _ => Err(error),
                }
            }
            mounted => mounted,
        };
        match mounted {
            Ok(mount) => Some(mount),
            Err(error) => {
                tracing::debug!(%error, %from, "a mount was refused, the blob is sent");
                None
            }
        }
    }

    /// Opens an upload, in a repository that is created first where the target wants that.
    async fn open(&self, blob: &Descriptor) -> Result<Upload, CopyError> {
        let (registry, repository) = self.place();
        let asked = Instant::now();
        let opened = match self.client.start_upload(registry, repository).await {
            Err(error) if is_unknown_repository(&error) => {
                match self.creations.create(registry, repository, asked).await {
                    Some(Ok(())) => self.client.start_upload(registry, repository).await,
                    Some(Err(reason)) => return Err(CopyError::not_created(self.target, reason)),
                    None => Err(error),
                }
            }
            opened => opened,
        };
        opened.map_err(|error| self.at_target(blob, error))
    }

    /// One try. The upload is opened first: a reader waits for nobody (`registry`'s lanes).
    async fn send(&self, blob: &Descriptor, upload: Option<Upload>) -> Result<(), Failed> {
        let at_once = |error| Failed { error, again: Retry::Never };
        let mut upload = match upload {
            Some(upload) => upload,
            None => self.open(blob).await.map_err(at_once)?,
        };
        if blob.size == 0 {
            return self.send_nothing(blob, &mut upload).await;
        }
        let (client, limits) = (self.client, self.limits);
        let attempt = Arc::new(self.tracker.attempt());
        let reader = Reader::open(client, self.source, blob, limits, Arc::clone(&attempt)).await;
        let reader = Lender::new(reader.map_err(at_once)?);
        let sending = Sending { client, limits, target: self.target, blob, upload, reader };
        match sending.run().await {
            Ok(()) => {
                attempt.keep();
                Ok(())
            }
            Err(sending::Failed::Source(error)) => Err(at_once(error)),
            Err(sending::Failed::Target { error, retry }) => Err(Failed { error, again: retry }),
        }
    }

    /// A blob without bytes: there is nothing to read, but something to verify.
    async fn send_nothing(&self, blob: &Descriptor, upload: &mut Upload) -> Result<(), Failed> {
        let digest = Hasher::digest(blob.digest.algorithm(), b"");
        if digest != blob.digest {
            let message = format!("blob {} cannot have 0 bytes", blob.digest);
            let error = CopyError::found(self.source, ErrorKind::Malformed, message);
            return Err(Failed { error, again: Retry::Never });
        }
        upload.finish(blob).await.map_err(|error| {
            let again = error.retry();
            Failed { error: self.at_target(blob, error), again }
        })
    }

    fn place(&self) -> (&Registry, &Repository) {
        (self.target.registry(), self.target.repository())
    }

    fn at_target(&self, blob: &Descriptor, error: registry::Error) -> CopyError {
        CopyError::target(self.target, error).with_part(&blob.digest)
    }
}

/// Whether a target wants the repository created first (Amazon ECR does).
fn is_unknown_repository(error: &registry::Error) -> bool {
    error.codes().iter().any(|code| code == "NAME_UNKNOWN")
}
