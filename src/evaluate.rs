//! The flow: bytes of the host in, bytes for the host out, whatever is in them.
//!
//! Each step is a module of its own; here is only their order, and the shape of the answers.

use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::Value;
use workload::{changed, distinct, places};

use crate::ask::Questions;
use crate::decide::{Verdict, decide};
use crate::host::Host;
use crate::patch;
use crate::request::{Operation, Payload, Request};
use crate::settings::Settings;
use crate::subject::{self, Workload};
use crate::wording::{self, clean};

/// How many different images a pod may have. A question costs a host some 11 ms and a policy
/// has 2 s in all (and a host call is not cut short); real pods have a few dozen at most.
const MAX_IMAGES: usize = 128;

/// How long an error about the host's own input may become.
const MAX_ERROR_CHARS: usize = 400;

/// HTTP statuses of the refusals that are not about an image.
const BAD_REQUEST: u16 = 400;
const INTERNAL_ERROR: u16 = 500;

/// The answer to `validate`.
pub fn evaluate(payload: &[u8], host: &impl Host) -> Vec<u8> {
    let response = match Payload::read(payload) {
        Ok(payload) => evaluate_request(payload.request, &payload.settings, host),
        Err(error) => {
            let error = clean(&error.to_string(), MAX_ERROR_CHARS);
            refuse(format!("the policy cannot read the admission request: {error}"), BAD_REQUEST)
        }
    };
    to_json(&response)
}

/// The answer to `validate_settings`.
pub fn check_settings(payload: &[u8]) -> Vec<u8> {
    let settings = match serde_json::from_slice::<Value>(payload) {
        Ok(value) => Settings::read(&value),
        Err(error) => Err(format!(
            "the settings are not JSON: {}",
            clean(&error.to_string(), MAX_ERROR_CHARS)
        )),
    };
    to_json(&SettingsValidationResponse { valid: settings.is_ok(), message: settings.err() })
}

fn evaluate_request(request: Request, settings: &Value, host: &impl Host) -> ValidationResponse {
    // First of all: what takes something away is never held up, not by wrong settings either.
    if request.operation() == Operation::Other {
        return allow(None, Vec::new());
    }
    let settings = match Settings::read(settings) {
        Ok(settings) => settings,
        Err(error) => {
            return refuse(format!("the policy's settings are wrong: {error}"), INTERNAL_ERROR);
        }
    };
    let Some(workload) = subject::find(&request, &settings.kinds) else {
        return allow(None, Vec::new());
    };
    let namespace = request.namespace();
    if settings.ignore_namespaces.iter().any(|ignored| ignored == namespace) {
        return allow(None, Vec::new());
    }
    match &settings.opt_out_annotation {
        Some(name) if subject::opts_out(&request.object, workload, name) => {
            allow(None, vec![wording::opted_out(name)])
        }
        _ => evaluate_workload(request, workload, &settings, host),
    }
}

fn evaluate_workload(
    request: Request,
    workload: Workload,
    settings: &Settings,
    host: &impl Host,
) -> ValidationResponse {
    let mut named = places(&request.object, workload.pod);
    if request.operation() == Operation::Update {
        named = changed(named, &places(&request.old_object, workload.pod));
    }
    let images = distinct(named);
    if images.len() > MAX_IMAGES {
        return refuse(
            format!(
                "the pod has {} different images, the policy asks about {MAX_IMAGES} at most: \
                 divide the pod",
                images.len()
            ),
            BAD_REQUEST,
        );
    }
    let namespace = match request.namespace().parse() {
        Ok(namespace) => namespace,
        Err(error) => {
            let error = clean(&format!("{error}"), MAX_ERROR_CHARS);
            return refuse(format!("the request's namespace: {error}"), BAD_REQUEST);
        }
    };
    let dry_run = request.is_dry_run();
    let inquiries = Questions { host, settings, namespace, dry_run }.ask_all(&images);
    match decide(&images, &inquiries, settings, dry_run) {
        Verdict::Deny { message, code } => refuse(message, code),
        Verdict::Allow { rewrites, warnings, runs_from_target } => {
            let takes_secrets = runs_from_target && workload.takes_pull_secrets;
            let secrets = if takes_secrets { settings.image_pull_secrets.as_slice() } else { &[] };
            match patch::apply(request.object, workload, &rewrites, secrets) {
                Ok(object) => allow(object, warnings),
                Err(error) => {
                    refuse(format!("the policy cannot edit the object: {error}"), BAD_REQUEST)
                }
            }
        }
    }
}

fn allow(mutated_object: Option<Value>, warnings: Vec<String>) -> ValidationResponse {
    ValidationResponse {
        accepted: true,
        message: None,
        code: None,
        mutated_object,
        audit_annotations: None,
        warnings: (!warnings.is_empty()).then_some(warnings),
    }
}

fn refuse(message: String, code: u16) -> ValidationResponse {
    ValidationResponse {
        accepted: false,
        message: Some(message),
        code: Some(code),
        mutated_object: None,
        audit_annotations: None,
        warnings: None,
    }
}

fn to_json(response: &impl serde::Serialize) -> Vec<u8> {
    // Both responses are texts, numbers and JSON values: serialising them cannot fail.
    serde_json::to_vec(response).unwrap_or_default()
}

#[cfg(test)]
mod tests;
