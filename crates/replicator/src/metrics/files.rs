//! What is counted of files that may change.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Timestamp;

/// Figures of files, which go by the key that names them.
#[derive(Default)]
pub(crate) struct FileMetrics {
    reloads: Family<ReloadLabels, Counter>,
    loaded_at: Family<FileLabels, Gauge>,
    unusable: Family<FileLabels, Gauge>,
    certificate_ends: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    file: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FileLabels {
    file: String,
}

impl FileMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "file_reloads",
            "Changed files that were read, by the key that names them and whether they are used",
            self.reloads.clone(),
        );
        registry.register(
            "file_loaded_timestamp_seconds",
            "When what is in force of a file was read",
            self.loaded_at.clone(),
        );
        registry.register(
            "file_unusable",
            "1 while what is in a file cannot be used, and what it said before is in force",
            self.unusable.clone(),
        );
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "When the front's certificate ends, or one that it comes with",
            self.certificate_ends.clone(),
        );
    }

    /// A changed file was read, and is in force from now on.
    pub(crate) fn used(&self, file: &str, now: Timestamp) {
        self.count(file, "used");
        self.loaded(file, now);
    }

    /// A changed file was read and cannot be used: the old one is in force.
    pub(crate) fn refused(&self, file: &str) {
        self.count(file, "refused");
        self.is_unusable(file, true);
    }

    /// A file was read that is what is in force already.
    pub(crate) fn restored(&self, file: &str) {
        self.is_unusable(file, false);
    }

    /// A file was read at the start.
    pub(crate) fn loaded(&self, file: &str, now: Timestamp) {
        let labels = FileLabels { file: file.to_owned() };
        self.loaded_at.get_or_create(&labels).set(now.as_ms() / 1000);
        self.is_unusable(file, false);
        // From the start on there is a zero that can rise.
        for result in ["used", "refused"] {
            let labels = ReloadLabels { file: file.to_owned(), result };
            drop(self.reloads.get_or_create(&labels));
        }
    }

    /// When the front's certificate ends.
    pub(crate) fn certificate_ends(&self, at: Timestamp) {
        self.certificate_ends.set(at.as_ms() / 1000);
    }

    fn is_unusable(&self, file: &str, is_unusable: bool) {
        let labels = FileLabels { file: file.to_owned() };
        self.unusable.get_or_create(&labels).set(is_unusable.into());
    }

    fn count(&self, file: &str, result: &'static str) {
        self.reloads.get_or_create(&ReloadLabels { file: file.to_owned(), result }).inc();
    }
}
