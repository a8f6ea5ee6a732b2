//! One blob to the target: there already, mounted from another repository, or sent.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream;
use protocol::{Digest, ImageReference, Registry, Repository};
use registry::{Client, Descriptor, ErrorKind, Hasher, Mount, Retry, Upload};

use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::Blob;
use crate::inspect::{Inspector, Proof};
use crate::limits::Limits;
use crate::origins::Origins;
use crate::reader::{Failure, Reader, SourceFailed};
use crate::report::Damage;
use crate::tracker::Tracker;

/// What all blobs of one copy have in common.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) flights: &'a Flights,
    pub(crate) origins: &'a dyn Origins,
    pub(crate) source: &'a ImageReference,
    pub(crate) target: &'a ImageReference,
    pub(crate) tracker: &'a Tracker,
    /// What proves that a part is at the target.
    pub(crate) proof: Proof,
    /// The blobs whose bytes travelled.
    pub(crate) sent: Mutex<HashSet<Digest>>,
}

/// Why one try to send a blob failed, and whether another may follow here and now.
struct Failed {
    error: CopyError,
    again: bool,
}

impl Transfer<'_> {
    /// Sees to it that the target has a blob.
    pub(crate) async fn ensure(&self, blob: &Blob) -> Result<(), CopyError> {
        let Blob { descriptor, role } = blob;
        let (registry, repository) = self.place();
        let _turn = self.flights.turn(registry, &descriptor.digest).await;
        match self.inspector().blob(descriptor).await? {
            None => {}
            Some(Damage::Missing) if self.proof == Proof::Word => {
                self.mount_or_send(descriptor).await?;
            }
            Some(damage) => self.replace(descriptor, &damage).await?,
        }
        self.origins.record(registry, repository, &descriptor.digest);
        let uncounted = if self.was_sent(&descriptor.digest) { 0 } else { descriptor.size };
        self.tracker.blob_done(*role, uncounted);
        Ok(())
    }

    /// Sends a blob that the target said it has, and has not; unless that was done already.
    pub(crate) async fn send_after_all(&self, blob: &Blob) -> Result<(), CopyError> {
        let Blob { descriptor, role } = blob;
        let (registry, repository) = self.place();
        let _turn = self.flights.turn(registry, &descriptor.digest).await;
        if self.was_sent(&descriptor.digest) {
            return Ok(());
        }
        self.origins.forget(registry, repository, &descriptor.digest);
        self.tracker.blob_lost(*role, descriptor.size);
        self.send_with_retries(descriptor, None).await?;
        self.origins.record(registry, repository, &descriptor.digest);
        self.tracker.blob_done(*role, 0);
        Ok(())
    }

    /// Whether the bytes of a blob travelled.
    pub(crate) fn was_sent(&self, digest: &Digest) -> bool {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    /// Sends a blob of which the target has something else, or shows nothing. There are
    /// registries that take it and keep what they have, so it is looked at once more.
    async fn replace(&self, blob: &Descriptor, damage: &Damage) -> Result<(), CopyError> {
        let digest = &blob.digest;
        tracing::info!(target = %self.target, %digest, %damage, "a damaged blob is sent again");
        self.send_with_retries(blob, None).await?;
        match self.inspector().blob(blob).await? {
            None => Ok(()),
            Some(damage) => Err(self.kept(digest, &damage)),
        }
    }

    async fn mount_or_send(&self, blob: &Descriptor) -> Result<(), CopyError> {
        match self.mount(blob).await {
            Some(Mount::Done) => Ok(()),
            Some(Mount::Upload(upload)) => self.send_with_retries(blob, Some(*upload)).await,
            None => self.send_with_retries(blob, None).await,
        }
    }

    async fn send_with_retries(
        &self,
        blob: &Descriptor,
        opened: Option<Upload>,
    ) -> Result<(), CopyError> {
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
        sent.map_err(|failed| failed.error)?;
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest.clone());
        Ok(())
    }

    /// Tries a mount where another repository is known to have the blob; None where it is of
    /// no use to try, or refused.
    async fn mount(&self, blob: &Descriptor) -> Option<Mount> {
        let (registry, repository) = self.place();
        let from = self.origins.find(registry, &blob.digest).filter(|from| from != repository)?;
        match self.client.mount(registry, repository, blob, &from).await {
            Ok(Mount::Done) => Some(Mount::Done),
            Ok(upload) => {
                self.origins.forget(registry, &from, &blob.digest);
                Some(upload)
            }
            Err(error) => {
                if error.retry() == Retry::Never {
                    self.origins.forget(registry, &from, &blob.digest);
                }
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

    pub(crate) fn inspector(&self) -> Inspector<'_> {
        let Self { client, limits, target, proof, .. } = *self;
        Inspector { client, limits, image: target, proof }
    }

    /// The error for a part that was written and is no better for it.
    pub(crate) fn kept(&self, digest: &Digest, damage: &Damage) -> CopyError {
        let message = format!(
            "it took {digest} again and still has it {damage}; the old bytes have to be removed \
             from its storage first"
        );
        CopyError::found(self.target, ErrorKind::DigestMismatch, message).at_target()
    }

    fn place(&self) -> (&Registry, &Repository) {
        (self.target.registry(), self.target.repository())
    }

    fn at_target(&self, blob: &Descriptor, error: registry::Error) -> CopyError {
        CopyError::target(self.target, error).with_part(&blob.digest)
    }
}
