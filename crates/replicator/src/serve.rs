//! `serve`: wires the parts, and ends them in order.
//!
//! On SIGTERM or SIGINT readiness falls and nothing more is claimed; running copies get the
//! drain time, what is left is handed back; the front answers until then.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Destination};
use crate::board::Board;
use crate::clock::Clock;
use crate::config::Config;
use crate::front::api::Api;
use crate::front::listener::Listener;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::status::Status;
use crate::workers::{Stop, Workers};

/// Runs the replicator until it is told to end.
pub(crate) async fn serve(config: Config) -> Result<(), ServeError> {
    let ledger = Ledger::open(config.ledger, Clock::system()).await?;
    let board = Board::default();
    let metrics = Metrics::default();
    let (audit, writing) = config
        .audit
        .open()
        .and_then(|output| Audit::begin(output, metrics.clone()))
        .map_err(|error| ServeError::Audit { destination: config.audit, error })?;
    let target = Arc::new(config.target);
    let copier = config.registries.copier(config.scope)?.with_origins(ledger.places());

    let bind = |address, error| ServeError::Bind { address, error };
    let front = Listener::bind(config.front.listen, config.front.tls)
        .await
        .map_err(|error| bind(config.front.listen, error))?;
    let status_tcp =
        TcpListener::bind(config.status).await.map_err(|error| bind(config.status, error))?;

    let stop = Stop::default();
    let stop_listening = CancellationToken::new();
    let status = Status {
        ledger: ledger.clone(),
        metrics: metrics.clone(),
        client: copier.client().clone(),
        draining: stop.claiming.clone(),
    };
    let status = tokio::spawn(status.serve(status_tcp, stop_listening.clone()));
    let workers = Workers {
        ledger: ledger.clone(),
        copier,
        board: board.clone(),
        target: Arc::clone(&target),
        metrics: metrics.clone(),
        audit: audit.clone(),
    };
    let mut workers = tokio::spawn(workers.run(config.workers, stop.clone()));
    let api = Api {
        ledger: ledger.clone(),
        board,
        target,
        freshness: Arc::new(config.freshness),
        callers: config.front.callers,
        metrics,
        audit: audit.clone(),
    };
    if let Ok(address) = front.address() {
        tracing::info!(front = %address, status = %config.status, "ready");
    }
    let front = tokio::spawn(front.serve(api, stop_listening.clone()));

    wait_for_signal().await?;
    tracing::info!(
        drain_ms = config.drain.as_millis(),
        "ending: running copies may go on for a while"
    );
    stop.claiming.cancel();
    if tokio::time::timeout(config.drain, &mut workers).await.is_err() {
        stop.copying.cancel();
        let _ = workers.await;
    }
    stop_listening.cancel();
    let _ = tokio::join!(front, status);
    ledger.close().await;
    audit.close(writing).await;
    tracing::info!("ended");
    Ok(())
}

async fn wait_for_signal() -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Why the replicator could not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The ledger could not be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry client could not be made.
    #[error(transparent)]
    Client(#[from] registry::ConfigError),
    /// The audit record cannot be written.
    #[error("audit: {destination} cannot be written: {error}")]
    Audit {
        /// Where it goes.
        destination: Destination,
        /// What the system says.
        error: std::io::Error,
    },
    /// An address is in use, or not ours.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system takes no signal handler.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}
