//! What a guest can ask of its host: checks the call, then hands it to whoever answers.
//!
//! [`HostContext::call`] is the one entry from wasm. The order of its checks is the real host's:
//! binding, capability, operation, payload, queue. Nothing here knows admission requests.

pub mod answers;
pub mod cache;
pub mod capabilities;
pub mod credentials;
mod log;
pub mod oci;
pub mod queue;
pub mod replay;
pub mod request;
pub mod sources;

use capabilities::Capabilities;
use queue::HostCalls;
use request::{HostRequest, RequestError};

/// The only binding a Kubewarden guest may name.
const BINDING: &str = "kubewarden";
/// The namespace that no capability list gates.
const UNGATED_NAMESPACE: &str = "tracing";

/// One policy's view of the host: who it is, what it may ask, and who answers.
#[derive(Debug, Clone)]
pub struct HostContext {
    policy: String,
    capabilities: Capabilities,
    calls: HostCalls,
}

impl HostContext {
    /// The context of the policy named `policy`.
    pub fn new(policy: impl Into<String>, capabilities: Capabilities, calls: HostCalls) -> Self {
        Self { policy: policy.into(), capabilities, calls }
    }

    /// Answers one host call of the guest. Blocks, so it must not run on an async worker.
    pub fn call(
        &self,
        binding: &str,
        namespace: &str,
        operation: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        if binding != BINDING {
            return Err(CallError::UnknownBinding(binding.to_owned()));
        }
        if namespace == UNGATED_NAMESPACE {
            return self.log(operation, payload);
        }
        let path = format!("{namespace}/{operation}");
        if !self.capabilities.allow(&path) {
            tracing::error!(policy = %self.policy, capability = %path, allowed = %self.capabilities, "host capability denied");
            return Err(CallError::Denied(path));
        }
        let request = HostRequest::from_guest(namespace, operation, payload)?;
        tracing::debug!(policy = %self.policy, %request, "host call");
        let answer = self.calls.ask(request);
        if let Err(error) = &answer {
            tracing::error!(policy = %self.policy, capability = %path, %error, "host call failed");
        }
        answer
    }

    fn log(&self, operation: &str, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        if operation != "log" {
            return Err(RequestError::UnknownOperation(operation.to_owned()).into());
        }
        if let Err(error) = log::emit(&self.policy, payload) {
            tracing::error!(policy = %self.policy, %error, "the guest's log entry is not readable");
        }
        Ok(Vec::new())
    }
}

/// Why a host call failed. The guest gets this text, with `Host error: ` in front.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The guest named another binding than `kubewarden`.
    #[error("unknown binding: {0}")]
    UnknownBinding(String),
    /// The policy's capability list does not have this call.
    #[error(
        "Policy has not been granted access to the '{0}' host capability. The violation has been reported."
    )]
    Denied(String),
    /// The call is unknown, or its payload is not what the operation takes.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// More calls wait than the queue holds.
    #[error("Error sending request over callback channel: Full(..)")]
    QueueFull,
    /// Whoever answers is gone.
    #[error("Error obtaining response over callback channel")]
    NoAnswer,
    /// The call was made and failed; the text is laid out as the real host does.
    #[error("Callback evaluation failure: {0}")]
    Failed(String),
}

#[cfg(test)]
mod tests;
