//! The port to the host: the one thing that the policy cannot do by itself.
//!
//! It must not know what the bytes mean; that is [`crate::ask`]'s.

/// What a policy may ask of the host that runs it.
pub trait Host {
    /// The capability `oci/v1/oci_manifest`: the manifest that `image` names, as the host's
    /// raw bytes (the SDK's typed form drops what it does not know), or the host's error text.
    fn oci_manifest(&self, image: &str) -> Result<Vec<u8>, String>;
}
