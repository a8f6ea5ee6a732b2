//! The source's bytes of one blob: hashed as they pass, going on after a cut, and never whole
//! unless they are right.
//!
//! The last piece is held back until length and digest are known to be right. So whoever sends
//! these bytes on with a length cannot complete a wrong blob, whatever the source does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use protocol::ImageReference;
use registry::{BlobStream, Client, Descriptor, ErrorKind, Hasher, Retry};

use crate::error::CopyError;
use crate::limits::Limits;
use crate::tracker::Attempt;

/// The pause before a source is opened again, times the number of tries without a new byte.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// Why a stream of bytes ended in an error. The stream itself goes into the depths of an HTTP
/// client, so its reason is left here for the one who started it.
pub(crate) type Failure = Arc<Mutex<Option<CopyError>>>;

/// What the stream says to the HTTP client.
#[derive(Debug, thiserror::Error)]
#[error("the source failed")]
pub(crate) struct SourceFailed;

/// A blob of the source, while it is read.
pub(crate) struct Reader {
    client: Client,
    source: ImageReference,
    blob: Descriptor,
    limits: Limits,
    attempt: Arc<Attempt>,
    stream: BlobStream,
    hasher: Option<Hasher>,
    read: u64,
    held: Option<Bytes>,
    resumes: usize,
    fruitless: usize,
    read_at_open: u64,
}

impl Reader {
    /// Opens the blob.
    pub(crate) async fn open(
        client: &Client,
        source: &ImageReference,
        blob: &Descriptor,
        limits: &Limits,
        attempt: Arc<Attempt>,
    ) -> Result<Self, CopyError> {
        let stream = client
            .blob(source.registry(), source.repository(), blob, 0)
            .await
            .map_err(|error| CopyError::source(source, error).with_part(&blob.digest))?;
        Ok(Self {
            client: client.clone(),
            source: source.clone(),
            blob: blob.clone(),
            limits: *limits,
            attempt,
            stream,
            hasher: Some(Hasher::new(blob.digest.algorithm())),
            read: 0,
            held: None,
            resumes: 0,
            fruitless: 0,
            read_at_open: 0,
        })
    }

    /// The bytes; what goes wrong is left in `failure`.
    pub(crate) fn into_stream(
        self,
        failure: Failure,
    ) -> impl Stream<Item = Result<Bytes, SourceFailed>> + Send {
        stream::unfold((Some(self), failure), |(reader, failure)| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(piece)) => Some((Ok(piece), (Some(reader), failure))),
                Ok(None) => None,
                Err(error) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Some((Err(SourceFailed), (None, failure)))
                }
            }
        })
    }

    /// The next piece that may be sent on; None after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        loop {
            match self.stream.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.take_in(&piece)?;
                    if let Some(earlier) = self.held.replace(piece) {
                        self.attempt.passed(earlier.len());
                        return Ok(Some(earlier));
                    }
                }
                None if self.read == self.blob.size => {
                    self.verify()?;
                    let last = self.held.take();
                    self.attempt.passed(last.as_ref().map_or(0, Bytes::len));
                    return Ok(last);
                }
                None => {
                    let message =
                        format!("it ends after {} of {} bytes", self.read, self.blob.size);
                    self.resume(self.wrong(&message)).await?;
                }
                Some(Err(error)) => {
                    let error = CopyError::source(&self.source, error);
                    self.resume(error.with_part(&self.blob.digest)).await?;
                }
            }
        }
    }

    /// How many bytes came up to now.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read
    }

    fn take_in(&mut self, piece: &Bytes) -> Result<(), CopyError> {
        self.read += piece.len() as u64;
        if self.read > self.blob.size {
            return Err(self.wrong(&format!("it has more than its {} bytes", self.blob.size)));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), CopyError> {
        // Verified already: the stream is asked once more after its last piece.
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let digest = hasher.finish();
        if digest == self.blob.digest {
            return Ok(());
        }
        Err(self.wrong(&format!("its bytes are {digest}")))
    }

    /// Opens the source again where it broke off. Gives up with `error` when that is no use.
    async fn resume(&mut self, error: CopyError) -> Result<(), CopyError> {
        self.fruitless = if self.read > self.read_at_open { 0 } else { self.fruitless + 1 };
        self.resumes += 1;
        if self.fruitless >= self.limits.fruitless_resumes
            || self.resumes > self.limits.resumes
            || error.retry() == Retry::Never
        {
            return Err(error);
        }
        tracing::info!(%error, from = self.read, "the source is opened again where it broke off");
        let tries = u32::try_from(self.fruitless).unwrap_or(u32::MAX);
        tokio::time::sleep(RESUME_PAUSE.saturating_mul(tries)).await;
        self.read_at_open = self.read;
        let (registry, repository) = (self.source.registry(), self.source.repository());
        match self.client.blob(registry, repository, &self.blob, self.read).await {
            Ok(stream) => {
                self.stream = stream;
                Ok(())
            }
            // It has no bytes from there on, so the first finding stands.
            Err(again) if again.kind() == ErrorKind::Unsupported => Err(error),
            Err(again) => Err(CopyError::source(&self.source, again).with_part(&self.blob.digest)),
        }
    }

    fn wrong(&self, found: &str) -> CopyError {
        let message = format!("blob {}: {found}", self.blob.digest);
        CopyError::found(&self.source, ErrorKind::DigestMismatch, message)
    }
}
