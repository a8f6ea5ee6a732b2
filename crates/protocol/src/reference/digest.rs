//! Content digests (OCI image-spec, "Digests"): the two registered algorithms that are in use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ReferenceError;

/// A digest algorithm that we can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what nearly all registries use.
    Sha256,
    /// SHA-512, which the image-spec allows.
    Sha512,
}

impl Algorithm {
    /// The name that stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// `algorithm:hex`, with as many lower-case hexadecimal digits as the algorithm gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// A digest from its parts; `hex` must have the algorithm's length and be lower case.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, ReferenceError> {
        let legal = hex.len() == algorithm.hex_length()
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if legal {
            Ok(Self { algorithm, hex: hex.to_owned() })
        } else {
            Err(ReferenceError::Digest(format!("{}:{hex}", algorithm.as_str())))
        }
    }

    /// Which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// `algorithm-hex`: the digest where no colon may stand, as in a tag or a path.
    pub fn dashed(&self) -> String {
        format!("{}-{}", self.algorithm.as_str(), self.hex)
    }

    /// The inverse of [`Digest::dashed`].
    pub fn from_dashed(text: &str) -> Result<Self, ReferenceError> {
        Self::split(text, '-')
    }

    fn split(text: &str, separator: char) -> Result<Self, ReferenceError> {
        match text.split_once(separator) {
            Some(("sha256", hex)) => Self::new(Algorithm::Sha256, hex),
            Some(("sha512", hex)) => Self::new(Algorithm::Sha512, hex),
            _ => Err(ReferenceError::Digest(text.to_owned())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::split(text, ':')
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}
