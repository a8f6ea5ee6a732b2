//! The second listener, plain HTTP: `/healthz`, `/readyz` and `/metrics` for probes and scrapers,
//! and what people look at; never for triggers.
//!
//! - [`documents`]: what the API says;
//! - [`api`]: its routes; [`answer`]: their form; [`token`]: who may do more than look;
//! - [`overview`]: how things stand; [`prune`]: what nobody uses.

mod answer;
mod api;
pub(crate) mod documents;
mod overview;
mod prune;
pub(crate) mod token;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use registry::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::front::api::Api;
use crate::front::tls::Certificate;
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Moment};
use crate::retention::{Pruner, Schedule};
use crate::watch::{Held, Troubles};
use token::Keeper;

/// The content type that Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a scrape waits for the ledger's figures. Prometheus waits 10 s by default, and the other
/// metrics must not be lost with them: they tell why.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest body of a request: room for the most images that may be wanted at once, each with
/// the longest reference.
const MAX_BODY_BYTES: usize = 1024 * 1024;

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
    /// Answers what people want to be there.
    pub(crate) front: Api,
    /// Knows who may do more than look.
    pub(crate) keeper: Keeper,
    /// Takes replicas away that nobody uses.
    pub(crate) pruner: Pruner,
    /// When it does so by itself.
    pub(crate) retention: Schedule,
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
            .route("/api/v1/overview", get(api::overview))
            .route("/api/v1/images", get(api::images))
            .route("/api/v1/image", get(api::image))
            .route("/api/v1/retry", post(api::retry))
            .route("/api/v1/prewarm", post(api::prewarm))
            .route("/api/v1/prune", get(prune::look).post(prune::begin))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(self)
            .into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(tcp, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// How far copies are that run here.
    fn board(&self) -> &Board {
        &self.front.board
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
    status.metrics.files().certificate_ends(status.certificate.current().ends);
    let ledger = &status.ledger;
    let figures = match tokio::time::timeout(FIGURES_TIMEOUT, ledger.figures()).await {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the metrics come without the ledger's figures");
            None
        }
        Err(_) => {
            tracing::warn!("the ledger takes too long: the metrics come without its figures");
            None
        }
    };
    let moment = Moment {
        now: ledger.now(),
        figures,
        is_writable: ledger.is_writable(),
        latency: ledger.latency(),
        registries: &status.client.registries(),
    };
    ([(header::CONTENT_TYPE, OPENMETRICS)], status.metrics.render(&moment))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use registry::ClientConfig;

    use super::*;
    use crate::front::testing::{api, tls};
    use crate::ledger::testing::{Fixture, ask};
    use crate::retention::UnusedFor;
    use crate::rules::Rules;
    use crate::watch::Watcher;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_ledger_that_fails_takes_its_own_figures_away_alone() {
        let store = Fixture::sqlite().await;
        let status = status(store.open().await);
        store.run("DROP TABLE replicas").await;
        status.ledger.want(ask("1")).await.unwrap_err();
        let reply = metrics(State(status)).await.into_response();
        assert_eq!(reply.status(), StatusCode::OK);
        let body = to_bytes(reply.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("image_replicator_ledger_writable 0\n"), "{text}");
        assert!(!text.contains("image_replicator_queue_length"), "{text}");
    }

    /// What a listener shows of a ledger.
    pub(in crate::status) fn status(ledger: Ledger) -> Status {
        Status {
            front: api(&ledger, "registry.corp/mirror", Rules::default()),
            keeper: Keeper::new(None),
            pruner: crate::retention::testing::pruner(&ledger),
            retention: Schedule { unused_for: UnusedFor::default(), every: None },
            ledger,
            metrics: Metrics::default(),
            client: Client::new(ClientConfig::default()).unwrap(),
            certificate: tls(&testkit::Certificates::new()).certificate,
            troubles: Watcher::default().troubles(),
            draining: CancellationToken::new(),
        }
    }
}
