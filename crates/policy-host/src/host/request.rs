//! A host call as a value: from the guest's bytes, and to and from the text of recorded sessions.
//!
//! The three registry reads are typed, as they are answered here. All others are kept as they
//! came, only to be compared with a recording. Answers nothing itself.

use std::fmt;

use serde_json::{Map, Value as Json};
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Value as Yaml};

/// A host call whose operation and payload make sense.
#[derive(Debug, Clone, PartialEq)]
pub enum HostRequest {
    /// A read from a registry.
    Oci {
        /// What to read.
        operation: OciOperation,
        /// The reference, exactly as the guest wrote it.
        image: String,
    },
    /// A call that this host cannot answer, but a recorded session can.
    Unoffered {
        /// The name the call has in recorded sessions.
        name: String,
        /// Its arguments, without those that are null.
        fields: Yaml,
    },
}

/// The registry reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OciOperation {
    /// `v1/oci_manifest`
    Manifest,
    /// `v1/manifest_digest`
    Digest,
    /// `v1/oci_manifest_config`
    ManifestAndConfig,
}

impl OciOperation {
    const ALL: [Self; 3] = [Self::Manifest, Self::Digest, Self::ManifestAndConfig];

    /// The name this read has in recorded sessions.
    const fn recorded_name(self) -> &'static str {
        match self {
            Self::Manifest => "OciManifest",
            Self::Digest => "OciManifestDigest",
            Self::ManifestAndConfig => "OciManifestAndConfig",
        }
    }
}

/// A host call that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No such namespace.
    #[error("unknown namespace: {0}")]
    UnknownNamespace(String),
    /// The namespace has no such operation.
    #[error("unknown operation: {0}")]
    UnknownOperation(String),
    /// The payload is not what the operation takes.
    #[error(transparent)]
    Payload(#[from] serde_json::Error),
    /// The payload is JSON, but names no known form of the operation.
    #[error("the payload does not say which form of '{0}' it is")]
    Form(String),
    /// A recorded request is not YAML, or not one tagged mapping.
    #[error("a recorded request is not a tagged YAML mapping: {0}")]
    Recorded(String),
}

impl HostRequest {
    /// Reads a call of the guest.
    pub fn from_guest(
        namespace: &str,
        operation: &str,
        payload: &[u8],
    ) -> Result<Self, RequestError> {
        let oci = |operation| -> Result<Self, RequestError> {
            Ok(Self::Oci { operation, image: serde_json::from_slice(payload)? })
        };
        match (namespace, operation) {
            ("oci", "v1/oci_manifest") => oci(OciOperation::Manifest),
            ("oci", "v1/manifest_digest") => oci(OciOperation::Digest),
            ("oci", "v1/oci_manifest_config") => oci(OciOperation::ManifestAndConfig),
            ("oci", "v1/verify") => outer_tag(operation, serde_json::from_slice(payload)?),
            ("oci", "v2/verify") => inner_tag(operation, serde_json::from_slice(payload)?),
            ("net", "v1/dns_lookup_host") => {
                unoffered("DNSLookupHost", one("host", serde_json::from_slice(payload)?))
            }
            ("crypto", "v1/is_certificate_trusted") => unoffered(
                "CryptoIsCertificateTrusted",
                one("request", serde_json::from_slice(payload)?),
            ),
            ("kubernetes", "list_resources_by_namespace") => {
                unoffered("KubernetesListResourceNamespace", serde_json::from_slice(payload)?)
            }
            ("kubernetes", "list_resources_all") => {
                unoffered("KubernetesListResourceAll", serde_json::from_slice(payload)?)
            }
            ("kubernetes", "get_resource") => {
                unoffered("KubernetesGetResource", serde_json::from_slice(payload)?)
            }
            ("kubernetes", "can_i") => {
                let mut fields: Map<String, Json> = serde_json::from_slice(payload)?;
                let review = fields.remove("subject_access_review").unwrap_or(Json::Null);
                fields.insert("request".to_owned(), review);
                unoffered("KubernetesCanI", fields)
            }
            ("oci" | "net" | "crypto" | "kubernetes", _) => {
                Err(RequestError::UnknownOperation(operation.to_owned()))
            }
            _ => Err(RequestError::UnknownNamespace(namespace.to_owned())),
        }
    }

    /// The text of this call in a recorded session.
    pub fn to_recorded(&self) -> Result<String, serde_yaml::Error> {
        let (name, value) = match self {
            Self::Oci { operation, image } => {
                let fields = Mapping::from_iter([("image".into(), image.as_str().into())]);
                (operation.recorded_name(), Yaml::Mapping(fields))
            }
            Self::Unoffered { name, fields } => (name.as_str(), fields.clone()),
        };
        serde_yaml::to_string(&TaggedValue { tag: Tag::new(name), value })
    }

    /// Reads a call from a recorded session.
    pub fn from_recorded(text: &str) -> Result<Self, RequestError> {
        let parsed = serde_yaml::from_str(text)
            .map_err(|error| RequestError::Recorded(error.to_string()))?;
        let Yaml::Tagged(tagged) = parsed else {
            return Err(RequestError::Recorded(text.to_owned()));
        };
        let name = tagged.tag.to_string().trim_start_matches('!').to_owned();
        let Some(operation) =
            OciOperation::ALL.into_iter().find(|known| known.recorded_name() == name)
        else {
            return Ok(Self::Unoffered { name, fields: without_nulls(tagged.value) });
        };
        let image = tagged.value.get("image").and_then(Yaml::as_str);
        let image = image.ok_or_else(|| RequestError::Recorded(text.to_owned()))?.to_owned();
        Ok(Self::Oci { operation, image })
    }
}

