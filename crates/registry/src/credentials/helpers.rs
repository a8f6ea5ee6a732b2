//! What helpers said, for all registries: each is asked once however many wait, and its answer
//! is kept for a while. A registry's refusal ends that: the secret may have been changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::Registry;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::helper::{self, HelperError, HelperName};
use super::{Credential, Fingerprint};
use crate::cache::Cache;
use crate::limits::{HELPER_KEEP, HELPER_TIMEOUT, MAX_HELPER_RUNS, MAX_REGISTRIES};

/// How helpers are run.
#[derive(Clone, Debug)]
pub struct HelperRules {
    /// The folders where they are looked for, as in PATH; None for the process's own PATH.
    pub path: Option<OsString>,
    /// How long one may take to answer.
    pub timeout: Duration,
    /// How long its answer is kept.
    pub keep: Duration,
}

impl Default for HelperRules {
    fn default() -> Self {
        Self { path: None, timeout: HELPER_TIMEOUT, keep: HELPER_KEEP }
    }
}

/// Runs helpers and keeps what they say.
pub(super) struct Helpers {
    rules: HelperRules,
    answers: Cache<Registry, Option<Credential>, HelperError>,
    /// What each registry refused last. A helper that says the same again is believed: else
    /// each request that is refused would run it.
    refused: Mutex<HashMap<Registry, Fingerprint>>,
    runs: Semaphore,
}

impl Helpers {
    pub(super) fn new(rules: HelperRules) -> Self {
        let answers = Cache::new(MAX_REGISTRIES);
        Self { rules, answers, refused: Mutex::default(), runs: Semaphore::new(MAX_HELPER_RUNS) }
    }

    /// The helper's credential for a registry; None where it knows none.
    pub(super) async fn answer(
        &self,
        helper: &HelperName,
        registry: &Registry,
    ) -> Result<Option<Credential>, HelperError> {
        let ask = async {
            let _run = self.runs.acquire().await.expect("nobody closes the semaphore");
            let path = self.rules.path.clone().or_else(|| std::env::var_os("PATH"));
            let path = path.unwrap_or_default();
            let answer = helper::run(helper, registry, &path, self.rules.timeout).await?;
            Ok((answer, Instant::now() + self.rules.keep))
        };
        Ok(self.answers.get(registry.clone(), ask).await?.value)
    }

    /// A registry refused this credential: the helper is asked again, once.
    pub(super) fn refused(&self, registry: &Registry, credential: &Credential) {
        let print = credential.fingerprint();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_REGISTRIES {
            refused.clear();
        }
        if refused.insert(registry.clone(), print) != Some(print) {
            let is_meant = |kept: &Option<Credential>| {
                kept.as_ref().is_some_and(|kept| kept.fingerprint() == print)
            };
            self.answers.forget(registry, is_meant);
        }
    }
}

impl Default for Helpers {
    fn default() -> Self {
        Self::new(HelperRules::default())
    }
}

/// Without the answers: they are secret.
impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helpers").field("rules", &self.rules).finish_non_exhaustive()
    }
}
