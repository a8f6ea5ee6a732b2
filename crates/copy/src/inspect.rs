//! One part at a registry: whether it is there, and what it should be. Asked by a copy, which
//! skips what is right, and by the verifier, which reports what is not.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use protocol::ImageReference;
use registry::{Client, Descriptor, ErrorKind, ManifestRef};

use crate::error::CopyError;
use crate::graph::Blob;
use crate::limits::Limits;
use crate::reader::Reader;
use crate::report::Damage;
use crate::tracker::Tracker;

/// What proves that a blob is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// That the registry says so, with the right length.
    Word,
    /// Its bytes, read and hashed.
    Bytes,
}

/// Looks at the parts of an image. An error means that a part could not be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Inspector<'a> {
    pub(crate) client: &'a Client,
    pub(crate) limits: &'a Limits,
    pub(crate) image: &'a ImageReference,
    pub(crate) proof: Proof,
}

impl Inspector<'_> {
    /// Reads a manifest: a look-up would prove nothing, and costs as much.
    pub(crate) async fn manifest(
        &self,
        at: &ManifestRef,
    ) -> Result<Result<(Descriptor, Bytes), Damage>, CopyError> {
        let (registry, repository) = (self.image.registry(), self.image.repository());
        match self.client.manifest(registry, repository, at).await {
            Ok(read) => Ok(Ok(read)),
            Err(error) => {
                let mut error = CopyError::source(self.image, error).at_target();
                if let ManifestRef::Digest(digest) = at {
                    error = error.with_part(digest);
                }
                damage_of(error).map(Err)
            }
        }
    }

    /// What is wrong with a blob, if anything is.
    pub(crate) async fn blob(&self, blob: &Descriptor) -> Result<Option<Damage>, CopyError> {
        match self.proof {
            Proof::Word => self.look_up(blob).await,
            Proof::Bytes => self.read(blob).await,
        }
    }

    async fn look_up(&self, blob: &Descriptor) -> Result<Option<Damage>, CopyError> {
        let (registry, repository) = (self.image.registry(), self.image.repository());
        let has = self
            .client
            .blob_size(registry, repository, blob)
            .await
            .map_err(|error| CopyError::target(self.image, error).with_part(&blob.digest))?;
        Ok(has.map_or(Some(Damage::Missing), |has| by_length(has, blob.size)))
    }

    async fn read(&self, blob: &Descriptor) -> Result<Option<Damage>, CopyError> {
        let unshown = Arc::new(Tracker::default().attempt());
        let plain = Blob::plain(blob.clone());
        let opened = Reader::open(self.client, self.image, &plain, self.limits, unshown).await;
        let mut reader = match opened {
            Ok(reader) => reader,
            // It announced another length, so nothing of it was read; which one, a look-up tells.
            Err(error) if error.kind() == ErrorKind::DigestMismatch => {
                return Ok(Some(self.look_up(blob).await?.unwrap_or(Damage::Wrong)));
            }
            Err(error) => return damage_of(error.at_target()).map(Some),
        };
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::DigestMismatch => {
                    let has = reader.read_bytes();
                    return Ok(Some(by_length(has, blob.size).unwrap_or(Damage::Wrong)));
                }
                Err(error) => return damage_of(error.at_target()).map(Some),
            }
        }
    }
}

/// What is wrong with something of a length that should have another.
pub(crate) fn by_length(has: u64, should_have: u64) -> Option<Damage> {
    match has.cmp(&should_have) {
        Ordering::Less => Some(Damage::Short),
        Ordering::Equal => None,
        Ordering::Greater => Some(Damage::Long),
    }
}

/// What a failed read says of the part; an error where it says nothing of it.
fn damage_of(error: CopyError) -> Result<Damage, CopyError> {
    match error.kind() {
        ErrorKind::NotFound => Ok(Damage::Missing),
        ErrorKind::DigestMismatch => Ok(Damage::Wrong),
        ErrorKind::Malformed | ErrorKind::TooLarge | ErrorKind::Unsupported => {
            Ok(Damage::Unreadable { reason: error.to_string() })
        }
        // What docker-registry says of a manifest that it cannot parse. 502 and the like are of
        // a registry that is not well itself.
        ErrorKind::Server if error.status() == Some(500) => {
            Ok(Damage::Unreadable { reason: error.to_string() })
        }
        _ => Err(error),
    }
}
