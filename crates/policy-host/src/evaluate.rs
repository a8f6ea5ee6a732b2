//! One policy and its settings, asked about one request.
//!
//! Between the front ends (`run`, `server`) and the wasm side. Every question gets a fresh
//! instance, so that no answer depends on an earlier one. Blocks; knows no HTTP.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admission::ValidateRequest;
use crate::constraints::Constraints;
use crate::host::HostContext;
use crate::module::{CallFailure, ModuleError, PolicyModule, Ticks};
use crate::response::{AdmissionResponse, Verdict};

/// A policy as configured: what to run, with what settings, and what its verdict is worth.
#[derive(Clone)]
#[allow(missing_debug_implementations)] // a compiled module prints nothing of use
pub struct Policy {
    /// The name in addresses and messages.
    pub name: String,
    /// The compiled module.
    pub module: PolicyModule,
    /// What it may ask its host.
    pub host: Arc<HostContext>,
    /// What the operator configured for it.
    pub settings: Map<String, Value>,
    /// What its verdict is worth.
    pub constraints: Constraints,
    /// After how many ticks it is interrupted, if ever.
    pub deadline: Option<Ticks>,
}

/// Why a policy could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The module does not run.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The policy does not accept its settings.
    #[error("Provided settings are not valid: {0}")]
    Settings(String),
}

/// A guest's answer to `validate_settings`.
#[derive(Deserialize)]
struct SettingsVerdict {
    valid: bool,
    message: Option<String>,
}

/// An answer of a guest that is not what the function answers.
#[derive(Debug, thiserror::Error)]
#[error("invalid response from policy: {0}")]
struct UnreadableAnswer(serde_json::Error);

impl Policy {
    /// Asks the policy whether it accepts its settings.
    pub fn validate_settings(&self) -> Result<(), EvaluationError> {
        let instance = self.module.instantiate(Arc::clone(&self.host), self.deadline)?;
        let payload = Value::Object(self.settings.clone()).to_string();
        let answer = instance.call("validate_settings", payload.as_bytes()).map_err(|error| {
            EvaluationError::Settings(format!("the policy could not check them: {error}"))
        })?;
        let verdict: SettingsVerdict = serde_json::from_slice(&answer)
            .map_err(|error| EvaluationError::Settings(UnreadableAnswer(error).to_string()))?;
        if verdict.valid {
            return Ok(());
        }
        let reason = verdict.message.unwrap_or_else(|| "the policy does not say why".to_owned());
        Err(EvaluationError::Settings(reason))
    }

    /// Asks the policy about `request` and applies its constraints to the answer.
    pub fn evaluate(
        &self,
        request: &ValidateRequest,
    ) -> Result<AdmissionResponse, EvaluationError> {
        Ok(self.constraints.apply(&self.name, self.audit(request)?))
    }

    /// Asks the policy about `request`; the answer is the policy's own.
    pub fn audit(&self, request: &ValidateRequest) -> Result<AdmissionResponse, EvaluationError> {
        let uid = request.uid();
        let instance = match self.module.instantiate(Arc::clone(&self.host), self.deadline) {
            Err(ModuleError::Interrupted) => return Ok(AdmissionResponse::interrupted(uid)),
            other => other?,
        };
        let payload = json!({ "request": request, "settings": self.settings }).to_string();
        let answer = match instance.call("validate", payload.as_bytes()) {
            Ok(answer) => answer,
            Err(CallFailure::Interrupted) => {
                tracing::error!(policy = self.name, uid, "interrupted at its deadline");
                return Ok(AdmissionResponse::interrupted(uid));
            }
            Err(error) => {
                tracing::error!(policy = self.name, uid, %error, "the policy failed");
                return Ok(AdmissionResponse::internal_error(uid, &error));
            }
        };
        Ok(match serde_json::from_slice::<Verdict>(&answer) {
            Ok(verdict) => AdmissionResponse::from_verdict(uid, request.object(), verdict),
            Err(error) => AdmissionResponse::internal_error(uid, &UnreadableAnswer(error)),
        })
    }
}
