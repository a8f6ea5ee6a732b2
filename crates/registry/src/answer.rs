//! One answer: status, headers, and a body that is read whole under a cap or as a stream, never
//! waiting longer than the idle timeout for the next bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use protocol::Registry;
use tokio::time::{Instant, Sleep, sleep};
use url::Url;

use crate::error::{Error, ErrorKind, Operation};
use crate::lane::Permit;
use crate::meter::Meter;
use crate::transport::words_of;

/// What came back, and the permit that is given back when the body is read or dropped.
pub(crate) struct Answer {
    pub(crate) operation: Operation,
    pub(crate) registry: Registry,
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether it came from an address that is not the internet's.
    pub(crate) from_neighbour: bool,
    pub(crate) body: reqwest::Response,
    pub(crate) idle: Duration,
    pub(crate) meter: Arc<Meter>,
    pub(crate) permit: Option<Permit>,
}

/// A number as headers have it: digits alone, where `u64` itself would take a sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Answer {
    /// A header as text; None where it is not there or no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The length that the answer says it has.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// An error about this answer.
    pub(crate) fn error(&self, kind: ErrorKind, message: impl AsRef<str>) -> Error {
        Error::new(kind, self.operation, &self.registry, message).at(&self.url)
    }

    /// The whole body; an error as soon as it exceeds `cap` bytes.
    pub(crate) async fn bytes(self, cap: usize) -> Result<Bytes, Error> {
        let too_large =
            self.error(ErrorKind::TooLarge, format!("the answer is longer than {cap} bytes"));
        if self.content_length().is_some_and(|length| length > cap as u64) {
            return Err(too_large);
        }
        let mut stream = self.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            if bytes.len() + chunk.len() > cap {
                return Err(too_large);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// The first `cap` bytes of the body, of however much of it can be read: for error texts.
    pub(crate) async fn beginning(self, cap: usize) -> Bytes {
        let mut stream = self.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(Ok(chunk)) = stream.next().await {
            bytes.extend_from_slice(&chunk[..chunk.len().min(cap - bytes.len())]);
            if bytes.len() == cap {
                break;
            }
        }
        bytes.freeze()
    }

    /// The body as it comes.
    pub(crate) fn into_stream(self) -> BlobStream {
        let Self { operation, registry, url, body, idle, meter, permit, .. } = self;
        let context = (operation, registry, url);
        let broken = context.clone();
        let bytes = body.bytes_stream().map_err(move |error| {
            let (operation, registry, url) = &broken;
            let message = format!("the connection broke in mid-answer: {}", words_of(error));
            Error::new(ErrorKind::Unreachable, *operation, registry, message).at(url)
        });
        let bytes = bytes.inspect_ok(move |chunk| meter.read(chunk.len()));
        let silent = move || {
            let (operation, registry, url) = &context;
            let message = format!("no byte of the answer for {} s", idle.as_secs_f32());
            Error::new(ErrorKind::Timeout, *operation, registry, message).at(url)
        };
        BlobStream {
            bytes: bytes.boxed(),
            silent: Box::new(silent),
            idle,
            watch: Box::pin(sleep(idle)),
            waiting: false,
            _permit: permit,
        }
    }
}

/// The bytes of a body as they come. Holds one of the registry's permits until it is dropped.
pub struct BlobStream {
    bytes: Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>,
    silent: Box<dyn Fn() -> Error + Send>,
    idle: Duration,
    watch: Pin<Box<Sleep>>,
    waiting: bool,
    _permit: Option<Permit>,
}

impl BlobStream {
    /// The same stream without its first `skipped` bytes.
    pub(crate) fn skipping(self, skipped: u64) -> Self {
        let Self { bytes, silent, idle, watch, waiting, _permit } = self;
        let mut left = skipped;
        let bytes = bytes
            .map_ok(move |mut chunk| {
                let cut = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                left -= cut as u64;
                chunk.split_off(cut)
            })
            .boxed();
        Self { bytes, silent, idle, watch, waiting, _permit }
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(item) = this.bytes.as_mut().poll_next(cx) {
            this.waiting = false;
            return Poll::Ready(item);
        }
        // The timer is touched only when there is something to wait for, not with every chunk.
        if !this.waiting {
            this.waiting = true;
            this.watch.as_mut().reset(Instant::now() + this.idle);
        }
        ready!(this.watch.as_mut().poll(cx));
        Poll::Ready(Some(Err((this.silent)())))
    }
}
