//! The port to the host: what the policy cannot do by itself, and the clock.
//!
//! It must not know what the bytes mean; that is [`crate::ask`]'s and [`crate::verify`]'s.

use std::time::Instant;

use kubewarden_policy_sdk::host_capabilities::SigstoreVerificationInputV2;

/// What a policy may ask of the host that runs it. Answers are the host's raw bytes (the SDK's
/// typed forms drop what they do not know), or its error text.
pub trait Host {
    /// The capability `oci/v1/oci_manifest`: the manifest that `image` names.
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String>;

    /// The capability `oci/v2/verify`: whether an image is signed as `question` says.
    fn verify(&self, question: &SigstoreVerificationInputV2) -> Result<Vec<u8>, String>;

    /// The monotonic clock.
    fn now(&self) -> Instant;
}
