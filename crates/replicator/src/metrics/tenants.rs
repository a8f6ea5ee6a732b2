//! What is counted of namespaces whose pull secrets are watched.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use protocol::Namespace;

/// Figures of namespaces: as many as the configuration lists.
#[derive(Default)]
pub(crate) struct TenantMetrics {
    watched: Family<NamespaceLabels, Gauge>,
    unusable: Family<NamespaceLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NamespaceLabels {
    namespace: String,
}

impl TenantMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pull_secrets_watched",
            "Whether the pull secrets of a namespace are watched; else those that were read hold",
            self.watched.clone(),
        );
        registry.register(
            "pull_secrets_unusable",
            "Pull secrets of a namespace that are not used, since they are broken or too many",
            self.unusable.clone(),
        );
    }

    /// Whether the pull secrets of `namespace` are watched.
    pub(crate) fn is_watched(&self, namespace: &Namespace, is_watched: bool) {
        self.watched.get_or_create(&labels(namespace)).set(is_watched.into());
    }

    /// How many of them are not used.
    pub(crate) fn unusable(&self, namespace: &Namespace, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unusable.get_or_create(&labels(namespace)).set(count);
    }
}

fn labels(namespace: &Namespace) -> NamespaceLabels {
    NamespaceLabels { namespace: namespace.to_string() }
}
