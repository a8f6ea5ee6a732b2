//! Hashing for digests, by the library that TLS uses already: it has the processor's own
//! instructions where there are any, and fast assembly where there are none.

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use protocol::Digest;
use protocol::reference::Algorithm;

/// Hashes bytes as they pass.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: Context,
}

impl Hasher {
    /// A hasher for digests of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        let context = Context::new(match algorithm {
            Algorithm::Sha256 => &SHA256,
            Algorithm::Sha512 => &SHA512,
        });
        Self { algorithm, context }
    }

    /// The digest of `bytes`.
    pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let mut hex = String::with_capacity(128);
        for byte in self.context.finish().as_ref() {
            hex.extend(
                [byte >> 4, byte & 15]
                    .map(|nibble| char::from(b"0123456789abcdef"[usize::from(nibble)])),
            );
        }
        Digest::new(self.algorithm, &hex).expect("a hash has its algorithm's length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_nothing_are_the_known_ones() {
        assert_eq!(
            Hasher::digest(Algorithm::Sha256, b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(Hasher::digest(Algorithm::Sha512, b"").hex().starts_with("cf83e1357eefb8bd"));
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Hasher::digest(Algorithm::Sha256, b"abc"));
    }
}
