//! A reader lent to the body of one request after the other. An HTTP client keeps a body for as
//! long as it likes; what it was lent ends with the request, whatever it still does.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;

use crate::error::CopyError;
use crate::reader::Reader;

/// What the body says to the HTTP client; the reason is for the lender alone.
#[derive(Debug, thiserror::Error)]
#[error("the source failed")]
pub(crate) struct SourceFailed;

/// Owns the reader.
pub(crate) struct Lender {
    lent: Arc<Mutex<Lent>>,
}

struct Lent {
    reader: Reader,
    /// The body that it is lent to.
    turn: u64,
    /// Why the source gave no more.
    failure: Option<CopyError>,
}

/// The next bytes of the reader, as the body of a request.
pub(crate) struct Body {
    lent: Arc<Mutex<Lent>>,
    turn: u64,
    left: u64,
}

impl Lender {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { lent: Arc::new(Mutex::new(Lent { reader, turn: 0, failure: None })) }
    }

    /// A body of the next `length` bytes. What was lent before is over.
    pub(crate) fn lend(&self, length: u64) -> Body {
        let mut lent = lock(&self.lent);
        lent.turn += 1;
        Body { lent: Arc::clone(&self.lent), turn: lent.turn, left: length }
    }

    /// Takes the reader back: how many bytes it gave out in all, or why it gave no more.
    pub(crate) fn back(&self) -> Result<u64, CopyError> {
        let mut lent = lock(&self.lent);
        lent.turn += 1;
        match lent.failure.take() {
            Some(error) => Err(error),
            None => Ok(lent.reader.given()),
        }
    }

    /// The next bytes that are lent begin at `at`.
    pub(crate) fn go_back_to(&self, at: u64) {
        lock(&self.lent).reader.go_back_to(at);
    }
}

impl Stream for Body {
    type Item = Result<Bytes, SourceFailed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut lent = lock(&this.lent);
        if lent.turn != this.turn {
            return Poll::Ready(Some(Err(SourceFailed)));
        }
        match ready!(lent.reader.poll_piece(cx, this.left)) {
            Ok(piece) => {
                this.left -= piece.as_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(piece.map(Ok))
            }
            Err(error) => {
                lent.failure = Some(error);
                // Whoever asks again gets no more of it.
                lent.turn += 1;
                Poll::Ready(Some(Err(SourceFailed)))
            }
        }
    }
}

fn lock(lent: &Mutex<Lent>) -> MutexGuard<'_, Lent> {
    lent.lock().unwrap_or_else(PoisonError::into_inner)
}
