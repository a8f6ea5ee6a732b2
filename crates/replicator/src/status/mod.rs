//! The second listener, plain HTTP: `/healthz`, `/readyz` and `/metrics` for probes and scrapers,
//! and what people look at; never for triggers.
//!
//! - [`documents`]: what the API says;
//! - [`api`], [`csv`]: its routes; [`answer`]: their form; [`token`]: who may do more than look;
//! - [`overview`]: how things stand; [`feed`]: the same as it changes;
//! - [`page`], [`live`]: as HTML; [`words`]: figures as people read them;
//! - [`prune`]: what nobody uses.

mod answer;
mod api;
mod csv;
pub(crate) mod documents;
pub(crate) mod feed;
mod live;
mod overview;
mod page;
mod prune;
#[cfg(test)]
mod testing;
pub(crate) mod token;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use protocol::TargetRoot;
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
use feed::Feed;
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
    /// Tells what changes to those who look on.
    pub(crate) feed: Feed,
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
        let service = self.router().into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(tcp, service).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/", get(page::page))
            .route("/page.css", get(page::style))
            .route("/page.js", get(page::script))
            .route("/icon.svg", get(page::icon))
            .route("/live", get(feed::sections))
            .route("/api/v1/overview", get(api::overview))
            .route("/api/v1/events", get(feed::overviews))
            .route("/api/v1/images", get(api::images))
            .route("/api/v1/images.csv", get(csv::images))
            .route("/api/v1/image", get(api::image))
            .route("/api/v1/retry", post(api::retry))
            .route("/api/v1/prewarm", post(api::prewarm))
            .route("/api/v1/prune", get(prune::look).post(prune::begin))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(map_response(secured))
            .with_state(self)
    }

    /// Where replicas live.
    fn target(&self) -> &TargetRoot {
        &self.front.target
    }

    /// How far copies are that run here.
    fn board(&self) -> &Board {
        &self.front.board
    }
}

/// The same answer, of which a browser makes only what it is.
async fn secured(mut response: Response) -> Response {
    response.headers_mut().extend(page::SECURITY_HEADERS);
    response
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
mod tests;
