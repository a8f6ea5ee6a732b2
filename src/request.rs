//! The payload of `validate`: what of an admission request the policy looks at.
//!
//! Objects stay raw JSON: a typed form would lose the fields that it does not know. Fields that
//! the host leaves out or sets to null are as good as empty; the names are read in both
//! spellings, as the SDK does.

use serde::Deserialize;
use serde_json::Value;

/// The namespace that Kubernetes means where none is given.
const DEFAULT_NAMESPACE: &str = "default";

/// What the host hands to `validate`.
#[derive(Debug, Deserialize)]
pub(crate) struct Payload {
    /// The request of the AdmissionReview.
    pub(crate) request: Request,
    /// The policy's settings, not yet looked at.
    #[serde(default)]
    pub(crate) settings: Value,
}

/// The part of an AdmissionReview's request that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Request {
    operation: Option<String>,
    kind: Option<Kind>,
    #[serde(alias = "sub_resource")]
    sub_resource: Option<String>,
    namespace: Option<String>,
    /// The object as it would be stored.
    pub(crate) object: Value,
    /// The object as it is stored, on UPDATE.
    #[serde(alias = "old_object")]
    pub(crate) old_object: Value,
    #[serde(alias = "dry_run")]
    dry_run: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kind {
    group: Option<String>,
    kind: Option<String>,
}

/// What the request does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The object is new. What is not known counts as this, since then all is looked at.
    Create,
    /// The object changes.
    Update,
    /// Nothing that runs an image: DELETE and CONNECT.
    Other,
}

impl Payload {
    /// Reads the payload; the error is for people.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Request {
    /// What the request does.
    pub(crate) fn operation(&self) -> Operation {
        match self.operation.as_deref() {
            Some("UPDATE") => Operation::Update,
            Some("DELETE" | "CONNECT") => Operation::Other,
            _ => Operation::Create,
        }
    }

    /// The object's API group (empty for the core group) and kind.
    pub(crate) fn group_and_kind(&self) -> (&str, &str) {
        let text = |field: fn(&Kind) -> &Option<String>| {
            self.kind.as_ref().and_then(|kind| field(kind).as_deref()).unwrap_or_default()
        };
        (text(|kind| &kind.group), text(|kind| &kind.kind))
    }

    /// The subresource; empty where the object itself is meant.
    pub(crate) fn sub_resource(&self) -> &str {
        self.sub_resource.as_deref().unwrap_or_default()
    }

    /// The namespace on whose behalf images are asked for.
    pub(crate) fn namespace(&self) -> &str {
        let metadata = self.object.get("metadata");
        let of_object = metadata.and_then(|metadata| metadata.get("namespace")?.as_str());
        [self.namespace.as_deref(), of_object]
            .into_iter()
            .flatten()
            .find(|namespace| !namespace.is_empty())
            .unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Whether nothing will come of the request, so that nothing may be started for it.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: Value) -> Request {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_left_out_or_null_is_empty() {
        for value in [
            json!({}),
            json!({"operation": null, "kind": null, "subResource": null, "namespace": null,
                "object": null, "oldObject": null, "dryRun": null, "options": null}),
        ] {
            let request = request(value);
            assert_eq!(request.operation(), Operation::Create);
            assert_eq!(request.group_and_kind(), ("", ""));
            assert_eq!(request.sub_resource(), "");
            assert_eq!(request.namespace(), "default");
            assert!(!request.is_dry_run());
        }
    }

    #[test]
    fn the_namespace_is_the_requests_else_the_objects() {
        let object = json!({"metadata": {"namespace": "from-object"}});
        assert_eq!(request(json!({"object": object})).namespace(), "from-object");
        assert_eq!(request(json!({"object": object, "namespace": ""})).namespace(), "from-object");
        assert_eq!(request(json!({"object": object, "namespace": "n"})).namespace(), "n");
    }

    #[test]
    fn both_spellings_are_read() {
        let request = request(json!({"sub_resource": "ephemeralcontainers", "dry_run": true,
            "old_object": {"a": 1}, "operation": "UPDATE"}));
        assert_eq!(request.sub_resource(), "ephemeralcontainers");
        assert!(request.is_dry_run());
        assert_eq!(request.old_object, json!({"a": 1}));
        assert_eq!(request.operation(), Operation::Update);
    }
}
