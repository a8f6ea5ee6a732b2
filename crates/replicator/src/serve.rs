//! `serve`: wires the parts, and ends them in order.
//!
//! On SIGTERM or SIGINT readiness falls and nothing more is claimed; running copies get the
//! drain time, what is left is handed back, and its uploads are given up at the target. The front
//! answers until then, and for a moment at least, since those who ask hear late that it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Destination};
use crate::board::Board;
use crate::clock::Clock;
use crate::config::Config;
use crate::ending::Observers;
use crate::front::api::Api;
use crate::front::callers::{Callers, NoRandom};
use crate::front::listener::Listener;
use crate::kube::{Cluster, ConnectError};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::proofs::Prover;
use crate::quota::Quota;
use crate::retention::Pruner;
use crate::rights::Rights;
use crate::status::Status;
use crate::status::feed::Feed;
use crate::status::token::Keeper;
use crate::workers::{Stop, Workers};

/// How long the front answers at least after readiness has fallen, or for the drain time if that
/// is shorter: Kubernetes takes about a second to send nobody here any more.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How long uploads that were broken off may take to be given up at their registries.
pub(crate) const UPLOADS_TIME: Duration = Duration::from_secs(5);

/// How long the workers wait for the first list of pull secrets: an API server takes less than a
/// second, and one that is away holds up no images but those that need it.
const FIRST_LIST_TIME: Duration = Duration::from_secs(10);

/// How long the last replies and the last words to the ledger may take each. With the usual drain
/// time all ends within the 30 s after which Kubernetes kills.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// Runs the replicator until it is told to end.
pub(crate) async fn serve(mut config: Config) -> Result<(), ServeError> {
    let ledger = Ledger::open(config.ledger, Clock::system()).await?;
    let board = Board::default();
    let metrics = Metrics::default();
    let (audit, writing) = config
        .audit
        .open()
        .and_then(|output| Audit::begin(output, metrics.clone()))
        .map_err(|error| ServeError::Audit { destination: config.audit, error })?;
    let target = Arc::new(config.target);
    let (notifier, deliveries) =
        Notifier::begin(config.receivers, &target, &metrics, &Clock::wall());
    let copier = config.registries.copier(&mut config.watcher)?.with_origins(ledger.places());
    let callers = Callers::new(config.front.htpasswd)?;

    let bind = |address, error| ServeError::Bind { address, error };
    let front = Listener::bind(config.front.listen, config.front.tls.clone())
        .await
        .map_err(|error| bind(config.front.listen, error))?;
    let status_tcp = TcpListener::bind(config.status.listen)
        .await
        .map_err(|error| bind(config.status.listen, error))?;

    let stop = Stop::default();
    let stop_listening = CancellationToken::new();
    let client = copier.client().clone();
    let troubles = config.watcher.troubles();
    let watching = config.watcher.run(metrics.clone(), Clock::system(), stop_listening.clone());
    let watching = tokio::spawn(watching);
    let (rights, proofs) = Rights::new(ledger.clone());
    let prover = Prover { rights: rights.clone(), client: client.clone() };
    let prover = tokio::spawn(prover.run(proofs, stop_listening.clone()));
    let workers = Workers {
        ledger: ledger.clone(),
        copier,
        board: board.clone(),
        target: Arc::clone(&target),
        rules: config.rules.clone(),
        rights: rights.clone(),
        quota: Quota::new(ledger.clone(), config.namespace_bytes),
        observers: Observers {
            metrics: metrics.clone(),
            audit: audit.clone(),
            notifier: notifier.clone(),
        },
    };
    let pruner = Pruner {
        ledger: ledger.clone(),
        target: Arc::clone(&target),
        remover: workers.copier.remover(),
        metrics: metrics.clone(),
        audit: audit.clone(),
        stop: stop.claiming.clone(),
        report: Arc::default(),
        looking: Arc::default(),
    };
    let retention = config.retention.run(pruner.clone(), stop.claiming.clone());
    let retention = tokio::spawn(retention);
    if config.watch_pods || !config.tenants.is_empty() {
        let cluster = Cluster::connect(metrics.clone(), troubles.clone()).await?;
        if config.watch_pods {
            let cluster = cluster.clone();
            tokio::spawn(cluster.watch_pods(ledger.clone(), stop_listening.clone()));
        }
        tokio::spawn(cluster.watch_secrets(config.feeds, stop_listening.clone()));
    }
    let (tenants, stop_workers) = (config.tenants, stop.clone());
    let mut workers = tokio::spawn(async move {
        // What waits in the queue since before is not tried without the credentials for it.
        let read = timeout(FIRST_LIST_TIME, tenants.are_read());
        let _ = stop_workers.claiming.run_until_cancelled(read).await;
        workers.run(config.workers, stop_workers).await;
    });
    let api = Api {
        ledger: ledger.clone(),
        board,
        target,
        rules: config.rules,
        rights,
        callers,
        caller_rights: Arc::new(config.front.rights),
        metrics: metrics.clone(),
        audit: audit.clone(),
    };
    let status = Status {
        ledger: ledger.clone(),
        metrics: metrics.clone(),
        client: client.clone(),
        certificate: config.front.tls.certificate,
        troubles,
        front: api.clone(),
        feed: Feed::new(stop_listening.clone()),
        keeper: Keeper::new(config.status.token),
        pruner: pruner.clone(),
        retention: config.retention,
        draining: stop.claiming.clone(),
    };
    let status = tokio::spawn(status.serve(status_tcp, stop_listening.clone()));
    if let Ok(address) = front.address() {
        tracing::info!(front = %address, status = %config.status.listen, "ready");
    }
    let front = tokio::spawn(front.serve(api, stop_listening.clone()));

    wait_for_signal().await?;
    tracing::info!(
        drain_ms = config.drain.as_millis(),
        "ending: running copies may go on for a while"
    );
    stop.claiming.cancel();
    let last_answers = tokio::time::sleep(LAST_ANSWERS.min(config.drain));
    if timeout(config.drain, &mut workers).await.is_err() {
        stop.copying.cancel();
        let _ = workers.await;
    }
    let (uploads_ended, ()) =
        tokio::join!(client.uploads_ended(UPLOADS_TIME), notifier.close(deliveries));
    if !uploads_ended {
        tracing::warn!(
            "a registry did not answer in time: it may keep an upload that was broken off"
        );
    }
    last_answers.await;
    stop_listening.cancel();
    let ending = async { tokio::join!(front, status, watching, prover, retention, pruner.ended()) };
    let _ = timeout(CLOSING_TIME, ending).await;
    if timeout(CLOSING_TIME, ledger.close()).await.is_err() {
        tracing::warn!(
            "the ledger did not answer in time: what was held is free when its lease ends"
        );
    }
    audit.close(writing).await;
    tracing::info!("ended");
    Ok(())
}

/// Waits until the process is asked to end.
pub(crate) async fn wait_for_signal() -> Result<(), ServeError> {
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
    /// The cluster cannot be asked for what the configuration wants of it.
    #[error("tenancy.secret_namespaces, inventory.watch_pods: {0}")]
    Kube(#[from] ConnectError),
    /// An address is in use, or not ours.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The system takes no signal handler.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}
