//! The copy engine: walks an image as a graph and moves it, verified, between registries.
//!
//! ```text
//! copier      the algorithm: resolve, compare, read the graph, move blobs, write manifests
//!   graph     the source's manifests, read down to the blobs that they name
//!     manifest   one manifest: what it names, and whether it can be copied
//!   transfer  one blob to the target: there already, mounted, or sent
//!     flights    one transfer of a blob to a registry at a time
//!     reader     the source's bytes, hashed as they pass, going on after a cut
//!   write     one manifest to the target; what it has not after all is sent
//! verify      the other walk: what of a replica is damaged
//!   report    what it finds
//!   inspect   one part: whether it is there, and what it should be
//! ```
//!
//! What holds at each moment: no wrong byte is ever committed at the target, no manifest is
//! there before what it names, and a tag is set last. A copy that was interrupted anywhere is
//! simply begun again: what is there is skipped.
//!
//! It knows no HTTP server, no ledger and no trigger; what it asks of the rest of the house is
//! the port [`Origins`].

mod copier;
mod error;
mod flights;
mod graph;
mod inspect;
mod limits;
mod manifest;
mod origins;
mod reader;
mod report;
mod tracker;
mod transfer;
mod verify;
mod write;

pub use copier::{Copier, Job, Outcome};
pub use error::CopyError;
pub use limits::Limits;
pub use origins::{Origins, RecentOrigins};
pub use registry::{ErrorKind, Retry};
pub use report::{Damage, Finding, Part, PartKind, Report};
pub use tracker::Tracker;
pub use verify::Verifier;
