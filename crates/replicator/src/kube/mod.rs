//! The Kubernetes API: the one module that talks to an API server. It only reads, and nothing
//! that is asked for waits for it.
//!
//! [`follow`] lists and watches objects of any kind; [`secrets`] makes pull secrets of namespaces
//! out of them. What they find goes to [`crate::tenants`].

mod follow;
mod pull_secret;
pub(crate) mod secrets;

use ::kube::config::{KubeConfigOptions, KubeconfigError};
use ::kube::{Client, Config, Error};

use follow::READ_TIMEOUT;

/// Set for trials outside of a cluster: a kubeconfig is then used, and no service account.
const KUBECONFIG: &str = "KUBECONFIG";

/// A client of the cluster's API server: as the pod's service account, whose token and CA are read
/// anew when they change; or as `KUBECONFIG` says. Asks nobody yet.
pub(crate) async fn connect() -> Result<Client, ConnectError> {
    let config = match std::env::var_os(KUBECONFIG) {
        Some(_) => Config::from_kubeconfig(&KubeConfigOptions::default()).await?,
        None => {
            Config::incluster().map_err(|error| ConnectError::ServiceAccount(error.to_string()))?
        }
    };
    Ok(client(config)?)
}

fn client(mut config: Config) -> Result<Client, Error> {
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
