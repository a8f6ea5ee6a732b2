//! Answers of the status API: JSON, or a problem with its status and words for people.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::{Refusal, RefusalCode};
use serde::de::DeserializeOwned;

use super::documents::ErrorBody;
use crate::ledger::LedgerError;

/// When to ask again while the ledger does not answer.
const LEDGER_RETRY: Duration = Duration::from_secs(1);

/// Why a request is not answered as it was meant.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: ErrorBody,
    retry_after_s: Option<u64>,
}

/// A problem or an answer.
pub(super) type Answer<T> = Result<Json<T>, Problem>;

impl Problem {
    /// One of this kind.
    pub(super) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or_default();
        Self { status, body: ErrorBody { code, message: message.into() }, retry_after_s: None }
    }

    /// That it is not known who asks.
    pub(super) fn unknown_caller(message: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::new(RefusalCode::Denied, message) }
    }

    /// What is wrong, for people.
    pub(super) fn message(&self) -> &str {
        &self.body.message
    }

    /// The same, with the time after which to ask again.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        let retry_after_s = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Self { retry_after_s: Some(retry_after_s), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, retry_after_s.into());
        }
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let code = match error {
            LedgerError::TooMany { .. } | LedgerError::Crowded => RefusalCode::TooMany,
            _ => RefusalCode::Unavailable,
        };
        tracing::warn!(%error, "the status API cannot answer");
        Self::new(code, error.to_string()).retry_after(LEDGER_RETRY)
    }
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message }
    }
}

/// A query, or a problem that says what is wrong with it.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let extract::Query(value) = extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// A body of JSON, or a problem that says what is wrong with it.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(RefusalCode::Malformed, rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            ..Self::new(RefusalCode::Malformed, rejection.body_text())
        }
    }
}
