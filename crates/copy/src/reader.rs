//! The source's bytes of one blob: hashed as they pass, going on after a cut, going back where
//! a target lost some, and never whole unless they are right.
//!
//! The last piece is held back until length and digest are known to be right. So whoever sends
//! these bytes on with a length cannot complete a wrong blob, whatever the source does.
//!
//! Bytes that pass a second time must be the same: the hash of the first time is a waypoint
//! that the second time has to meet. So what a target has of both is what the digest names.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use protocol::{Digest, ImageReference};
use registry::{BlobStream, Client, Descriptor, ErrorKind, Hasher, Retry};

use crate::checkpoints::Checkpoints;
use crate::error::CopyError;
use crate::graph::Blob;
use crate::limits::Limits;
use crate::tracker::Attempt;

/// The pause before a source is opened again, times the number of tries without a new byte.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// A blob of the source, while it is read.
pub(crate) struct Reader {
    client: Client,
    source: ImageReference,
    blob: Descriptor,
    urls: Vec<String>,
    limits: Limits,
    attempt: Arc<Attempt>,
    flow: Flow,
    /// None once the whole blob was verified.
    hasher: Option<Hasher>,
    checkpoints: Checkpoints,
    /// What the hash was after so many bytes when they passed before; the nearest last.
    waypoints: Vec<(u64, Digest)>,
    /// Bytes read, from the blob's beginning.
    read: u64,
    /// The piece that may be the last.
    held: Option<Bytes>,
    /// What may be given out.
    free: Bytes,
    /// Bytes given out, from the blob's beginning.
    given: u64,
    /// Bytes to come that were given out before.
    skipped: u64,
    resumes: usize,
    fruitless: usize,
    read_at_open: u64,
}

/// Where the bytes come from.
enum Flow {
    Open(BlobStream),
    /// The source is being opened again, after what went wrong, if something did.
    Opening(BoxFuture<'static, Result<BlobStream, registry::Error>>, Option<CopyError>),
}

impl Reader {
    /// Opens the blob.
    pub(crate) async fn open(
        client: &Client,
        source: &ImageReference,
        blob: &Blob,
        limits: &Limits,
        attempt: Arc<Attempt>,
    ) -> Result<Self, CopyError> {
        let Blob { descriptor: blob, urls, .. } = blob;
        let stream = bytes_from(client, source, blob, urls, 0)
            .await
            .map_err(|error| CopyError::source(source, error).with_part(&blob.digest))?;
        Ok(Self {
            client: client.clone(),
            source: source.clone(),
            blob: blob.clone(),
            urls: urls.clone(),
            limits: *limits,
            attempt,
            flow: Flow::Open(stream),
            hasher: Some(Hasher::new(blob.digest.algorithm())),
            checkpoints: Checkpoints::new(),
            waypoints: Vec::new(),
            read: 0,
            held: None,
            free: Bytes::new(),
            given: 0,
            skipped: 0,
            resumes: 0,
            fruitless: 0,
            read_at_open: 0,
        })
    }

    /// Bytes given out, from the blob's beginning. All of them are so only after they were
    /// verified.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Gives the bytes from `at` on next, which is no further than they were given out.
    pub(crate) fn go_back_to(&mut self, at: u64) {
        if let Some(hasher) = &self.hasher {
            self.waypoints.push((self.read, hasher.clone().finish()));
        }
        let (from, hasher) = self
            .checkpoints
            .back_to(at)
            .unwrap_or_else(|| (0, Hasher::new(self.blob.digest.algorithm())));
        self.waypoints.retain(|(place, _)| *place > from);
        self.hasher = Some(hasher);
        self.read = from;
        self.held = None;
        self.free = Bytes::new();
        self.given = at;
        self.skipped = at - from;
        self.attempt.back_to(at);
        self.reopen(Duration::ZERO, None);
    }

    /// The next piece, of at most `most` bytes, that may be sent on; None after the last.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        most: u64,
    ) -> Poll<Result<Option<Bytes>, CopyError>> {
        while self.free.is_empty() {
            let Some(mut piece) = ready!(self.poll_free(cx))? else { return Poll::Ready(Ok(None)) };
            let again = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(piece.len());
            self.skipped -= again as u64;
            piece.advance(again);
            self.free = piece;
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.free.len());
        self.given += length as u64;
        self.attempt.passed(length);
        Poll::Ready(Ok(Some(self.free.split_to(length))))
    }

