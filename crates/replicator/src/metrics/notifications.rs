//! What is counted of notifications.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::label::Label;

/// Figures of receivers, which go by the name that the configuration gives them.
#[derive(Default)]
pub(crate) struct NotificationMetrics(Family<Labels, Counter>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    receiver: String,
    result: &'static str,
}

impl NotificationMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Notifications, by receiver and what became of them";
        registry.register("notifications", help, self.0.clone());
    }

    /// There is such a receiver: from the start on there is a zero that can rise.
    pub(crate) fn begin(&self, receiver: &Label) {
        for result in ["delivered", "failed", "dropped"] {
            self.count(receiver, result, 0);
        }
    }

    /// A receiver has one.
    pub(crate) fn delivered(&self, receiver: &Label) {
        self.count(receiver, "delivered", 1);
    }

    /// One was given up: the receiver would not have it, or not in time.
    pub(crate) fn failed(&self, receiver: &Label) {
        self.count(receiver, "failed", 1);
    }

    /// So many were never sent: too many waited, or the replicator ended.
    pub(crate) fn dropped(&self, receiver: &Label, lost: u64) {
        self.count(receiver, "dropped", lost);
    }

    fn count(&self, receiver: &Label, result: &'static str, more: u64) {
        let labels = Labels { receiver: receiver.to_string(), result };
        self.0.get_or_create(&labels).inc_by(more);
    }
}
