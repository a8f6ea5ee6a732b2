//! `serve` as a whole, but for sockets: policies from a file, reviews through the router.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use policy_host::host::answers::Answers;
use policy_host::host::oci::Registries;
use policy_host::host::queue::HostCalls;
use policy_host::module::Engine;
use policy_host::{policies, server};
use serde_json::{Value, json};
use support::{admission_request, asking_guest, endless_guest, fixed_guest, write};
use tower::ServiceExt as _;

/// One second: the shortest there is.
const DEADLINE: u64 = 1;

async fn served(folder: &Path, entries: &Value) -> Result<Router, policies::PoliciesError> {
    let path = write(folder, "policies.yml", entries.to_string());
    let entries = policies::read(&path)?;
    let calls = HostCalls::start(Arc::new(Answers::Live(Registries::default())));
    let engine = Engine::interruptible().unwrap();
    tokio::spawn(server::tick(engine.clone()));
    let build = move || policies::build(entries, &engine, &calls, DEADLINE);
    let policies: BTreeMap<_, _> = tokio::task::spawn_blocking(build).await.unwrap()?;
    Ok(server::router(policies, 2))
}

async fn post(router: &Router, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn review() -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": admission_request(&json!({"a": 1}))})
}

fn mutating_guest(folder: &Path) -> String {
    let answer = json!({"valid": true, "accepted": true, "mutated_object": {"a": 2}});
    write(folder, "mutating.wasm", fixed_guest(&answer)).display().to_string()
}

#[tokio::test]
async fn a_review_is_answered_in_a_review() {
    let folder = tempfile::tempdir().unwrap();
    let module = format!("file://{}", mutating_guest(folder.path()));
    let router = served(folder.path(), &json!({"p": {"module": module, "allowedToMutate": true}}))
        .await
        .unwrap();
    let (status, answer) = post(&router, "/validate/p", &review()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "response": {
                "uid": "u-1", "allowed": true, "patchType": "JSONPatch",
                "patch": "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9hIiwidmFsdWUiOjJ9XQ==",
                "auditAnnotations": null, "warnings": null,
            },
        })
    );
}

#[tokio::test]
async fn constraints_hold_for_admission_and_not_for_audit() {
    let folder = tempfile::tempdir().unwrap();
    let module = mutating_guest(folder.path());
    let entries = json!({
        "strict": {"module": module},
        "monitor": {"module": module, "policyMode": "monitor", "allowedToMutate": true},
    });
    let router = served(folder.path(), &entries).await.unwrap();
    let (_, strict) = post(&router, "/validate/strict", &review()).await;
    assert_eq!(strict["response"]["allowed"], false);
    assert_eq!(strict["response"]["patch"], Value::Null);
    let (_, monitor) = post(&router, "/validate/monitor", &review()).await;
    assert_eq!(monitor["response"]["allowed"], true);
    assert_eq!(monitor["response"]["patch"], Value::Null);
    let (_, audit) = post(&router, "/audit/strict", &review()).await;
    assert_eq!(audit["response"]["allowed"], true);
    assert!(audit["response"]["patch"].is_string());
}

#[tokio::test]
async fn a_raw_review_is_its_own_object_and_has_no_kind() {
    let folder = tempfile::tempdir().unwrap();
    let module = mutating_guest(folder.path());
    let router = served(folder.path(), &json!({"p": {"module": module, "allowedToMutate": true}}))
        .await
        .unwrap();
    let (_, answer) =
        post(&router, "/validate_raw/p", &json!({"request": {"uid": "r", "a": 2}})).await;
    assert_eq!(answer["response"]["uid"], "r");
    assert!(answer["response"]["patch"].is_string());
    assert_eq!(answer.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_guest_that_does_not_come_back_is_interrupted_and_the_next_one_runs() {
    let folder = tempfile::tempdir().unwrap();
    let endless = write(folder.path(), "endless.wasm", endless_guest());
    let entries = json!({"endless": {"module": endless}, "p": {"module": mutating_guest(folder.path()), "allowedToMutate": true}});
    let router = served(folder.path(), &entries).await.unwrap();
    let start = Instant::now();
    let (status, answer) = post(&router, "/validate/endless", &review()).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer["response"]["status"],
        json!({"message": "Policy execution interrupted because it exceeded the allowed execution time", "code": 500})
    );
    let (_, next) = post(&router, "/validate/p", &review()).await;
    assert_eq!(next["response"]["allowed"], true);
}

#[tokio::test]
async fn host_calls_need_a_grant_in_the_policies_file() {
    let folder = tempfile::tempdir().unwrap();
    let module = write(folder.path(), "ask.wasm", asking_guest("localhost:1/a:1"));
    let entries = json!({
        "denied": {"module": module},
        "granted": {"module": module, "hostCapabilities": ["oci/v1/oci_manifest"]},
    });
    let router = served(folder.path(), &entries).await.unwrap();
    let message = async |policy: &str| {
        let (_, answer) = post(&router, &format!("/validate/{policy}"), &review()).await;
        answer["response"]["status"]["message"].as_str().unwrap().to_owned()
    };
    assert!(
        message("denied")
            .await
            .contains("has not been granted access to the 'oci/v1/oci_manifest'")
    );
    assert!(message("granted").await.contains("Fail to interact with OCI registry"));
}

#[tokio::test]
async fn what_is_no_review_or_no_policy_has_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let router = served(folder.path(), &json!({"p": {"module": mutating_guest(folder.path())}}))
        .await
        .unwrap();
    let unknown = post(&router, "/validate/none", &review()).await;
    assert_eq!(
        unknown,
        (StatusCode::NOT_FOUND, json!({"message": "unknown policy: none", "status": 404}))
    );
    let (status, answer) = post(&router, "/validate/p", &json!({"request": {}})).await;
    assert_eq!((status, &answer["status"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(422)));
    let ready = Request::get("/readiness").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(ready).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn refused_settings_stop_the_server_before_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let guest = fixed_guest(&json!({"valid": false, "message": "no such mode"}));
    let module = write(folder.path(), "p.wasm", guest);
    let error = served(folder.path(), &json!({"p": {"module": module}})).await.unwrap_err();
    assert_eq!(error.to_string(), "policy 'p': Provided settings are not valid: no such mode");
}
