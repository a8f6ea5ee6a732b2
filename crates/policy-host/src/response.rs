//! What a policy answered, and the AdmissionResponse that the host makes of it.
//!
//! The JSON form is that of `kwctl run` to the letter, nulls included. Pure: what a *server* lets
//! through of it is decided in [`crate::constraints`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A guest's answer to `validate`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Verdict {
    /// Whether the request may pass.
    pub accepted: bool,
    /// Why not.
    pub message: Option<String>,
    /// An HTTP status to go with it.
    pub code: Option<u16>,
    /// The object as the policy would have it.
    pub mutated_object: Option<Value>,
    /// For the API server's audit log.
    pub audit_annotations: Option<BTreeMap<String, String>>,
    /// For whoever sent the request.
    pub warnings: Option<Vec<String>>,
}

/// `AdmissionResponse` of `admission.k8s.io/v1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionResponse {
    /// The request's id.
    pub uid: String,
    /// Whether it may pass.
    pub allowed: bool,
    /// `JSONPatch` where there is a patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<PatchType>,
    /// A JSON patch in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Why it may not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// For the API server's audit log.
    pub audit_annotations: Option<BTreeMap<String, String>>,
    /// For whoever sent the request.
    pub warnings: Option<Vec<String>>,
}

/// The only kind of patch there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PatchType {
    /// RFC 6902.
    #[serde(rename = "JSONPatch")]
    JsonPatch,
}

/// The part of a Kubernetes `Status` that hosts fill in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a custom message replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// An HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// `StatusDetails`, of which only causes are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// Messages that are not the main one.
    pub causes: Vec<Cause>,
}

/// One `StatusCause`; its other fields are always null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Always null.
    pub reason: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// Always null.
    pub field: Option<String>,
}

/// The status of an error that is the host's or the guest's, and not the request's.
const INTERNAL_ERROR: u16 = 500;
/// A policy cannot change what is about to be gone.
const MUTATION_ON_DELETE: &str = "Incoming object is null, which happens only with DELETE operations, but the policy is attempting a mutation. This is not allowed";
/// What a policy that ran into its deadline answers.
const INTERRUPTED: &str =
    "Policy execution interrupted because it exceeded the allowed execution time";

impl AdmissionResponse {
    /// The response that a verdict on `object` amounts to.
    pub fn from_verdict(uid: &str, object: Option<&Value>, verdict: Verdict) -> Self {
        let patch = match (object, &verdict.mutated_object) {
            (None, Some(_)) => {
                let status =
                    Status { message: Some(MUTATION_ON_DELETE.to_owned()), ..Status::default() };
                return Self { uid: uid.to_owned(), status: Some(status), ..Self::default() };
            }
            (Some(object), Some(mutated)) => patch(object, mutated),
            (_, None) => None,
        };
        let status = (verdict.message.is_some() || verdict.code.is_some()).then_some(Status {
            message: verdict.message,
            details: None,
            code: verdict.code,
        });
        Self {
            uid: uid.to_owned(),
            allowed: verdict.accepted,
            patch_type: patch.is_some().then_some(PatchType::JsonPatch),
            patch,
            status,
            audit_annotations: verdict.audit_annotations,
            warnings: verdict.warnings,
        }
    }

    /// The refusal of a policy that ran into its deadline.
    pub fn interrupted(uid: &str) -> Self {
        Self::refusal(uid, INTERRUPTED.to_owned())
    }

    /// The refusal where guest or host failed.
    pub fn internal_error(uid: &str, error: &dyn std::error::Error) -> Self {
        Self::refusal(uid, format!("internal server error: {error}"))
    }

    fn refusal(uid: &str, message: String) -> Self {
        let status =
            Status { message: Some(message), code: Some(INTERNAL_ERROR), ..Status::default() };
        Self { uid: uid.to_owned(), status: Some(status), ..Self::default() }
    }
}

/// The difference in base64; nothing if there is none, even if the policy sent a "mutated" object.
fn patch(object: &Value, mutated: &Value) -> Option<String> {
    let difference = json_patch::diff(object, mutated);
    (!difference.0.is_empty()).then(|| STANDARD.encode(difference.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(value: Value) -> Verdict {
        serde_json::from_value(value).unwrap()
    }

    fn respond(object: Option<&Value>, verdict: Verdict) -> String {
        serde_json::to_string(&AdmissionResponse::from_verdict("u", object, verdict)).unwrap()
    }

    #[test]
    fn an_acceptance_has_nulls_where_kwctl_prints_them() {
        let text = respond(Some(&json!({})), verdict(json!({"accepted": true})));
        assert_eq!(text, r#"{"uid":"u","allowed":true,"auditAnnotations":null,"warnings":null}"#);
    }

    #[test]
    fn a_rejection_carries_message_code_warnings_and_annotations() {
        let text = respond(
            Some(&json!({})),
            verdict(json!({
                "accepted": false, "message": "no", "code": 403,
                "warnings": ["w"], "audit_annotations": {"k": "v"},
            })),
        );
        assert_eq!(
            text,
            r#"{"uid":"u","allowed":false,"status":{"message":"no","code":403},"auditAnnotations":{"k":"v"},"warnings":["w"]}"#
        );
    }

    #[test]
    fn a_mutation_becomes_a_patch() {
        let object = json!({"spec": {"image": "a"}});
        let mutated = json!({"spec": {"image": "b"}});
        let response = AdmissionResponse::from_verdict(
            "u",
            Some(&object),
            verdict(json!({"accepted": true, "mutated_object": mutated})),
        );
        let patch = STANDARD.decode(response.patch.unwrap()).unwrap();
        assert_eq!(patch, br#"[{"op":"replace","path":"/spec/image","value":"b"}]"#);
        assert_eq!(response.patch_type, Some(PatchType::JsonPatch));
    }

    #[test]
    fn a_mutation_that_changes_nothing_is_no_patch() {
        let object = json!({"spec": {"a": 1, "b": [1, 2]}});
        let same = json!({"accepted": true, "mutated_object": {"spec": {"b": [1, 2], "a": 1}}});
        let response = AdmissionResponse::from_verdict("u", Some(&object), verdict(same));
        assert_eq!((response.patch, response.patch_type), (None, None));
    }

    #[test]
    fn a_mutation_on_delete_is_rejected() {
        let response = AdmissionResponse::from_verdict(
            "u",
            None,
            verdict(json!({"accepted": true, "mutated_object": {}, "warnings": ["lost"]})),
        );
        assert!(!response.allowed);
        assert_eq!(response.warnings, None);
        assert_eq!(response.status.unwrap().message.unwrap(), MUTATION_ON_DELETE);
    }

    #[test]
    fn a_deadline_is_a_refusal_with_500() {
        let text = serde_json::to_string(&AdmissionResponse::interrupted("u")).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"uid":"u","allowed":false,"status":{{"message":"{INTERRUPTED}","code":500}},"auditAnnotations":null,"warnings":null}}"#
            )
        );
    }
}
