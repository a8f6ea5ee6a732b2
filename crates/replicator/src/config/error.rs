//! Why the replicator cannot start with a configuration, or go on with a changed file of it.

use std::path::PathBuf;

use protocol::ReferenceError;

use crate::label::Label;
use crate::ledger::LedgerUrlError;
use crate::notify::receiver::ReceiversError;
use crate::rules::file::RulesError;
use crate::tenants::TenantsError;

/// What is wrong, and where. Says nothing of what stands in a file that may be secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A file is not there, or not ours to read.
    #[error("{key}: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key}: {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A value is not legal.
    #[error("{key}: {error}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        error: ReferenceError,
    },
    /// The ledger's URL is not legal. Says nothing of what stands in it, which may be a secret.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerUrlError),
    /// The rules cannot be used.
    #[error("rules: {0}")]
    Rules(#[from] RulesError),
    /// A namespace that can be none.
    #[error(
        "tenancy.secret_namespaces: '{name}' is no namespace; each is listed by its whole name, \
         and patterns are none"
    )]
    Namespace {
        /// What stands there.
        name: String,
    },
    /// The namespaces cannot be listed so.
    #[error("tenancy.secret_namespaces: {0}")]
    Tenants(#[from] TenantsError),
    /// Receivers of notifications cannot be told.
    #[error("notifications: {0}")]
    Notifications(#[from] ReceiversError),
    /// The target's credentials are not there.
    #[error("target.credentials: there are none by the name of '{name}' under `credentials`")]
    TargetCredentials {
        /// The name.
        name: Label,
    },
    /// One registry under two names.
    #[error("registries: '{registry}' stands there under another spelling, too; keep one")]
    Twice {
        /// The second name.
        registry: String,
    },
    /// A time after which images count as unused that is too short to be safe, or too long.
    #[error("retention.unused_for: a time from 1h to 365d")]
    UnusedFor,
    /// Nobody could ask.
    #[error("front: it says not who may ask: name a file in `callers`, in `client_ca`, or in both")]
    NoCallers,
}
