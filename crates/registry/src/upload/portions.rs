//! How much of a blob goes into one request. Whole is the rule; a registry that refused a whole
//! blob, or so large a chunk, is asked for less from then on, for as long as this client lives.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use protocol::Registry;

use crate::error::{Error, ErrorKind};
use crate::limits::{CHUNK_BYTES, MAX_REGISTRIES, MIN_CHUNK_BYTES};

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// All of it, in the request that commits it.
    Whole,
    /// So many bytes.
    Chunk(u64),
    /// Nothing: it only has to be committed.
    Nothing,
}

/// What registries were found to refuse.
#[derive(Default)]
pub(crate) struct Refusals {
    known: Mutex<HashMap<Registry, Sizes>>,
}

/// What a registry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    /// Blobs of fewer bytes are sent whole.
    whole_below: u64,
    chunk_bytes: u64,
}

const ALL: Sizes = Sizes { whole_below: u64::MAX, chunk_bytes: CHUNK_BYTES };

impl Refusals {
    pub(super) fn next(&self, registry: &Registry, min: u64, size: u64, at: u64) -> Portion {
        let sizes = self.sizes(registry);
        let rest = size.saturating_sub(at);
        match (at, sizes) {
            (0, sizes) if size < sizes.whole_below => Portion::Whole,
            _ if rest == 0 => Portion::Nothing,
            // The rest of an upload that broke off.
            (_, ALL) => Portion::Chunk(rest),
            (_, Sizes { chunk_bytes, .. }) => Portion::Chunk(chunk_bytes.max(min).min(rest)),
        }
    }

    /// Learns from a whole blob that was refused. Such an error can go well in chunks.
    ///
    /// Registries that take no body as large say 413, mostly by a proxy before them; those that
    /// do not know a whole blob at all say 405 or UNSUPPORTED. What else a registry calls a
    /// malformed request counts only where it said a word about chunks when it opened the upload.
    pub(super) fn of_whole(&self, registry: &Registry, min: u64, size: u64, error: Error) -> Error {
        let whole_below = match error.kind() {
            _ if error.status().is_none() || size == 0 => return error,
            ErrorKind::TooLarge => size,
            ErrorKind::Unsupported => 0,
            ErrorKind::Malformed if min > 0 => 0,
            _ => return error,
        };
        self.learn(registry, |sizes| Sizes {
            whole_below: sizes.whole_below.min(whole_below),
            ..sizes
        });
        tracing::info!(%error, "the registry gets its blobs in chunks from now on");
        error.with_chunks_to_try()
    }

    /// Learns from a chunk that was refused as too large. Half of it can go well, unless that
    /// would be too small for the registry itself, or for anybody.
    pub(super) fn of_chunk(&self, registry: &Registry, min: u64, sent: u64, error: Error) -> Error {
        let half = sent / 2;
        let is_final = error.kind() != ErrorKind::TooLarge || error.status().is_none();
        if is_final || half < min.max(MIN_CHUNK_BYTES) {
            return error;
        }
        self.learn(registry, |sizes| Sizes {
            whole_below: sizes.whole_below.min(sent),
            chunk_bytes: sizes.chunk_bytes.min(half),
        });
        error.with_chunks_to_try()
    }

    fn sizes(&self, registry: &Registry) -> Sizes {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(registry).copied().unwrap_or(ALL)
    }

    fn learn(&self, registry: &Registry, change: impl FnOnce(Sizes) -> Sizes) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let sizes = change(known.get(registry).copied().unwrap_or(ALL));
        if known.len() >= MAX_REGISTRIES {
            known.clear();
        }
        known.insert(registry.clone(), sizes);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::{Operation, Retry};

    const MIB: u64 = 1 << 20;

    fn registry() -> Registry {
        "r.example".parse().unwrap()
    }

    fn refused(status: u16, code: &str) -> Error {
        let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
        let status = StatusCode::from_u16(status).unwrap();
        Error::from_answer(Operation::PutBlob, &registry(), status, body.as_bytes())
    }

    fn can_go_well(error: &Error) -> bool {
        error.retry() != Retry::Never
    }

    #[test]
    fn a_blob_goes_whole_until_that_was_refused() {
        let refusals = Refusals::default();
        let next = |min, size, at| refusals.next(&registry(), min, size, at);
        assert_eq!(next(5 * MIB, 100 * MIB, 0), Portion::Whole);
        assert_eq!(next(0, 0, 0), Portion::Whole);
        assert_eq!(next(0, 100 * MIB, 40 * MIB), Portion::Chunk(60 * MIB));
        assert_eq!(next(0, 100 * MIB, 100 * MIB), Portion::Nothing);

        assert!(can_go_well(&refusals.of_whole(&registry(), 0, 100 * MIB, refused(413, ""))));
        assert_eq!(next(0, 99 * MIB, 0), Portion::Whole);
        assert_eq!(next(0, 100 * MIB, 0), Portion::Chunk(CHUNK_BYTES));
        assert_eq!(next(0, 100 * MIB, 90 * MIB), Portion::Chunk(10 * MIB));
        // The registry's own minimum, which may exceed the blob.
        assert_eq!(next(40 * MIB, 100 * MIB, 0), Portion::Chunk(40 * MIB));
        assert_eq!(next(u64::MAX, 100 * MIB, 0), Portion::Chunk(100 * MIB));
        assert_eq!(next(0, 100 * MIB, 100 * MIB), Portion::Nothing);
    }

    #[test]
    fn what_asks_for_chunks_and_what_does_not() {
        for (status, code, min, asks) in [
            (413, "", 0, true),
            (405, "", 0, true),
            (400, "UNSUPPORTED", 0, true),
            (501, "", 0, true),
            (400, "SIZE_INVALID", 0, false),
            (400, "SIZE_INVALID", 5, true),
            (400, "NAME_INVALID", 0, false),
            (403, "", 5, false),
            (404, "BLOB_UPLOAD_UNKNOWN", 5, false),
            (401, "", 5, false),
        ] {
            let refusals = Refusals::default();
            let error = refusals.of_whole(&registry(), min, 10, refused(status, code));
            let chunks = refusals.next(&registry(), 0, 10, 0) == Portion::Chunk(10);
            assert_eq!(chunks, asks, "{status} {code}");
            assert_eq!(can_go_well(&error), asks, "{status} {code}");
        }
    }

    #[test]
    fn a_chunk_is_halved_down_to_a_floor() {
        let refusals = Refusals::default();
        let _ = refusals.of_whole(&registry(), 0, 100 * MIB, refused(413, ""));
        let mut sizes = Vec::new();
        loop {
            let Portion::Chunk(length) = refusals.next(&registry(), 0, 100 * MIB, 0) else {
                panic!("no chunk");
            };
            sizes.push(length / MIB);
            if !can_go_well(&refusals.of_chunk(&registry(), 0, length, refused(413, ""))) {
                break;
            }
        }
        assert_eq!(sizes, [16, 8, 4, 2, 1]);
        let error = refusals.of_chunk(&registry(), 10 * MIB, 16 * MIB, refused(413, ""));
        assert!(!can_go_well(&error), "the registry itself wants more than it takes");
    }
}