    /// The next piece; None after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        std::future::poll_fn(|cx| self.poll_piece(cx, u64::MAX)).await
    }

    /// The next piece of the source that is not the last, or the last once all is verified.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CopyError>> {
        loop {
            let stream = match &mut self.flow {
                Flow::Open(stream) => stream,
                Flow::Opening(opening, after) => {
                    let opened = ready!(opening.poll_unpin(cx));
                    let after = after.take();
                    self.opened(opened, after)?;
                    continue;
                }
            };
            match ready!(stream.poll_next_unpin(cx)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.take_in(&piece)?;
                    if let Some(earlier) = self.held.replace(piece) {
                        return Poll::Ready(Ok(Some(earlier)));
                    }
                }
                None if self.read == self.blob.size => {
                    self.verify()?;
                    return Poll::Ready(Ok(self.held.take()));
                }
                None => {
                    let message =
                        format!("it ends after {} of {} bytes", self.read, self.blob.size);
                    self.resume(self.wrong(&message))?;
                }
                Some(Err(error)) => {
                    let error = CopyError::source(&self.source, error);
                    self.resume(error.with_part(&self.blob.digest))?;
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
        let Some(hasher) = &mut self.hasher else { return Ok(()) };
        let mut rest = piece.as_ref();
        while let Some((place, expected)) = self.waypoints.pop_if(|(place, _)| *place <= self.read)
        {
            let until = self.read - place;
            let (before, after) = rest.split_at(rest.len() - usize::try_from(until).unwrap_or(0));
            hasher.update(before);
            rest = after;
            if hasher.clone().finish() != expected {
                let message = format!("its first {place} bytes are not what they were");
                return Err(self.wrong(&message));
            }
        }
        hasher.update(rest);
        self.checkpoints.pass(self.read, hasher);
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
    fn resume(&mut self, error: CopyError) -> Result<(), CopyError> {
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
        self.reopen(RESUME_PAUSE.saturating_mul(tries), Some(error));
        Ok(())
    }

    /// Opens the source at the next byte to read, after a pause.
    fn reopen(&mut self, pause: Duration, after: Option<CopyError>) {
        self.read_at_open = self.read;
        let (client, source, blob) = (self.client.clone(), self.source.clone(), self.blob.clone());
        let (urls, from) = (self.urls.clone(), self.read);
        let opening = async move {
            tokio::time::sleep(pause).await;
            bytes_from(&client, &source, &blob, &urls, from).await
        };
        self.flow = Flow::Opening(opening.boxed(), after);
    }

    fn opened(
        &mut self,
        opened: Result<BlobStream, registry::Error>,
        after: Option<CopyError>,
    ) -> Result<(), CopyError> {
        match (opened, after) {
            (Ok(stream), _) => {
                self.flow = Flow::Open(stream);
                Ok(())
            }
            // It has no bytes from there on, so the first finding stands.
            (Err(again), Some(error)) if again.kind() == ErrorKind::Unsupported => Err(error),
            (Err(again), _) => {
                Err(CopyError::source(&self.source, again).with_part(&self.blob.digest))
            }
        }
    }

    fn wrong(&self, found: &str) -> CopyError {
        let message = format!("blob {}: {found}", self.blob.digest);
        CopyError::found(&self.source, ErrorKind::DigestMismatch, message)
    }
}

/// The bytes from `from` on: the source's or, of a foreign layer that it does not have, those
/// of the layer's owner.
async fn bytes_from(
    client: &Client,
    source: &ImageReference,
    blob: &Descriptor,
    urls: &[String],
    from: u64,
) -> Result<BlobStream, registry::Error> {
    let (registry, repository) = (source.registry(), source.repository());
    match client.blob(registry, repository, blob, from).await {
        Err(error) if error.kind() == ErrorKind::NotFound && !urls.is_empty() => {
            client.foreign_blob(registry, blob, urls, from).await
        }
        bytes => bytes,
    }
}
