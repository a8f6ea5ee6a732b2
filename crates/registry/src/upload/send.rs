//! What goes into an upload (distribution-spec, "Pushing a blob monolithically" and "Pushing a
//! blob in chunks").

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

use super::{BodyError, Portion, Upload, status};
use crate::answer::Answer;
use crate::descriptor::Descriptor;
use crate::error::{Error, ErrorKind, Operation};
use crate::request::{Payload, Request, Scope};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Upload {
    /// What to send next of a blob of which the registry holds the first `at` bytes.
    pub fn next(&self, blob: &Descriptor, at: u64) -> Portion {
        self.client.refusals().next(&self.registry, self.min_chunk_bytes, blob.size, at)
    }

    /// Sends the whole blob, which has some bytes. The body must be of the descriptor's size; it
    /// fails the upload by an error in its stream, and nothing is committed then.
    pub async fn put<S, E>(&mut self, blob: &Descriptor, body: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BodyError>,
    {
        let payload = stream(blob.size, body);
        let request = self.closing(blob).with_payload(payload);
        match self.send(request).await {
            Ok(answer) => self.committed(&answer),
            Err(error) => {
                let min_chunk_bytes = self.min_chunk_bytes;
                let refusals = self.client.refusals();
                Err(refusals.of_whole(&self.registry, min_chunk_bytes, blob.size, error))
            }
        }
    }

    /// Sends `length` bytes from `from` on. Tells how many bytes from the blob's beginning the
    /// registry has then; that may be fewer than were sent.
    pub async fn chunk<S, E>(&mut self, from: u64, length: u64, body: S) -> Result<u64, Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BodyError>,
    {
        let end = from.saturating_add(length);
        let request = self.octets(Method::PATCH);
        // Both ends belong to it.
        let range = HeaderValue::from_str(&format!("{from}-{}", end.saturating_sub(1)))
            .map_err(|_| request.error(ErrorKind::Malformed, "the range is no header"))?;
        let request = request.with_header(CONTENT_RANGE, range).with_payload(stream(length, body));
        match self.send(request).await {
            Ok(answer) => {
                self.follow(&answer)?;
                let held = status::taken(&answer, from, end)?;
                self.is_doubtful |= held.is_none();
                Ok(held.unwrap_or(end))
            }
            Err(error) => {
                let min_chunk_bytes = self.min_chunk_bytes;
                let refusals = self.client.refusals();
                Err(refusals.of_chunk(&self.registry, min_chunk_bytes, length, error))
            }
        }
    }

    /// Commits a blob all of whose bytes the registry holds: all that a blob without any needs.
    /// Where that is in doubt, the blob is looked at: not every registry checks digests.
    pub async fn finish(&mut self, blob: &Descriptor) -> Result<(), Error> {
        let answer = self.send(self.closing(blob)).await?;
        self.committed(&answer)?;
        if !self.is_doubtful {
            return Ok(());
        }
        match self.client.blob_size(&self.registry, &self.repository, blob).await? {
            Some(size) if size == blob.size => Ok(()),
            _ => Err(answer.error(ErrorKind::DigestMismatch, "it has lost a chunk that it took")),
        }
    }

    fn octets(&self, method: Method) -> Request {
        self.request(Operation::PutBlob, method).with_header(CONTENT_TYPE, OCTETS)
    }

    async fn send(&self, request: Request) -> Result<Answer, Error> {
        let scope = Scope::push(&self.repository);
        Box::pin(self.client.once(&self.site, request, Some(&scope))).await
    }

    /// The request that commits the blob.
    fn closing(&self, blob: &Descriptor) -> Request {
        let mut request = self.octets(Method::PUT);
        request.url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        request
    }

    fn committed(&mut self, answer: &Answer) -> Result<(), Error> {
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => {
                self.complete = true;
                Ok(())
            }
            other => Err(answer.error(
                ErrorKind::Malformed,
                format!("it answered the last byte of a blob with {}", other.as_u16()),
            )),
        }
    }
}

fn stream<S, E>(length: u64, body: S) -> Payload
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BodyError>,
{
    Payload::Stream { length, stream: body.map(|piece| piece.map_err(Into::into)).boxed() }
}
