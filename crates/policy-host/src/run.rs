//! `policy-host run`: one policy, one request, one answer, as `kwctl run`.
//!
//! Reads the files, asks for the settings' validity first, then for the verdict; the caller prints.
//! A recorded session is saved even if the policy rejects or fails.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admission::{RequestError, ValidateRequest};
use crate::cli::{RegistryArgs, RunArgs};
use crate::constraints::Constraints;
use crate::evaluate::{EvaluationError, Policy};
use crate::host::HostContext;
use crate::host::answers::Answers;
use crate::host::capabilities::{Capabilities, PatternError};
use crate::host::credentials::Credentials;
use crate::host::oci::Registries;
use crate::host::queue::HostCalls;
use crate::host::replay::{Recorder, Replay, SessionError};
use crate::host::sources::{Sources, SourcesError};
use crate::module::{Engine, ModuleError};
use crate::response::AdmissionResponse;

/// The name kwctl gives a policy from its command line.
const POLICY_NAME: &str = "policy-from-cli";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file of the command line cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The settings are not a mapping.
    #[error("the settings cannot be parsed: {0}")]
    SettingsForm(String),
    /// The request is none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `--allowed-host-capabilities`
    #[error(transparent)]
    Capabilities(#[from] PatternError),
    /// `--sources-path`
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// `--replay-…` or `--record-…`
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The module does not run.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The policy could not be asked, or refuses its settings.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The evaluation's thread is gone.
    #[error("the evaluation ended abruptly: {0}")]
    Ended(tokio::task::JoinError),
}

/// Asks the policy of the command line. Needs a tokio runtime with threads for blocking work.
pub async fn run(arguments: RunArgs) -> Result<AdmissionResponse, RunError> {
    let settings =
        settings(arguments.settings_json.as_deref(), arguments.settings_path.as_deref())?;
    let request = request(&arguments.request_path, arguments.raw)?;
    let capabilities = Capabilities::from_patterns(&arguments.allowed_host_capabilities)?;
    let answers = Arc::new(answers(&arguments)?);
    let calls = HostCalls::start(Arc::clone(&answers));

    let evaluation = tokio::task::spawn_blocking(move || -> Result<AdmissionResponse, RunError> {
        let policy = Policy {
            name: POLICY_NAME.to_owned(),
            module: Engine::unlimited()?.compile_file(&arguments.policy)?,
            host: Arc::new(HostContext::new(POLICY_NAME, capabilities, calls)),
            settings,
            constraints: Constraints::of_run(),
            deadline: None,
        };
        policy.validate_settings()?;
        Ok(policy.evaluate(&request)?)
    });
    let outcome = evaluation.await.map_err(RunError::Ended)?;
    match (&*answers, &arguments.record_host_capabilities_interactions) {
        (Answers::Recorded(_, recorder), Some(path)) => recorder.save(path)?,
        (Answers::Replayed(replay), _) => replay.finish(),
        _ => {}
    }
    outcome
}

/// The registries as the command line says they are reached.
pub fn registries(arguments: &RegistryArgs) -> Result<Registries, SourcesError> {
    let sources =
        arguments.sources_path.as_deref().map(Sources::read).transpose()?.unwrap_or_default();
    Ok(Registries::new(sources, Credentials::in_folder(arguments.docker_config_json_path.clone())))
}

fn answers(arguments: &RunArgs) -> Result<Answers, RunError> {
    if let Some(session) = &arguments.replay_host_capabilities_interactions {
        return Ok(Answers::Replayed(Replay::read(session)?));
    }
    let registries = registries(&arguments.registry)?;
    Ok(match arguments.record_host_capabilities_interactions {
        Some(_) => Answers::Recorded(registries, Recorder::default()),
        None => Answers::Live(registries),
    })
}

fn request(path: &Path, raw: bool) -> Result<ValidateRequest, RunError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| RunError::Read { path: path.to_owned(), error })?;
    let parse =
        if raw { ValidateRequest::from_raw_json } else { ValidateRequest::from_admission_json };
    Ok(parse(&text)?)
}

/// No settings and null settings are empty settings.
fn settings(json: Option<&str>, path: Option<&Path>) -> Result<Map<String, Value>, RunError> {
    let value: Value = match (json, path) {
        (Some(json), _) => {
            serde_json::from_str(json).map_err(|error| RunError::SettingsForm(error.to_string()))?
        }
        (None, Some(path)) => {
            let text = std::fs::read(path)
                .map_err(|error| RunError::Read { path: path.to_owned(), error })?;
            serde_yaml::from_slice(&text)
                .map_err(|error| RunError::SettingsForm(error.to_string()))?
        }
        (None, None) => Value::Null,
    };
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(settings) => Ok(settings),
        _ => Err(RunError::SettingsForm("they are not a mapping of names to values".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_yaml_or_json_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.yml");
        std::fs::write(&path, "mode: wait\nlist: [1]\n").unwrap();
        let expected: Map<String, Value> =
            serde_json::from_str(r#"{"mode":"wait","list":[1]}"#).unwrap();
        assert_eq!(settings(None, Some(&path)).unwrap(), expected);
        assert_eq!(settings(Some(r#"{"mode":"wait","list":[1]}"#), None).unwrap(), expected);
        assert!(settings(Some("null"), None).unwrap().is_empty());
        assert!(settings(None, None).unwrap().is_empty());
        let error = settings(Some("[1]"), None).unwrap_err().to_string();
        assert_eq!(
            error,
            "the settings cannot be parsed: they are not a mapping of names to values"
        );
    }
}
