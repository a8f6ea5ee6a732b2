//! Has the host verify a signature, and holds on to the digest that was verified.
//!
//! It must not know why a signature is asked for, nor what follows for the pod.

use kubewarden_policy_sdk::host_capabilities::verification::VerificationResponse;
use protocol::{Digest, ImageReference};

use crate::host::Host;
use crate::settings::Verification;

/// By what a host's error tells that it looked, and found no signature that is good. All other
/// errors say that it could not look.
const NOT_SIGNED: [&str; 3] = [
    "Image verification failed",
    "no signatures found for image",
    "No Signature Layer passed verification",
];

/// How a verification ended, if not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The signature is not there, or not that of the signer; the host's words.
    NotSigned(String),
    /// The host could not look; its words.
    CouldNotLook(String),
}

/// The image, pinned to the digest that was verified.
pub(crate) fn verify(
    host: &impl Host,
    image: &ImageReference,
    by: &Verification,
) -> Result<ImageReference, Failure> {
    let answer = host.verify(&by.question(image)).map_err(|text| {
        if NOT_SIGNED.iter().any(|mark| text.contains(mark)) {
            Failure::NotSigned(text)
        } else {
            Failure::CouldNotLook(text)
        }
    })?;
    let answer: VerificationResponse = serde_json::from_slice(&answer)
        .map_err(|error| Failure::CouldNotLook(format!("the answer cannot be read: {error}")))?;
    if !answer.is_trusted {
        return Err(Failure::NotSigned("the host does not trust it".to_owned()));
    }
    let digest: Digest = answer
        .digest
        .parse()
        .map_err(|error| Failure::CouldNotLook(format!("the answer has no digest: {error}")))?;
    match image.digest() {
        Some(asked) if *asked != digest => {
            Err(Failure::CouldNotLook(format!("the answer is about another digest, {digest}")))
        }
        _ => Ok(image.clone().pinned(digest)),
    }
}