/// `{"SigstorePubKeyVerify": {…}}`, the first form of `verify`.
fn outer_tag(operation: &str, payload: Map<String, Json>) -> Result<HostRequest, RequestError> {
    match payload.into_iter().next() {
        Some((name, Json::Object(fields))) => unoffered(&name, fields),
        _ => Err(RequestError::Form(operation.to_owned())),
    }
}

/// `{"type": "SigstorePubKeyVerify", …}`, the second form of `verify`.
fn inner_tag(operation: &str, mut payload: Map<String, Json>) -> Result<HostRequest, RequestError> {
    match payload.remove("type") {
        Some(Json::String(name)) => unoffered(&name, payload),
        _ => Err(RequestError::Form(operation.to_owned())),
    }
}

fn one(key: &str, value: Json) -> Map<String, Json> {
    Map::from_iter([(key.to_owned(), value)])
}

fn unoffered(name: &str, fields: Map<String, Json>) -> Result<HostRequest, RequestError> {
    let fields =
        serde_yaml::to_value(fields).map_err(|error| RequestError::Recorded(error.to_string()))?;
    Ok(HostRequest::Unoffered { name: name.to_owned(), fields: without_nulls(fields) })
}

/// An argument left out and one that is null are the same call.
fn without_nulls(value: Yaml) -> Yaml {
    match value {
        Yaml::Mapping(fields) => Yaml::Mapping(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Yaml::Sequence(items) => Yaml::Sequence(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

impl fmt::Display for HostRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci { operation, image } => {
                write!(formatter, "{} {{ image: {image:?} }}", operation.recorded_name())
            }
            Self::Unoffered { name, fields } => {
                let fields = serde_json::to_string(fields).map_err(|_| fmt::Error)?;
                write!(formatter, "{name} {fields}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oci_call_has_the_recorded_form_of_kwctl() {
        let request =
            HostRequest::from_guest("oci", "v1/oci_manifest", br#""localhost:5000/a:1""#).unwrap();
        let text = request.to_recorded().unwrap();
        assert_eq!(text, "!OciManifest\nimage: localhost:5000/a:1\n");
        assert_eq!(HostRequest::from_recorded(&text).unwrap(), request);
    }

    #[test]
    fn calls_of_every_namespace_round_trip() {
        let cases: [(&str, &str, &str, &str); 9] = [
            ("oci", "v1/manifest_digest", r#""a""#, "OciManifestDigest"),
            ("oci", "v1/oci_manifest_config", r#""a""#, "OciManifestAndConfig"),
            (
                "oci",
                "v1/verify",
                r#"{"SigstorePubKeyVerify":{"image":"a","pub_keys":["k"],"annotations":null}}"#,
                "SigstorePubKeyVerify",
            ),
            (
                "oci",
                "v2/verify",
                r#"{"type":"SigstoreGithubActionsVerify","image":"a","owner":"o"}"#,
                "SigstoreGithubActionsVerify",
            ),
            ("net", "v1/dns_lookup_host", r#""h""#, "DNSLookupHost"),
            (
                "crypto",
                "v1/is_certificate_trusted",
                r#"{"cert":{"encoding":"Pem","data":[1]}}"#,
                "CryptoIsCertificateTrusted",
            ),
            (
                "kubernetes",
                "get_resource",
                r#"{"api_version":"v1","kind":"Pod","name":"p","disable_cache":false}"#,
                "KubernetesGetResource",
            ),
            (
                "kubernetes",
                "list_resources_all",
                r#"{"api_version":"v1","kind":"Pod"}"#,
                "KubernetesListResourceAll",
            ),
            (
                "kubernetes",
                "can_i",
                r#"{"subject_access_review":{"user":"u"},"disable_cache":true}"#,
                "KubernetesCanI",
            ),
        ];
        for (namespace, operation, payload, name) in cases {
            let request =
                HostRequest::from_guest(namespace, operation, payload.as_bytes()).unwrap();
            let text = request.to_recorded().unwrap();
            assert!(text.starts_with(&format!("!{name}\n")), "{text}");
            assert_eq!(HostRequest::from_recorded(&text).unwrap(), request);
        }
    }

    #[test]
    fn a_null_argument_equals_one_left_out() {
        let recorded = "!SigstorePubKeyVerify\nimage: a\npub_keys:\n- k\nannotations: null\n";
        let payload = br#"{"type":"SigstorePubKeyVerify","pub_keys":["k"],"image":"a"}"#;
        assert_eq!(
            HostRequest::from_recorded(recorded).unwrap(),
            HostRequest::from_guest("oci", "v2/verify", payload).unwrap(),
        );
    }

    #[test]
    fn unknown_calls_say_what_is_unknown() {
        let error = |namespace, operation| {
            HostRequest::from_guest(namespace, operation, b"{}").unwrap_err().to_string()
        };
        assert_eq!(error("mail", "send"), "unknown namespace: mail");
        assert_eq!(error("oci", "v9/pull"), "unknown operation: v9/pull");
        assert_eq!(
            error("oci", "v1/oci_manifest"),
            "invalid type: map, expected a string at line 1 column 0"
        );
    }
}
