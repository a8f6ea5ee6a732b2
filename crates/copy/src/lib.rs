//! The copy engine: walks an image as a graph and moves it, verified, between registries.
//!
//! ```text
//! copier      the algorithm: resolve, compare, read the graph, move blobs, write manifests
//!   estimate  what it would bring, without bringing it
//!   scope     what of an image travels
//!     platform   as people write them, and as an index states them
//!   graph     the source's manifests, read down to the blobs that they name
//!     manifest   one manifest: what it names, and whether it can be copied
//!   referrers signatures and the like, found at the source
//!     kinds     what they are for
//!   listing   lists of these, at targets that keep none
//!   room      whether a copy may take as much as it needs
//!   transfer  one blob to the target: there already, mounted, or sent
//!     flights    one transfer of a blob to a registry at a time
//!     creations  a repository that the target wants created first
//!     sending    one upload, whole or in chunks, going on where the target broke off
//!       lending    the reader, lent to one request after the other
//!       reader     the source's bytes, hashed as they pass, going on after a cut
//!         checkpoints  where its hash can go back to
//!   write     one manifest to the target; what it has not after all is sent
//! verify      the other walk: what of a replica is damaged
//!   report    what it finds
//!   inspect   one part: whether it is there, and what it should be
//! removal     what is wanted no more, and what of it may go
//! ```
//!
//! What holds at each moment: no wrong byte is ever committed at the target, no manifest is
//! there before what of it travels, and a tag is set last. A copy that was interrupted anywhere is
//! simply begun again: what is there is skipped.
//!
//! It knows no HTTP server, no ledger and no trigger; what it asks of the rest of the house is
//! the ports [`Origins`], [`Repositories`] and [`Room`].

mod checkpoints;
mod copier;
mod creations;
mod error;
mod flights;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod graph;
mod inspect;
mod kinds;
mod lending;
mod limits;
mod listing;
mod manifest;
mod origins;
mod platform;
mod reader;
mod referrers;
mod removal;
mod report;
mod room;
mod scope;
mod sending;
mod slots;
mod tracker;
mod transfer;
mod verify;
mod write;

pub use copier::estimate::{Brings, Estimate};
pub use copier::{Contents, Copier, Job, Outcome};
pub use creations::Repositories;
pub use error::CopyError;
pub use kinds::ReferrerKind;
pub use limits::Limits;
pub use origins::{Origins, RecentOrigins};
pub use platform::{Platform, PlatformError};
pub use registry::{ErrorKind, MediaType, Retry};
pub use removal::{HeldBack, RemovalError, Remover, Survey, Unwanted};
pub use report::{Damage, Finding, Part, PartKind, Report};
pub use room::{NoRoom, Room};
pub use scope::{ForeignLayers, ForeignLayersError, Referrers, Scope};
pub use tracker::Tracker;
pub use verify::Verifier;
