//! The Kubernetes API server, where the configuration asks for something of it: whether it lets us
//! read that.

use futures::FutureExt;
use protocol::Namespace;

use super::{Check, Finding, Patient};
use crate::kube::{Access, AccessError};

const CHECK: &str = "cluster";

/// What the configuration asks to follow.
enum Followed<'a> {
    PullSecrets(&'a Namespace),
    Pods,
}

pub(super) fn checks(patient: &Patient) -> impl Iterator<Item = Check<'_>> {
    let secrets = patient.config.feeds.keys().map(Followed::PullSecrets);
    let followed = secrets.chain(patient.config.watch_pods.then_some(Followed::Pods));
    followed.map(|followed| {
        let subject = followed.subject();
        Check { name: CHECK, subject, look: followed.look().boxed_local() }
    })
}

impl Followed<'_> {
    fn subject(&self) -> String {
        match self {
            Self::PullSecrets(namespace) => format!("tenancy.secret_namespaces.{namespace}"),
            Self::Pods => "inventory.watch_pods".to_owned(),
        }
    }

    async fn look(self) -> Vec<Finding> {
        let subject = self.subject();
        vec![match self.try_out().await {
            Ok(()) => Finding::ok(CHECK, subject, "they can be listed and watched"),
            Err(error @ AccessError::Unconnected(_)) => {
                Finding::fail(CHECK, subject, error, "ask the doctor in the replicator's pod")
            }
            Err(error @ AccessError::Refused(_)) => {
                Finding::fail(CHECK, subject, error, self.what_lets_us())
            }
            Err(error @ AccessError::Away(_)) => {
                Finding::away(CHECK, subject, error, "look whether the API server can be reached")
            }
        }]
    }

    async fn try_out(&self) -> Result<(), AccessError> {
        let access = Access::connect().await?;
        match self {
            Self::PullSecrets(namespace) => access.to_pull_secrets(namespace).await,
            Self::Pods => access.to_pods().await,
        }
    }

    /// What is to be done where the API server does not.
    fn what_lets_us(&self) -> String {
        let (what, value) = match self {
            Self::PullSecrets(namespace) => {
                (format!("the Secrets of namespace {namespace}"), "tenancy.secretNamespaces")
            }
            Self::Pods => ("the Pods of all namespaces".to_owned(), "inventory.watchPods"),
        };
        format!("let its service account list and watch {what}, as the chart's `{value}` does")
    }
}
