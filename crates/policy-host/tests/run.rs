//! `run` as a whole: a guest in wasm, a registry on loopback, the answer as JSON.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod support;

use std::path::Path;

use axum::http::StatusCode;
use base64::Engine as _;
use clap::Parser as _;
use policy_host::cli::{Cli, Command, RunArgs};
use policy_host::run::{RunError, run};
use serde_json::{Value, json};
use support::{AUTHORIZATION, Registry, admission_request, asking_guest, fixed_guest, write};

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"a":"b"}}"#;

fn arguments(folder: &Path, guest: &[u8], more: &[&str]) -> RunArgs {
    let policy = write(folder, "policy.wasm", guest);
    let request =
        write(folder, "request.json", admission_request(&json!({"kind": "Pod"})).to_string());
    let base = [
        "policy-host",
        "run",
        policy.to_str().unwrap(),
        "--request-path",
        request.to_str().unwrap(),
    ];
    match Cli::parse_from(base.iter().chain(more)).command {
        Command::Run(arguments) => arguments,
        Command::Serve(_) => panic!("not serve"),
    }
}

async fn answer(guest: &[u8], more: &[&str]) -> Result<Value, RunError> {
    let folder = tempfile::tempdir().unwrap();
    let response = run(arguments(folder.path(), guest, more)).await?;
    Ok(serde_json::to_value(response).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn patch(response: &Value) -> Value {
    let patch = response["patch"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_verdict_is_printed_as_kwctl_prints_it() {
    let guest = fixed_guest(&json!({"valid": true, "accepted": true, "warnings": ["w"]}));
    let response = answer(&guest, &[]).await.unwrap();
    let expected =
        json!({"uid": "u-1", "allowed": true, "auditAnnotations": null, "warnings": ["w"]});
    assert_eq!(response, expected);
}

#[tokio::test]
async fn refused_settings_are_no_verdict() {
    let guest =
        fixed_guest(&json!({"valid": false, "message": "unknown key 'mod'", "accepted": true}));
    let error = answer(&guest, &["--settings-json", r#"{"mod":"wait"}"#]).await.unwrap_err();
    assert_eq!(error.to_string(), "Provided settings are not valid: unknown key 'mod'");
}

#[tokio::test]
async fn an_unreadable_answer_of_the_guest_is_an_internal_error() {
    let guest = fixed_guest(&json!({"valid": true}));
    let response = answer(&guest, &[]).await.unwrap();
    assert_eq!(response["status"]["code"], 500);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with(
        "internal server error: invalid response from policy: missing field `accepted`"
    ));
}

#[tokio::test]
async fn a_read_pings_first_and_shows_credentials_when_challenged() {
    let registry = Registry::tls(StatusCode::OK, INDEX, true).await;
    let guest = asking_guest(&format!("{}/start/a:1", registry.host));
    let (sources, docker) = (registry.trusting_sources(), registry.docker_config());
    let options = ["--sources-path", text(&sources), "--docker-config-json-path", text(&docker)];
    let response = answer(&guest, &options).await.unwrap();
    let added: Vec<Value> = patch(&response).as_array().unwrap().clone();
    assert!(
        added
            .iter()
            .any(|change| change["path"] == "/annotations" && change["value"] == json!({"a": "b"}))
    );
    assert_eq!(
        registry.requests(),
        ["GET /v2/ -".to_owned(), format!("GET /v2/start/a/manifests/1 {AUTHORIZATION}")]
    );
}

#[tokio::test]
async fn without_a_challenge_credentials_stay_here() {
    let registry = Registry::tls(StatusCode::OK, INDEX, false).await;
    let guest = asking_guest(&format!("{}/start/a:1", registry.host));
    let (sources, docker) = (registry.trusting_sources(), registry.docker_config());
    let options = ["--sources-path", text(&sources), "--docker-config-json-path", text(&docker)];
    answer(&guest, &options).await.unwrap();
    assert_eq!(registry.requests(), ["GET /v2/ -", "GET /v2/start/a/manifests/1 -"]);
}

#[tokio::test]
async fn a_refusal_that_is_no_oci_envelope_reaches_the_guest_whole() {
    let body = r#"{"marker":"x","code":"pending"}"#;
    let registry = Registry::tls(StatusCode::CONFLICT, body, true).await;
    let guest = asking_guest(&format!("{}/replica/a:1", registry.host));
    let (sources, docker) = (registry.trusting_sources(), registry.docker_config());
    let options = ["--sources-path", text(&sources), "--docker-config-json-path", text(&docker)];
    let response = answer(&guest, &options).await.unwrap();
    let url = format!("https://{}/v2/replica/a/manifests/1", registry.host);
    let cause = format!("Server error: url {url}, code: 409, message: {body}");
    let expected = format!(
        "internal server error: Guest call failure: Callback evaluation failure: Fail to interact with OCI registry: {cause}\n\nCaused by:\n    {cause}"
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with(&expected), "{message}");
}

#[tokio::test]
async fn a_registry_whose_ca_is_unknown_is_not_read() {
    let registry = Registry::tls(StatusCode::OK, INDEX, false).await;
    let guest = asking_guest(&format!("{}/a:1", registry.host));
    let response = answer(&guest, &[]).await.unwrap();
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("error sending request for url"), "{message}");
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn an_insecure_host_is_tried_three_ways_and_the_last_error_wins() {
    let tls = Registry::tls(StatusCode::NOT_FOUND, "none here", false).await;
    let guest = asking_guest(&format!("{}/a:1", tls.host));
    let sources = tls.insecure_sources();
    let response = answer(&guest, &["--sources-path", text(&sources)]).await.unwrap();
    let message = response["status"]["message"].as_str().unwrap();
    // The try by unverified HTTPS had the 404; plain HTTP on a TLS port fails otherwise.
    assert_eq!(tls.requests(), ["GET /v2/ -", "GET /v2/a/manifests/1 -"]);
    assert!(message.contains(&format!("url (http://{}", tls.host)), "{message}");
    assert!(!message.contains("none here"), "{message}");

    let plain = Registry::plain(StatusCode::OK, INDEX).await;
    let guest = asking_guest(&format!("{}/a:1", plain.host));
    let sources = plain.insecure_sources();
    let response = answer(&guest, &["--sources-path", text(&sources)]).await.unwrap();
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn a_call_that_is_not_granted_is_not_made() {
    let registry = Registry::plain(StatusCode::OK, INDEX).await;
    let guest = asking_guest(&format!("{}/a:1", registry.host));
    let sources = registry.insecure_sources();
    let options = ["--allowed-host-capabilities", "net/*", "--sources-path", text(&sources)];
    let response = answer(&guest, &options).await.unwrap();
    assert_eq!(
        response["status"]["message"],
        "internal server error: Guest call failure: Policy has not been granted access to the 'oci/v1/oci_manifest' host capability. The violation has been reported."
    );
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn a_recorded_session_answers_without_the_registry() {
    let registry = Registry::plain(StatusCode::OK, INDEX).await;
    let guest = asking_guest(&format!("{}/a:1", registry.host));
    let (sources, session) =
        (registry.insecure_sources(), registry.folder.path().join("session.yml"));
    let recording = [
        "--record-host-capabilities-interactions",
        text(&session),
        "--sources-path",
        text(&sources),
    ];
    let first = answer(&guest, &recording).await.unwrap();
    let asked = registry.requests().len();
    let second =
        answer(&guest, &["--replay-host-capabilities-interactions", text(&session)]).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(registry.requests().len(), asked);
}
