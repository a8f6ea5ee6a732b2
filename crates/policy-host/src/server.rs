//! `policy-host serve`: policy-server's addresses, its answers and its way of queueing.
//!
//! A request waits for one of as many workers as there are CPUs and then holds it, host calls
//! included, on a blocking thread. Knows no sockets ([`crate::listener`]) and no wasm.
//!
//! # Timeouts
//! As in policy-server: the clock ticks once a second, a guest is interrupted at the first
//! instruction after its deadline, a host call is never cut, and waiting for a worker does not
//! count. Unlike there, the clock also ticks if nothing ever set a deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::admission::{AdmissionRequest, ValidateRequest};
use crate::evaluate::Policy;
use crate::module::Engine;
use crate::response::AdmissionResponse;

/// The length of one tick of a served engine; a deadline is a number of these.
const TICK: Duration = Duration::from_secs(1);

struct Served {
    policies: BTreeMap<String, Arc<Policy>>,
    workers: Semaphore,
}

/// The server's addresses, with `workers` evaluations at a time.
pub fn router(policies: BTreeMap<String, Policy>, workers: usize) -> Router {
    let policies = policies.into_iter().map(|(name, policy)| (name, Arc::new(policy))).collect();
    let served = Arc::new(Served { policies, workers: Semaphore::new(workers) });
    Router::new()
        .route("/validate/{policy}", post(validate))
        .route("/audit/{policy}", post(audit))
        .route("/validate_raw/{policy}", post(validate_raw))
        .route("/readiness", get(|| async { StatusCode::OK }))
        .with_state(served)
}

/// Moves the clock of `engine` on, for ever.
pub async fn tick(engine: Engine) {
    let mut interval = tokio::time::interval(TICK);
    // A late tick must not be made up for: two at once would halve a guest's time.
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        engine.tick();
    }
}

/// Whether the answer decides about an object, or reports on one that is there.
#[derive(Clone, Copy)]
enum Purpose {
    Admission,
    Audit,
}

#[derive(Deserialize)]
struct Review<T> {
    request: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewAnswer {
    kind: &'static str,
    api_version: &'static str,
    response: AdmissionResponse,
}

async fn validate(
    State(served): State<Arc<Served>>,
    Path(policy): Path<String>,
    review: Result<Json<Review<AdmissionRequest>>, JsonRejection>,
) -> Result<Json<ReviewAnswer>, ServeError> {
    answer_review(served, policy, review, Purpose::Admission).await
}

async fn audit(
    State(served): State<Arc<Served>>,
    Path(policy): Path<String>,
    review: Result<Json<Review<AdmissionRequest>>, JsonRejection>,
) -> Result<Json<ReviewAnswer>, ServeError> {
    answer_review(served, policy, review, Purpose::Audit).await
}

async fn answer_review(
    served: Arc<Served>,
    policy: String,
    review: Result<Json<Review<AdmissionRequest>>, JsonRejection>,
    purpose: Purpose,
) -> Result<Json<ReviewAnswer>, ServeError> {
    let Json(Review { request }) = review?;
    let request = ValidateRequest::Admission(Box::new(request));
    let response = evaluate(served, policy, request, purpose).await?;
    Ok(Json(ReviewAnswer { kind: "AdmissionReview", api_version: "admission.k8s.io/v1", response }))
}

async fn validate_raw(
    State(served): State<Arc<Served>>,
    Path(policy): Path<String>,
    review: Result<Json<Review<Value>>, JsonRejection>,
) -> Result<Json<Value>, ServeError> {
    let Json(Review { request }) = review?;
    let request = ValidateRequest::Raw(request);
    let response = evaluate(served, policy, request, Purpose::Admission).await?;
    Ok(Json(json!({ "response": response })))
}

async fn evaluate(
    served: Arc<Served>,
    name: String,
    request: ValidateRequest,
    purpose: Purpose,
) -> Result<AdmissionResponse, ServeError> {
    let _worker =
        served.workers.acquire().await.map_err(|error| ServeError::internal(&name, &error))?;
    let policy = served.policies.get(&name).map(Arc::clone);
    let policy = policy.ok_or_else(|| ServeError::UnknownPolicy(name.clone()))?;
    let evaluation = tokio::task::spawn_blocking(move || match purpose {
        Purpose::Admission => policy.evaluate(&request),
        Purpose::Audit => policy.audit(&request),
    });
    match evaluation.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(ServeError::internal(&name, &error)),
        Err(error) => Err(ServeError::internal(&name, &error)),
    }
}

/// A request without an AdmissionResponse. The causes of an internal error go to the log only.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("unknown policy: {0}")]
    UnknownPolicy(String),
    #[error("{}", .0.body_text())]
    Request(#[from] JsonRejection),
    #[error("Something went wrong")]
    Internal,
}

impl ServeError {
    fn internal(policy: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(policy, %error, "no answer");
        Self::Internal
    }
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::UnknownPolicy(_) => StatusCode::NOT_FOUND,
            Self::Request(rejection) => rejection.status(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({ "message": self.to_string(), "status": status.as_u16() })))
            .into_response()
    }
}
