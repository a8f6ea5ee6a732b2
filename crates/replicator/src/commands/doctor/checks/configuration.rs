//! The configuration itself: whether it and the files that it names can be used.

use std::path::Path;

use super::{Finding, Patient};
use crate::config::error::ConfigError;

/// It cannot be used.
pub(in super::super) fn unusable(path: &Path, error: &ConfigError) -> Finding {
    let next = match error {
        ConfigError::Unreadable { .. } => "mount the file, and let the replicator's user read it",
        ConfigError::Unusable { .. } => "mend what the file holds",
        _ => "mend the key that is named",
    };
    Finding::fail("configuration", path.display(), error, next)
}

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let found = format!(
        "it can be used; replicas go to {}, and a rule decides about each source",
        patient.config.target
    );
    vec![Finding::ok("configuration", patient.path.display(), found)]
}
