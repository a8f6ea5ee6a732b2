//! Runs a policy module the way `kwctl run` and `policy-server` do, for demo, tests and benchmarks.
//!
//! ```text
//! request ─> admission ─> evaluate ─> module (wasm) ─> response ─> constraints ─> answer
//!                                        │  host call
//!                                        └─> host: capabilities ─> queue ─> cache ─> oci
//!                                                                     └─> replay
//! ```
//! `run` and `server` are the two front ends; both build a [`evaluate::Policy`] and ask it.
//! Nothing here knows the image replicator, its protocol or its policy: any waPC policy runs.
//!
//! # What differs from the real host
//! - Only waPC policies from local files; no Rego, no WASI command policies, no policy groups, no
//!   download, no signature check of the module. The module's metadata is not read: say `--raw`.
//! - `net`, `crypto`, `kubernetes` and `oci/*/verify` calls are answered from a replay file only.
//! - Its registry client is `oci-client` 0.18; hosts up to 1.36 have 0.17 ([`host::oci`]).
//! - `serve` has one listener: `GET /readiness` answers beside the policies, not on a second port.
//!   It speaks HTTP/1.1 only. There are no metrics and no traces, and certificates are read once.
//! - Each guest call gets a new instance, in `run` too, where `kwctl` keeps one for two calls.

pub mod admission;
pub mod cli;
pub mod constraints;
pub mod evaluate;
pub mod host;
pub mod listener;
pub mod module;
pub mod policies;
pub mod response;
pub mod run;
pub mod server;
