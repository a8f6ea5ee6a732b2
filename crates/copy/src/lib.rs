//! The copy engine: walks an image as a graph and moves it, verified, between registries.
//!
//! ```text
//! copier      the algorithm: resolve, compare, read the graph, move blobs, write manifests
//!   graph     the source's manifests, read down to the blobs that they name
//!     manifest   one manifest: what it names, and whether it can be copied
//!   transfer  one blob to the target: there already, mounted, or sent
//!     flights    one transfer of a blob to a registry at a time
//!     creations  a repository that the target wants created first
//!     sending    one upload, whole or in chunks, going on where the target broke off
//!       lending    the reader, lent to one request after the other
//!       reader     the source's bytes, hashed as they pass, going on after a cut
//!         checkpoints  where its hash can go back to
//! ```
//!
//! What holds at each moment: no wrong byte is ever committed at the target, no manifest is
//! there before what it names, and a tag is set last. A copy that was interrupted anywhere is
//! simply begun again: what is there is skipped.
//!
//! It knows no HTTP server, no ledger and no trigger; what it asks of the rest of the house is
//! the ports [`Origins`] and [`Repositories`].

mod checkpoints;
mod copier;
mod creations;
mod error;
mod flights;
mod graph;
mod lending;
mod limits;
mod manifest;
mod origins;
mod reader;
mod sending;
mod tracker;
mod transfer;

pub use copier::{Copier, Job, Outcome};
pub use creations::Repositories;
pub use error::CopyError;
pub use limits::Limits;
pub use origins::{Origins, RecentOrigins};
pub use registry::{ErrorKind, Retry};
pub use tracker::Tracker;
