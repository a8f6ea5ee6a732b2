//! The server's policies file, in policy-server's own form, and the policies made of it.
//!
//! Read once, at start; every policy is compiled and its settings are checked before the first
//! request. Keys that policy-server has and this host has no use for are ignored, as there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Value as Yaml;

use crate::constraints::{Constraints, PolicyMode};
use crate::evaluate::{EvaluationError, Policy};
use crate::host::HostContext;
use crate::host::capabilities::{Capabilities, PatternError};
use crate::host::queue::HostCalls;
use crate::module::{Engine, ModuleError, Ticks};

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEntry {
    /// Where the module is; `url` is the name that old policy-servers had for it.
    #[serde(alias = "url")]
    pub module: String,
    /// Whether the verdict counts.
    #[serde(default)]
    pub policy_mode: PolicyMode,
    /// Whether the policy may change objects.
    #[serde(default)]
    pub allowed_to_mutate: Option<bool>,
    /// What the policy is configured with.
    #[serde(default)]
    pub settings: Option<Map<String, Value>>,
    /// What to say instead of the policy's own message.
    #[serde(default)]
    pub message: Option<String>,
    /// A deadline of its own.
    #[serde(default)]
    pub timeout_eval_seconds: Option<Ticks>,
    /// Which host calls it may make; none if missing.
    #[serde(default)]
    pub host_capabilities: Vec<String>,
}

/// Why the policies cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not a mapping of names to policies.
    #[error("{path} is not a policies file: {error}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: serde_yaml::Error,
    },
    /// The name cannot stand in an address.
    #[error("policy '{0}': a policy's name has no '/'")]
    Name(String),
    /// Groups are not offered.
    #[error("policy '{0}' is a group of policies, which policy-host does not run")]
    Group(String),
    /// A pattern in `hostCapabilities` is wrong.
    #[error("policy '{name}': {error}")]
    Capability {
        /// Which policy.
        name: String,
        /// What is wrong.
        error: PatternError,
    },
    /// The module does not run.
    #[error("policy '{name}': {error}")]
    Module {
        /// Which policy.
        name: String,
        /// What is wrong.
        error: ModuleError,
    },
    /// The policy does not accept its settings.
    #[error("policy '{name}': {error}")]
    Settings {
        /// Which policy.
        name: String,
        /// What is wrong.
        error: EvaluationError,
    },
}

/// Reads the entries of the file at `path`.
pub fn read(path: &Path) -> Result<BTreeMap<String, PolicyEntry>, PoliciesError> {
    let text = std::fs::read(path)
        .map_err(|error| PoliciesError::Read { path: path.to_owned(), error })?;
    let form = |error| PoliciesError::Form { path: path.to_owned(), error };
    let entries: BTreeMap<String, Yaml> = serde_yaml::from_slice(&text).map_err(form)?;
    entries
        .into_iter()
        .map(|(name, entry)| {
            if name.contains('/') {
                return Err(PoliciesError::Name(name));
            }
            if entry.get("policies").is_some() {
                return Err(PoliciesError::Group(name));
            }
            let entry = serde_yaml::from_value(entry).map_err(form)?;
            Ok((name, entry))
        })
        .collect()
}

/// Compiles the policies and asks each whether it accepts its settings. Blocks.
pub fn build(
    entries: BTreeMap<String, PolicyEntry>,
    engine: &Engine,
    calls: &HostCalls,
    default_deadline: Ticks,
) -> Result<BTreeMap<String, Policy>, PoliciesError> {
    entries
        .into_iter()
        .map(|(name, entry)| {
            let module = engine
                .compile_file(&entry.module)
                .map_err(|error| PoliciesError::Module { name: name.clone(), error })?;
            let capabilities = Capabilities::from_patterns(&entry.host_capabilities)
                .map_err(|error| PoliciesError::Capability { name: name.clone(), error })?;
            let policy = Policy {
                name: name.clone(),
                module,
                host: Arc::new(HostContext::new(&name, capabilities, calls.clone())),
                settings: entry.settings.unwrap_or_default(),
                constraints: Constraints {
                    mode: entry.policy_mode,
                    may_mutate: entry.allowed_to_mutate.unwrap_or(false),
                    message: entry.message,
                },
                deadline: Some(entry.timeout_eval_seconds.unwrap_or(default_deadline)),
            };
            policy
                .validate_settings()
                .map_err(|error| PoliciesError::Settings { name: name.clone(), error })?;
            Ok((name, policy))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<BTreeMap<String, PolicyEntry>, PoliciesError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policies.yml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn an_entry_is_read_and_missing_keys_mean_the_least() {
        let read = entries(
            "replicator:\n  module: file:///p.wasm\n  policyMode: monitor\n  allowedToMutate: true\n  \
             settings: {mode: wait}\n  hostCapabilities: ['oci/*']\n  timeoutEvalSeconds: 5\n  \
             contextAwareResources: []\nplain:\n  url: p.wasm\n",
        )
        .unwrap();
        let replicator = &read["replicator"];
        assert_eq!(replicator.module, "file:///p.wasm");
        assert_eq!(replicator.policy_mode, PolicyMode::Monitor);
        assert_eq!(replicator.allowed_to_mutate, Some(true));
        assert_eq!(replicator.settings.as_ref().unwrap()["mode"], "wait");
        assert_eq!(replicator.host_capabilities, ["oci/*"]);
        assert_eq!(replicator.timeout_eval_seconds, Some(5));
        let plain = &read["plain"];
        assert_eq!((plain.module.as_str(), plain.policy_mode), ("p.wasm", PolicyMode::Protect));
        assert!(plain.host_capabilities.is_empty() && plain.settings.is_none());
    }

    #[test]
    fn names_with_a_slash_and_groups_are_refused() {
        let error = |text| entries(text).unwrap_err().to_string();
        assert_eq!(error("a/b: {module: x}"), "policy 'a/b': a policy's name has no '/'");
        let group = "g: {policies: {p: {module: x}}, expression: 'p()', message: m}";
        assert_eq!(
            error(group),
            "policy 'g' is a group of policies, which policy-host does not run"
        );
        assert!(error("p: {settings: {}}").contains("missing field `module`"));
    }
}
