//! The order of checks, and the texts a guest gets to see.

use std::sync::Arc;

use oci_distribution::errors::{OciDistributionError, OciEnvelope};

use super::answers::{Answers, Failure};
use super::oci::{OciFailure, Registries};
use super::*;

async fn call(
    capabilities: Capabilities,
    (binding, namespace, operation): (&'static str, &'static str, &'static str),
    payload: &'static [u8],
) -> Result<Vec<u8>, String> {
    let calls = HostCalls::start(Arc::new(Answers::Live(Registries::default())));
    let context = HostContext::new("p", capabilities, calls);
    tokio::task::spawn_blocking(move || context.call(binding, namespace, operation, payload))
        .await
        .unwrap()
        .map_err(|error| error.to_string())
}

const MANIFEST: (&str, &str, &str) = ("kubewarden", "oci", "v1/oci_manifest");

#[tokio::test]
async fn a_call_that_is_not_granted_is_denied_before_its_payload_is_read() {
    assert_eq!(
        call(Capabilities::default(), MANIFEST, b"no JSON").await.unwrap_err(),
        "Policy has not been granted access to the 'oci/v1/oci_manifest' host capability. The violation has been reported."
    );
}

#[tokio::test]
async fn logging_needs_no_grant_and_never_fails() {
    let log = ("kubewarden", "tracing", "log");
    let entry = br#"{"level":"info","message":"hello"}"#;
    assert_eq!(call(Capabilities::default(), log, entry).await.unwrap(), b"");
    assert_eq!(call(Capabilities::default(), log, b"no JSON").await.unwrap(), b"");
}

#[tokio::test]
async fn unknown_names_are_named() {
    let all = Capabilities::all;
    let error = call(all(), ("other", "oci", "v1/oci_manifest"), b"").await.unwrap_err();
    assert_eq!(error, "unknown binding: other");
    let error = call(all(), ("kubewarden", "mail", "send"), b"").await.unwrap_err();
    assert_eq!(error, "unknown namespace: mail");
    let error = call(all(), ("kubewarden", "tracing", "span"), b"").await.unwrap_err();
    assert_eq!(error, "unknown operation: span");
}

#[tokio::test]
async fn a_call_only_the_real_host_answers_says_so() {
    let error = call(Capabilities::all(), ("kubewarden", "net", "v1/dns_lookup_host"), br#""h""#)
        .await
        .unwrap_err();
    assert!(first_lines(&error).starts_with(
        "Callback evaluation failure: policy-host does not offer the host call DNSLookupHost;"
    ));
}

#[tokio::test]
async fn a_reference_that_does_not_parse_never_reaches_a_registry() {
    let error = call(Capabilities::all(), MANIFEST, br#""UPPER CASE""#).await.unwrap_err();
    assert_eq!(first_lines(&error), "Callback evaluation failure: invalid reference format");
}

/// Without the stack trace that `RUST_BACKTRACE` adds, here as in the real host.
fn first_lines(text: &str) -> &str {
    text.split("\n\nStack backtrace").next().unwrap_or(text)
}

fn layout(error: OciDistributionError) -> String {
    let text = Failure::from(OciFailure::from(error)).layout();
    first_lines(&text).to_owned()
}

#[test]
fn a_registry_error_is_laid_out_as_the_real_host_does() {
    let error = OciDistributionError::ServerError {
        code: 409,
        url: "https://r/v2/a/manifests/1".into(),
        message: "line one\nline two".into(),
    };
    insta::assert_snapshot!(layout(error), @r"
    Fail to interact with OCI registry: Server error: url https://r/v2/a/manifests/1, code: 409, message: line one
    line two

    Caused by:
        Server error: url https://r/v2/a/manifests/1, code: 409, message: line one
        line two
    ");
}

#[test]
fn a_standard_error_envelope_loses_all_but_its_message() {
    let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone","detail":{"a":1}}]}"#;
    let envelope: OciEnvelope = serde_json::from_str(body).unwrap();
    let error = OciDistributionError::RegistryError { envelope, url: "https://r/x".into() };
    insta::assert_snapshot!(layout(error), @r"
    Fail to interact with OCI registry: Registry error: url https://r/x, envelope: OCI API errors: [OCI API error: gone]

    Caused by:
        Registry error: url https://r/x, envelope: OCI API errors: [OCI API error: gone]
    ");
}
