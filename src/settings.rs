//! The policy's settings: parsed into values that are valid, or errors that say what is right.
//!
//! All errors are told at once, each with the key that it is about. It must not know images
//! or answers, only what an operator may write.

mod reader;

use protocol::{Registry, TargetRoot};
use serde_json::Value;

use reader::{Choice, Reader};

/// The keys, as an operator writes them. `questions-ui.yml` is held to these by a test.
pub const KEYS: [&str; 4] = ["replicator", "target", "mode", "onUnavailable"];

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The replicator's address: the registry that triggers are addressed to.
    pub(crate) replicator: Registry,
    /// Where replicas live, and nothing else may be put into a pod.
    pub(crate) target: TargetRoot,
    /// What happens while a replica is missing.
    pub(crate) mode: Mode,
    /// What happens while the replicator gives no answer.
    pub(crate) on_unavailable: OnUnavailable,
}

/// What happens while a replica is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Start the copy and rewrite at once: the kubelet retries until the replica is there.
    #[default]
    Rewrite,
    /// Refuse the pod until the replica is there: its controller tries again.
    Wait,
    /// Leave the source until the replica is there.
    Keep,
}

/// What happens while the replicator gives no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnUnavailable {
    /// Refuse the pod.
    #[default]
    Deny,
    /// Let the pod through as it is, with a warning.
    Allow,
}

impl Choice for Mode {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("rewrite", Self::Rewrite), ("wait", Self::Wait), ("keep", Self::Keep)];
}

impl Choice for OnUnavailable {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("allow", Self::Allow)];
}

impl Settings {
    /// Reads the settings; the error lists all that is wrong, for people.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let mut reader = Reader::new(value, &KEYS);
        let replicator = reader.required("replicator", EXAMPLE_REPLICATOR, parse_replicator);
        let target = reader.required("target", EXAMPLE_TARGET, parse_target);
        let mode = reader.choice("mode");
        let on_unavailable = reader.choice("onUnavailable");
        if let (Some(replicator), Some(target)) = (&replicator, &target)
            && replicator == target.registry()
        {
            reader.error(
                "replicator",
                "is the same address as the registry in `target`; the replicator answers triggers \
                 at an address of its own, it does not serve images",
            );
        }
        let errors = reader.finish();
        match (replicator, target) {
            (Some(replicator), Some(target)) if errors.is_empty() => {
                Ok(Self { replicator, target, mode, on_unavailable })
            }
            _ => Err(errors.join("; ")),
        }
    }
}

const EXAMPLE_REPLICATOR: &str =
    "the replicator's host and port, such as `image-replicator.image-replicator.svc:8443`";
const EXAMPLE_TARGET: &str = "the registry that holds the replicas, with a prefix or without, such as `registry.corp/mirror`";

fn parse_replicator(text: &str) -> Result<Registry, String> {
    refuse_scheme(text)?;
    if let Some((address, path)) = text.split_once('/') {
        return Err(format!("has the path `/{path}`: leave it out, write `{address}`"));
    }
    let address: Registry = text.parse().map_err(|_| {
        if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !text.is_empty() {
            format!(
                "`{text}` would be taken for the name of an image: write it with its port or domain"
            )
        } else {
            format!("`{text}` is no address")
        }
    })?;
    // The host looks up the replicator's CA and credentials by this very text.
    if address.as_str() == text {
        Ok(address)
    } else {
        Err(format!(
            "`{text}` is to be written `{address}`, here and where the policy server has its CA and its credentials"
        ))
    }
}

fn parse_target(text: &str) -> Result<TargetRoot, String> {
    refuse_scheme(text)?;
    text.parse().map_err(|error: protocol::ReferenceError| error.to_string())
}

fn refuse_scheme(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            Err(format!("begins with `{scheme}://`: leave it out, write `{rest}`"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
