//! What the host lets through of a policy's response: monitor mode, the right to mutate, a message
//! of the operator's own.
//!
//! The last step before an answer leaves; pure. `run` applies it with everything allowed, and an
//! audit does not apply it at all.

use serde::Deserialize;

use crate::response::{AdmissionResponse, Cause, Details, Status};

/// What a policy's verdict is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It is logged, and everything passes unchanged.
    Monitor,
    /// It counts.
    #[default]
    Protect,
}

/// What one policy may do.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// Whether its verdict counts.
    pub mode: PolicyMode,
    /// Whether it may change objects.
    pub may_mutate: bool,
    /// What to say instead of the policy's own message.
    pub message: Option<String>,
}

impl Constraints {
    /// Those of `kwctl run`: the verdict counts, mutation included.
    pub fn of_run() -> Self {
        Self { may_mutate: true, ..Self::default() }
    }

    /// Applies them to the response of the policy named `policy`.
    pub fn apply(&self, policy: &str, response: AdmissionResponse) -> AdmissionResponse {
        let response = match self.mode {
            PolicyMode::Monitor => monitored(policy, response),
            PolicyMode::Protect if !self.may_mutate && response.patch.is_some() => {
                mutation_refused(policy, response)
            }
            PolicyMode::Protect => response,
        };
        match &self.message {
            Some(message) if !response.allowed => with_message(message, response),
            _ => response,
        }
    }
}

fn monitored(policy: &str, response: AdmissionResponse) -> AdmissionResponse {
    tracing::info!(policy, allowed = response.allowed, status = ?response.status, mutates = response.patch.is_some(), "verdict in monitor mode");
    AdmissionResponse { allowed: true, patch_type: None, patch: None, status: None, ..response }
}

fn mutation_refused(policy: &str, response: AdmissionResponse) -> AdmissionResponse {
    let message = format!(
        "Request rejected by policy {policy}. The policy attempted to mutate the request, but it is currently configured to not allow mutations."
    );
    AdmissionResponse {
        allowed: false,
        status: Some(Status { message: Some(message), ..Status::default() }),
        // A validating webhook's answer with a patch would be an error to the API server.
        patch: None,
        patch_type: None,
        ..response
    }
}

fn with_message(message: &str, response: AdmissionResponse) -> AdmissionResponse {
    let status = response.status.unwrap_or_default();
    let mut details = status.details.unwrap_or_default();
    let replaced = Some(status.message.unwrap_or_default());
    details.causes.push(Cause { message: replaced, ..Cause::default() });
    let status = Status {
        message: Some(message.to_owned()),
        details: Some(Details { causes: details.causes }),
        code: status.code,
    };
    AdmissionResponse { status: Some(status), ..response }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::PatchType;

    fn mutating() -> AdmissionResponse {
        AdmissionResponse {
            uid: "u".into(),
            allowed: true,
            patch_type: Some(PatchType::JsonPatch),
            patch: Some("W10=".into()),
            warnings: Some(vec!["w".into()]),
            ..AdmissionResponse::default()
        }
    }

    fn rejecting() -> AdmissionResponse {
        let status = Status { message: Some("no".into()), code: Some(403), ..Status::default() };
        AdmissionResponse { uid: "u".into(), status: Some(status), ..AdmissionResponse::default() }
    }

    #[test]
    fn monitor_mode_lets_all_pass_unchanged_but_keeps_warnings() {
        let monitor = Constraints { mode: PolicyMode::Monitor, ..Constraints::of_run() };
        for response in [mutating(), rejecting()] {
            let answer = monitor.apply("p", response.clone());
            let expected = AdmissionResponse {
                uid: "u".into(),
                allowed: true,
                warnings: response.warnings,
                ..AdmissionResponse::default()
            };
            assert_eq!(answer, expected);
        }
    }

    #[test]
    fn a_mutation_without_the_right_to_is_a_rejection_without_patch() {
        let answer = Constraints::default().apply("p", mutating());
        assert!(!answer.allowed);
        assert_eq!((answer.patch, answer.patch_type), (None, None));
        assert_eq!(answer.warnings, Some(vec!["w".into()]));
        let message = answer.status.unwrap().message.unwrap();
        assert!(message.starts_with("Request rejected by policy p."), "{message}");
    }

    #[test]
    fn with_the_right_to_mutate_nothing_changes() {
        assert_eq!(Constraints::of_run().apply("p", mutating()), mutating());
        assert_eq!(Constraints::default().apply("p", rejecting()), rejecting());
    }

    #[test]
    fn the_operators_message_replaces_the_policys_and_keeps_it_as_a_cause() {
        let constraints =
            Constraints { message: Some("ask the platform team".into()), ..Constraints::of_run() };
        let status = constraints.apply("p", rejecting()).status;
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"message":"ask the platform team","details":{"causes":[{"reason":null,"message":"no","field":null}]},"code":403}"#
        );
        assert_eq!(constraints.apply("p", mutating()), mutating());
    }
}
