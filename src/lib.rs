//! The policy's entry points: what a Kubewarden host calls, and nothing else.
//!
//! Data flows one way: [`request`] reads what the host hands in, [`settings`] what the operator
//! wants, [`subject`] says whether the request's images are looked at and where the pod is, the crate
//! [`workload`] finds the images in the pod,
//! [`plan`] holds each image against the rules, [`verify`] has its signature looked at and
//! [`ask`] puts one question to the replicator (both through [`host`]), [`decide`] makes the
//! verdict in the words of [`wording`], and [`patch`] carries it out. [`evaluate`] is the flow.
//!
//! Everything but the host call itself is a pure function of bytes, and is tested natively.

mod ask;
mod decide;
mod evaluate;
mod host;
mod patch;
mod plan;
mod request;
mod settings;
mod subject;
mod verify;
mod wording;

use std::time::Instant;

use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;
use kubewarden_policy_sdk::protocol_version_guest;
use wapc_guest::{CallResult, register_function};

pub use evaluate::{check_settings, evaluate};
pub use host::Host;
pub use patch::SOURCE_IMAGES;
pub use settings::keys;

/// Called once by the host, before anything else.
#[expect(unsafe_code, reason = "waPC finds this function by its exported name")]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("protocol_version", protocol_version_guest);
    register_function("validate_settings", |payload| Ok(check_settings(payload)));
    register_function("validate", |payload| Ok(evaluate(payload, &Guest)));
}

/// The host, as this guest reaches it.
struct Guest;

impl Host for Guest {
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let payload = serde_json::to_vec(image).map_err(|error| error.to_string())?;
        host_call("oci", "v1/oci_manifest", &payload).map_err(|error| error.to_string())
    }

    fn verify(&self, question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String> {
        let payload = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        host_call("oci", "v2/verify", &payload).map_err(|error| error.to_string())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(target_arch = "wasm32")]
fn host_call(namespace: &str, operation: &str, payload: &[u8]) -> CallResult {
    wapc_guest::host_call("kubewarden", namespace, operation, payload)
}

/// A native build has no host. The SDK brings empty stand-ins for waPC's imports so that tests
/// link, but of another calling convention than they are declared with: they are not to be run.
#[cfg(not(target_arch = "wasm32"))]
fn host_call(_namespace: &str, _operation: &str, _payload: &[u8]) -> CallResult {
    Err("a native build of the policy has no host".into())
}

#[cfg(test)]
mod tests {
    pub(crate) mod fake;
}
