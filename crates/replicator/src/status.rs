//! The second listener, plain HTTP: `/healthz`, `/readyz`, `/metrics`. For probes and scrapers,
//! never for triggers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use registry::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::front::tls::Certificate;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::watch::{Held, Troubles};

/// The content type that Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the status listener shows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Status {
    /// What was asked for, and what became of it.
    pub(crate) ledger: Ledger,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// How things stand with registries.
    pub(crate) client: Client,
    /// The front's certificate.
    pub(crate) certificate: Held<Certificate>,
    /// Files that cannot be used.
    pub(crate) troubles: Troubles,
    /// Cancelled once the process has been told to end.
    pub(crate) draining: CancellationToken,
}

impl Status {
    /// Serves until `stop`.
    pub(crate) async fn serve(
        self,
        tcp: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(tcp, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// Ready to answer triggers. A target that is down does not count: triggers are answered all the
/// same, with the reason, which says more than a replicator that cannot be reached. Nor does a file
/// that changed and cannot be used: the old one is in force, and all replicators read the same.
async fn readyz(State(status): State<Status>) -> (StatusCode, String) {
    if status.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the replicator is ending\n".to_owned());
    }
    if !status.ledger.is_writable() {
        let reason = "the ledger cannot be written; the log says why\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    let troubles = status.troubles.lines().into_iter().map(|line| line + "\n");
    (StatusCode::OK, "ready\n".to_owned() + &troubles.collect::<String>())
}

async fn metrics(State(status): State<Status>) -> impl IntoResponse {
    match status.ledger.figures().await {
        Ok(figures) => {
            let registries = status.client.registries();
            status.metrics.files().certificate_ends(status.certificate.current().ends);
            let text = status.metrics.render(&figures, status.ledger.now(), &registries);
            (StatusCode::OK, [(header::CONTENT_TYPE, OPENMETRICS)], text)
        }
        Err(error) => {
            let type_ = "text/plain; charset=utf-8";
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [(header::CONTENT_TYPE, type_)],
                format!("{error}\n"),
            )
        }
    }
}
