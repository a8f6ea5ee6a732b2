//! Room at the target: the port that says whether a copy may take as much as it needs.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

/// Knows how much may still be kept at the target. It is asked before the first byte goes there,
/// and once more where what refers to the image adds to it.
pub trait Room: Send + Sync {
    /// Takes room for so many bytes in all: those of the image, and of what refers to it as far as
    /// that is known. What was taken for the same copy before is a part of it.
    fn take(&self, bytes: u64) -> BoxFuture<'_, Result<(), NoRoom>>;
}

/// Why a copy gets no room. One line for people each; the copy fails with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// There is not as much.
    Full(String),
    /// It could not be found out.
    Unknown(String),
}

/// Nobody limits it.
pub(crate) struct Boundless;

impl Room for Boundless {
    fn take(&self, _: u64) -> BoxFuture<'_, Result<(), NoRoom>> {
        ready(Ok(())).boxed()
    }
}
