//! What a verification finds: the parts of a replica that are not what they should be.

use std::fmt;

use protocol::Digest;

use crate::graph::Role;
use crate::platform::Platform;

/// How a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The image's digest.
    pub digest: Digest,
    /// How many parts are known, each counted once. What a damaged manifest names is not.
    pub parts: usize,
    /// Bytes of the parts that are known, as long as they should be.
    pub size_bytes: u64,
    /// What is damaged: manifests from the root down, then blobs.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_right(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A part, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part.
    pub part: Part,
    /// What is wrong.
    pub damage: Damage,
}

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: PartKind,
    /// The first manifest that names it; None for the root.
    pub parent: Option<Digest>,
    /// The platform that an index says it is for, as in `linux/arm64`.
    pub platform: Option<Platform>,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A manifest or an index.
    Manifest,
    /// An image's configuration.
    Config,
    /// A layer, or another blob.
    Layer,
}

impl From<Role> for PartKind {
    fn from(role: Role) -> Self {
        match role {
            Role::Config => Self::Config,
            Role::Layer => Self::Layer,
        }
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layer => "layer",
        })
    }
}

/// What is wrong with a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It has fewer bytes than it should.
    Short,
    /// It has more bytes than it should.
    Long,
    /// Its bytes are not those that its digest names.
    Wrong,
    /// The registry fails over it, or it is nothing that can be followed further.
    Unreadable {
        /// Why, for people.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Short => "short",
            Self::Long => "long",
            Self::Wrong => "wrong",
            Self::Unreadable { .. } => "unreadable",
        })
    }
}
