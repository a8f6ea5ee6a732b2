//! How it goes with following objects: told when it changes, by the log once, and by `/readyz` for
//! as long as it lasts.

use std::fmt::Display;

use crate::clock::Clock;
use crate::watch::Troubles;

/// What people were told of objects that are followed.
pub(super) struct Told {
    /// By which the trouble goes at `/readyz`.
    key: String,
    /// Which objects, for people.
    what: String,
    troubles: Troubles,
    clock: Clock,
    failure: Option<String>,
}

impl Told {
    /// Of `what`, which the configuration's `key` asks to follow.
    pub(super) fn new(key: String, what: String, troubles: Troubles, clock: Clock) -> Self {
        Self { key, what, troubles, clock, failure: None }
    }

    /// All were listed, and are followed.
    pub(super) fn works(&mut self) {
        self.troubles.clear(&self.key);
        let what = &self.what;
        match self.failure.take() {
            Some(_) => tracing::info!("{what} are watched again"),
            None => tracing::debug!("{what} were listed"),
        }
    }

    /// They are not followed at present; `holds` is what that means for now.
    pub(super) fn fails(&mut self, error: &dyn Display, holds: &'static str) {
        let reason = format!("{} are not watched: {error}", self.what);
        if self.failure.as_ref() == Some(&reason) {
            return;
        }
        tracing::error!("{reason}; {holds}");
        self.troubles.set(&self.key, self.clock.now(), &reason, holds);
        self.failure = Some(reason);
    }
}
