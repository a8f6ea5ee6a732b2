//! A client for OCI registries: layers of one concern each below, verbs over descriptors above.
//!
//! ```text
//! manifests, tags, referrers,  the verbs: what a caller wants
//! blobs, upload, foreign
//! checkup                      whether we get there, are let in, and may push
//! client                       puts the layers together, once for each request
//!   retry                      again, later, or not at all
//!     lane                     how many at once and a second; whether this registry asked us
//!                              to wait, or is dead
//!       auth                   challenges, tokens, and which secret goes where
//!         redirect             where else to look, without our secrets
//!           transport, guard   one request on the wire; idle timeouts, caps, addresses
//! poster                       the same wire for hosts that are no registries
//! ```
//!
//! It knows one registry at a time: no trigger, no ledger, no replication, and not which side
//! of a copy it serves. Errors are [`Error`], whose texts hold no secret.

mod answer;
mod auth;
mod blobs;
mod cache;
mod checkup;
mod client;
mod config;
mod credentials;
mod descriptor;
mod error;
mod foreign;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod hasher;
mod lane;
pub mod limits;
mod manifests;
mod meter;
mod poster;
mod redirect;
mod referrers;
mod request;
mod retry;
mod tags;
mod transport;
mod upload;

pub use answer::BlobStream;
pub use checkup::{Greeting, PushTrial};
pub use client::Client;
pub use config::{ClientConfig, ConfigError, RegistryConfig, Timeouts};
pub use credentials::{
    Anonymous, Credential, Credentials, CredentialsError, DockerConfig, HelperError, HelperProblem,
    HelperRules,
};
pub use descriptor::{Descriptor, ManifestRef, MediaType, MediaTypeError};
pub use error::{Error, ErrorKind, Operation, Retry, presentable};
pub use guard::LookUpError;
pub use hasher::Hasher;
pub use lane::{CircuitPolicy, CircuitState, Quota, RegistryStatus};
pub use meter::{Ending, Traffic};
pub use poster::{Posted, Poster};
pub use referrers::Referrer;
pub use retry::RetryPolicy;
pub use upload::{BodyError, Mount, Portion, Upload};
