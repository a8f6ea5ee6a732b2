//! What a policy is asked: a Kubernetes AdmissionRequest, or for raw policies any JSON.
//!
//! The request goes through a type, as in the real host, and so loses the same fields: unknown ones
//! at its top, and `object` or `oldObject` where they are null. The objects themselves stay raw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One question to a policy.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum ValidateRequest {
    /// For policies that are no Kubernetes policies.
    Raw(Value),
    /// From an admission webhook.
    Admission(Box<AdmissionRequest>),
}

/// Why a file's content is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON at all.
    #[error("the request is not JSON: {0}")]
    Json(serde_json::Error),
    /// JSON, but no object.
    #[error("the request is not a JSON object")]
    NotAnObject,
    /// A review with nothing to review.
    #[error("the AdmissionReview has no 'request'")]
    EmptyReview,
    /// Something required is missing, or of another type.
    #[error("the request is not an AdmissionRequest: {0}")]
    Form(serde_json::Error),
}

impl ValidateRequest {
    /// Reads an AdmissionRequest, bare or within an AdmissionReview.
    pub fn from_admission_json(text: &str) -> Result<Self, RequestError> {
        let mut value: Value = serde_json::from_str(text).map_err(RequestError::Json)?;
        let fields = value.as_object_mut().ok_or(RequestError::NotAnObject)?;
        if fields.get("kind").and_then(Value::as_str) == Some("AdmissionReview") {
            value = fields.remove("request").ok_or(RequestError::EmptyReview)?;
        }
        let request = serde_json::from_value(value).map_err(RequestError::Form)?;
        Ok(Self::Admission(Box::new(request)))
    }

    /// Reads any JSON.
    pub fn from_raw_json(text: &str) -> Result<Self, RequestError> {
        serde_json::from_str(text).map(Self::Raw).map_err(RequestError::Json)
    }

    /// The id that the answer must repeat; empty where a raw request has none.
    pub fn uid(&self) -> &str {
        match self {
            Self::Raw(value) => value.get("uid").and_then(Value::as_str).unwrap_or_default(),
            Self::Admission(request) => &request.uid,
        }
    }

    /// What a mutation is compared with; nothing on DELETE.
    pub fn object(&self) -> Option<&Value> {
        match self {
            Self::Raw(value) => Some(value),
            Self::Admission(request) => request.object.as_ref(),
        }
    }
}

/// `AdmissionRequest` of `admission.k8s.io/v1`, as far as the host hands it on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // Kubernetes documents these fields
pub struct AdmissionRequest {
    pub uid: String,
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_kind: Option<GroupVersionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_resource: Option<GroupVersionResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_sub_resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub operation: String,
    pub user_info: UserInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Value>,
}

/// What kind of object, by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// What kind of object, by its place in the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupVersionResource {
    pub group: String,
    pub version: String,
    pub resource: String,
}

/// Who asked the API server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct UserInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> Value {
        json!({
            "uid": "u",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "DELETE",
            "userInfo": {"username": "me", "unknown": 1},
            "object": null,
            "dryRun": true,
            "unknown": 2,
        })
    }

    #[test]
    fn a_bare_request_and_a_review_are_the_same() {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request()});
        for text in [request().to_string(), review.to_string()] {
            let parsed = ValidateRequest::from_admission_json(&text).unwrap();
            assert_eq!(parsed.uid(), "u");
            let sent = serde_json::to_value(&parsed).unwrap();
            let mut expected = request();
            for lost in ["object", "unknown"] {
                expected.as_object_mut().unwrap().remove(lost);
            }
            expected["userInfo"] = json!({"username": "me"});
            assert_eq!(sent, expected);
            assert!(parsed.object().is_none());
        }
    }

    #[test]
    fn mistakes_say_what_is_missing() {
        let error =
            |text: &str| ValidateRequest::from_admission_json(text).unwrap_err().to_string();
        assert!(error("{").starts_with("the request is not JSON"));
        assert_eq!(error("[]"), "the request is not a JSON object");
        assert_eq!(error(r#"{"kind":"AdmissionReview"}"#), "the AdmissionReview has no 'request'");
        assert_eq!(error("{}"), "the request is not an AdmissionRequest: missing field `uid`");
    }

    #[test]
    fn a_raw_request_is_its_own_object() {
        let parsed = ValidateRequest::from_raw_json(r#"{"uid":"7","a":1}"#).unwrap();
        assert_eq!(parsed.uid(), "7");
        assert_eq!(parsed.object(), Some(&json!({"uid": "7", "a": 1})));
    }
}
