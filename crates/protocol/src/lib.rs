//! What the policy and the replicator must agree on, and nothing else.
//!
//! - [`reference`]: an image reference, parsed once into its canonical form;
//! - [`pattern`]: a set of images, as settings and rules name it;
//! - [`trigger`]: what the policy asks, as a repository path and tag (the source codec);
//! - [`naming`]: where the replica of a source lives, and which source a replica has;
//! - [`receipt`]: the answer "this is where it is, or will be";
//! - [`refusal`]: the answer "not yet, or not at all", and how to find it in a host's error text;
//! - [`progress`]: how far a copy is.
//!
//! No async, no I/O, no clock: everything here is a value or a pure function, and builds for wasm.
//! The wire forms carry a version; readers ignore what they do not know within a version and
//! refuse a version that they do not know.

pub mod naming;
pub mod pattern;
pub mod progress;
pub mod receipt;
pub mod reference;
pub mod refusal;
pub mod trigger;

pub use naming::{Naming, NamingError, Replica, ReplicaRepository, TargetRoot};
pub use pattern::{ImagePattern, PatternError};
pub use progress::Progress;
pub use receipt::{Receipt, ReceiptError, ReplicaState};
pub use reference::{Digest, ImageReference, ReferenceError, Registry, Repository, Tag};
pub use refusal::{Refusal, RefusalCode, Side};
pub use trigger::{Namespace, Trigger, TriggerError, TriggerPath, Verb};
