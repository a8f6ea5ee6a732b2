//! What tests of all crates share: a scripted registry that can misbehave, a real one, a real
//! PostgreSQL, a scripted Kubernetes API server, a Kubewarden host's client, an image builder,
//! certificates.
//!
//! Tests only: it knows the wire and the image formats, and nothing of the crates under test
//! but the names in `protocol`. What goes wrong in here panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helper fails by panicking")]

mod certificates;
mod content;
mod docker_registry;
mod host;
mod image;
mod kube_api;
mod postgres;
mod registry;

pub use certificates::{Certificates, ClientIdentity};
pub use content::{Content, digest_of};
pub use docker_registry::DockerRegistry;
pub use host::Host;
pub use image::{Image, media};
pub use kube_api::KubeApi;
pub use postgres::Postgres;
pub use rcgen::SanType;
pub use registry::fault::{Fault, When};
pub use registry::log::{Kind, Recorded};
pub use registry::store::Holding;
pub use registry::{Builder, ScriptedRegistry};
