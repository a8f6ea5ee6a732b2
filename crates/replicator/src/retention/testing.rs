//! What tests of retention, and of what shows it, share.

use std::sync::Arc;

use copy::{Copier, Limits};
use registry::{Client, ClientConfig};
use tokio_util::sync::CancellationToken;

use super::Pruner;
use crate::audit::testing::Recorded;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// A pruner of what a ledger has, below `registry.corp/mirror`, which answers nobody.
pub(crate) fn pruner(ledger: &Ledger) -> Pruner {
    pruner_at(ledger, "registry.corp/mirror", Client::new(ClientConfig::default()).unwrap())
}

/// A pruner of what a ledger has, below this target.
pub(crate) fn pruner_at(ledger: &Ledger, target: &str, client: Client) -> Pruner {
    Pruner {
        ledger: ledger.clone(),
        target: Arc::new(target.parse().unwrap()),
        remover: Copier::new(client, Limits::default()).remover(),
        metrics: Metrics::default(),
        audit: Recorded::new().audit,
        stop: CancellationToken::new(),
        report: Arc::default(),
        looking: Arc::default(),
    }
}
