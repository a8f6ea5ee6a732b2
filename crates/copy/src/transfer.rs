//! One blob to the target: there already, mounted from another repository, or sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream;
use protocol::{Digest, ImageReference, Registry, Repository};
use registry::{Client, Descriptor, ErrorKind, Hasher, Mount, Retry, Upload};
use tokio::time::Instant;

use crate::copier::Outcome;
use crate::creations::Creations;
use crate::error::CopyError;
use crate::flights::Flights;
use crate::graph::Blob;
use crate::inspect::{Inspector, Proof};
use crate::lending::{Lender, SourceFailed};
use crate::limits::Limits;
use crate::origins::Origins;
use crate::reader::Reader;
use crate::report::Damage;
use crate::scope::Scope;
use crate::sending::{self, Sending};
use crate::slots::Slots;
use crate::tracker::Tracker;

/// What all parts of one copy have in common.
pub(crate) struct Transfer<'a> {
    /// What the target is asked with.
    pub(crate) client: &'a Client,
    /// What the source is read with.
    pub(crate) source_client: &'a Client,
    pub(crate) scope: &'a Scope,
    pub(crate) limits: &'a Limits,
    pub(crate) flights: &'a Flights,
    pub(crate) slots: &'a Slots,
    pub(crate) origins: &'a dyn Origins,
    pub(crate) creations: &'a Creations,
    pub(crate) source: &'a ImageReference,
    pub(crate) target: &'a ImageReference,
    pub(crate) tracker: &'a Tracker,
    /// What proves that a part is at the target.
    pub(crate) proof: Proof,
    /// The blobs that are at the target.
    pub(crate) settled: Mutex<HashMap<Digest, Settled>>,
}

/// How a blob came to be at the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    size_bytes: u64,
    /// Its bytes travelled. Others were there, or in the same registry.
    was_sent: bool,
}

/// Why one try to send a blob failed, and whether another may follow here and now.
struct Failed {
    error: CopyError,
    again: Retry,
}

impl Transfer<'_> {
    /// Sees to it that the target has a blob.
    pub(crate) async fn ensure(&self, blob: &Blob) -> Result<(), CopyError> {
        let Blob { descriptor, role, .. } = blob;
        let (registry, repository) = self.place();
        let _turn = self.flights.turn(registry, &descriptor.digest).await;
        let was_sent = match self.inspector().blob(descriptor).await? {
            None => false,
            Some(damage) => {
                let _slot = self.slots.slot(self.client, self.source.registry(), registry).await;
                if damage == Damage::Missing && self.proof == Proof::Word {
                    self.mount_or_send(blob).await?
                } else {
                    self.replace(blob, &damage).await?;
                    true
                }
            }
        };
        self.origins.record(registry, repository, &descriptor.digest);
        self.settle(descriptor, was_sent);
        self.tracker.blob_done(*role, if was_sent { 0 } else { descriptor.size });
        Ok(())
    }

    /// Sends a blob that the target said it has, and has not; unless that was done already.
    pub(crate) async fn send_after_all(&self, blob: &Blob) -> Result<(), CopyError> {
        let Blob { descriptor, role, .. } = blob;
        let (registry, repository) = self.place();
        let _turn = self.flights.turn(registry, &descriptor.digest).await;
        if self.was_sent(&descriptor.digest) {
            return Ok(());
        }
        self.origins.forget(registry, repository, &descriptor.digest);
        self.tracker.blob_lost(*role, descriptor.size);
        let _slot = self.slots.slot(self.client, self.source.registry(), registry).await;
        self.send_with_retries(blob, None).await?;
        self.origins.record(registry, repository, &descriptor.digest);
        self.settle(descriptor, true);
        self.tracker.blob_done(*role, 0);
        Ok(())
    }

    /// Whether the bytes of a blob travelled.
    pub(crate) fn was_sent(&self, digest: &Digest) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(digest).is_some_and(|blob| blob.was_sent)
    }

    /// Whether a blob was left out, since the target said it has it.
    pub(crate) fn was_believed(&self, digest: &Digest) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(digest).is_some_and(|blob| !blob.was_sent)
    }

    fn settle(&self, blob: &Descriptor, was_sent: bool) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        // What an image and its signatures share was sent if it was once.
        let was_sent = was_sent || settled.get(&blob.digest).is_some_and(|blob| blob.was_sent);
        settled.insert(blob.digest.clone(), Settled { size_bytes: blob.size, was_sent });
    }

    /// Adds up what became of the blobs.
    pub(crate) fn count(&self, outcome: &mut Outcome) {
        for blob in self.settled.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if blob.was_sent {
                outcome.blobs_moved += 1;
                outcome.bytes_moved += blob.size_bytes;
            } else {
                outcome.blobs_skipped += 1;
            }
        }
    }

    /// Sends a blob of which the target has something else, or shows nothing. There are
    /// registries that take it and keep what they have, so it is looked at once more.
    async fn replace(&self, blob: &Blob, damage: &Damage) -> Result<(), CopyError> {
        let digest = &blob.descriptor.digest;
        tracing::info!(target = %self.target, %digest, %damage, "a damaged blob is sent again");
        self.send_with_retries(blob, None).await?;
        match self.inspector().blob(&blob.descriptor).await? {
            None => Ok(()),
            Some(damage) => Err(self.kept(digest, &damage)),
        }
    }

    /// Tells whether its bytes had to travel.
    async fn mount_or_send(&self, blob: &Blob) -> Result<bool, CopyError> {
        let opened = match self.mount(&blob.descriptor).await {
            Some(Mount::Done) => return Ok(false),
            Some(Mount::Upload(upload)) => Some(*upload),
            None => None,
        };
        self.send_with_retries(blob, opened).await.map(|()| true)
    }

    async fn send_with_retries(
        &self,
        blob: &Blob,
        opened: Option<Upload>,
    ) -> Result<(), CopyError> {
        // An upload that came of a refused mount is for the first try.
        let opened = Mutex::new(opened);
        let attempt = || async {
            let upload = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.send(blob, upload).await
        };
        let (registry, _) = self.place();
        let describe = |failed: &Failed| failed.error.to_string();
        let again = |failed: &Failed| failed.again;
        let sent = self.client.with_retries(registry, attempt, again, describe).await;
        sent.map_err(|failed| failed.error)
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
    async fn send(&self, whole: &Blob, upload: Option<Upload>) -> Result<(), Failed> {
        let blob = &whole.descriptor;
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
        if let Some(data) = &whole.data {
            attempt.passed(data.len());
            let body = stream::iter([Ok::<_, SourceFailed>(data.clone())]);
            let put = upload.put(blob, body).await;
            put.map_err(|error| Failed {
                again: error.retry(),
                error: self.at_target(blob, error),
            })?;
            attempt.keep();
            return Ok(());
        }
        let (read_with, attempted) = (self.source_client, Arc::clone(&attempt));
        let reader = Reader::open(read_with, self.source, whole, limits, attempted).await;
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

/// Whether a target wants the repository created first (Amazon ECR does).
fn is_unknown_repository(error: &registry::Error) -> bool {
    error.codes().iter().any(|code| code == "NAME_UNKNOWN")
}
