//! The bytes of a blob: given, or made as they are needed where a test wants gigabytes.

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use protocol::Digest;
use protocol::reference::Algorithm;

/// The piece that made content repeats.
const PIECE: usize = 256 * 1024;

/// Some bytes.
#[derive(Clone, Debug)]
pub enum Content {
    /// These.
    Bytes(Bytes),
    /// A pattern of this many bytes, never all in memory.
    Made(u64),
    /// This many bytes were here, and hashed right, but were not kept.
    Dropped(u64),
}

impl Content {
    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Made(size) | Self::Dropped(size) => *size,
        }
    }

    /// The sha256 digest. A dropped content has none any more.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        self.pieces(0, self.size()).for_each(|piece| context.update(&piece));
        to_digest(context.finish().as_ref())
    }

    /// The bytes from `from` up to `to`, in pieces.
    pub fn pieces(&self, from: u64, to: u64) -> Box<dyn Iterator<Item = Bytes> + Send> {
        let whole = match self {
            Self::Bytes(bytes) => {
                let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
                let mut rest = bytes.slice(range);
                let next = move || (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE)));
                return Box::new(std::iter::from_fn(next));
            }
            Self::Made(_) => {
                Bytes::from((0..PIECE).map(|i| (i * 7 % 251) as u8).collect::<Vec<_>>())
            }
            Self::Dropped(_) => panic!("the content was not kept"),
        };
        let mut at = from;
        Box::new(std::iter::from_fn(move || {
            let begin = usize::try_from(at % PIECE as u64).unwrap();
            let length = (to - at).min((PIECE - begin) as u64);
            at += length;
            let length = usize::try_from(length).unwrap();
            (length > 0).then(|| whole.slice(begin..begin + length))
        }))
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

/// The sha256 digest of some bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    to_digest(digest(&SHA256, bytes).as_ref())
}

/// A sha256 hash as a digest.
pub(crate) fn to_digest(hash: &[u8]) -> Digest {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::new(Algorithm::Sha256, &hex).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_content_is_the_same_from_any_byte_on() {
        let made = Content::Made(600_000);
        let whole: Vec<u8> = made.pieces(0, 600_000).flatten().collect();
        let part: Vec<u8> = made.pieces(262_140, 600_000).flatten().collect();
        assert_eq!(whole.len(), 600_000);
        assert!(whole.ends_with(&part));
        assert_eq!(made.digest(), digest_of(&whole));
    }
}
