//! Which images a Kubernetes object names, and where: the one finding that the policy rewrites by
//! and the command line tells of.
//!
//! Objects are raw JSON: a typed form would lose the fields that it does not know.
//!
//! ```text
//! kind     a kind that Kubernetes makes pods of -> where in it the pod is
//! images   a pod -> its images, and the places that name them
//! search   any object -> its pods, by kind or by shape, and what else it names
//! ```
//!
//! It must not know admission, registries, nor what becomes of an image; it has no I/O.

mod images;
mod kind;
mod search;

pub use images::{Image, Place, changed, distinct, places};
pub use kind::Kind;
pub use search::{Find, Mention, search};
