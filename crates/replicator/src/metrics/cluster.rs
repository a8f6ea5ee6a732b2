//! What is counted of the watches at the Kubernetes API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::Namespace;

/// Figures of what is watched.
#[derive(Default)]
pub(crate) struct ClusterMetrics {
    /// As many as the configuration lists.
    secrets_watched: Family<NamespaceLabels, Gauge>,
    secrets_unusable: Family<NamespaceLabels, Gauge>,
    pods_watched: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

impl ClusterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pull_secrets_watched",
            "Whether the pull secrets of a namespace are watched; else those that were read hold",
            self.secrets_watched.clone(),
        );
        registry.register(
            "pull_secrets_unusable",
            "Pull secrets of a namespace that are not used, since they are broken or too many",
            self.secrets_unusable.clone(),
        );
        registry.register(
            "pods_watched",
            "1 while the pods of the cluster are watched, by choice; else what is in use is as it was",
            self.pods_watched.clone(),
        );
    }

    /// Whether the pull secrets of `namespace` are watched.
    pub(crate) fn pull_secrets_are_watched(&self, namespace: &Namespace, is_watched: bool) {
        self.secrets_watched.get_or_create(&labels(namespace)).set(is_watched.into());
    }

    /// How many of them are not used.
    pub(crate) fn pull_secrets_unusable(&self, namespace: &Namespace, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.secrets_unusable.get_or_create(&labels(namespace)).set(count);
    }

    /// Whether the pods of the cluster are watched.
    pub(crate) fn pods_are_watched(&self, are_watched: bool) {
        self.pods_watched.set(are_watched.into());
    }
}

fn labels(namespace: &Namespace) -> NamespaceLabels {
    NamespaceLabels { namespace: namespace.to_string() }
}
