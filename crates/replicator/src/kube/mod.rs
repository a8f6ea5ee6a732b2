//! The Kubernetes API: the one module that talks to an API server. It only reads, and nothing
//! that is asked for waits for it.
//!
//! [`follow`] lists and watches objects of any kind. [`secrets`] finds out the pull secrets of
//! namespaces, for [`crate::tenants`]; [`pods`] what runs in the cluster, for the ledger.
//! [`access`] tries for the doctor whether that would be let.

mod access;
mod follow;
mod pod;
mod pods;
mod pull_secret;
mod secrets;
mod told;

use std::time::Duration;

use ::kube::config::{KubeConfigOptions, KubeconfigError};
use ::kube::{Client, Config, Error};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::watch::Troubles;
use follow::READ_TIMEOUT;

pub(crate) use access::{Access, AccessError};

/// Set for trials outside of a cluster: a kubeconfig is then used, and no service account.
const KUBECONFIG: &str = "KUBECONFIG";

/// How long a connection may take to begin: an API server is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The cluster, and where it is told how it goes with watching it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    metrics: Metrics,
    troubles: Troubles,
    clock: Clock,
}

impl Cluster {
    /// As a replicator connects. Asks nobody yet.
    pub(crate) async fn connect(
        metrics: Metrics,
        troubles: Troubles,
    ) -> Result<Self, ConnectError> {
        Ok(Self::new(configuration().await?, metrics, troubles, Clock::system())?)
    }

    fn new(
        config: Config,
        metrics: Metrics,
        troubles: Troubles,
        clock: Clock,
    ) -> Result<Self, Error> {
        Ok(Self { client: client(config)?, metrics, troubles, clock })
    }
}

/// Of the cluster that we are in, as the pod's service account, whose token and CA are read anew
/// when they change; or of the one that `KUBECONFIG` names.
async fn configuration() -> Result<Config, ConnectError> {
    match std::env::var_os(KUBECONFIG) {
        Some(_) => Ok(Config::from_kubeconfig(&KubeConfigOptions::default()).await?),
        None => {
            Config::incluster().map_err(|error| ConnectError::ServiceAccount(error.to_string()))
        }
    }
}

fn client(mut config: Config) -> Result<Client, Error> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    // Whoever asks tries again, with pauses of its own, and tells about it.
    config.default_retry = false;
    Client::try_from(config)
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// We are in no pod, or in one without a service account.
    #[error(
        "this process has no service account of a cluster ({0}): let the pod mount its token \
         (`automountServiceAccountToken: true`), or, outside of a cluster, set KUBECONFIG"
    )]
    ServiceAccount(String),
    /// The file that `KUBECONFIG` names cannot be used.
    #[error("KUBECONFIG: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// What was found does not make a client.
    #[error("no client can be made of the cluster's configuration: {0}")]
    Client(#[from] Error),
}
