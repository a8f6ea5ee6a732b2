//! What the process ends with, for all commands.

use std::fmt;

use copy::CopyError;
use registry::Retry;

use crate::config::error::ConfigError;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed, and trying again may help.
    Failed = 1,
    /// The configuration or the arguments are wrong (clap's own code for wrong arguments).
    Usage = 2,
    /// A rule, a registry or the replicator refused, or there is no such image: trying again does
    /// not help.
    Refused = 3,
    /// The replica is damaged.
    Damaged = 4,
}

impl Exit {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Done, Self::Failed, Self::Usage, Self::Refused, Self::Damaged];

    /// The one that counts of what became of several things: what will not pass before what may.
    pub(crate) fn of_all(exits: impl IntoIterator<Item = Self>) -> Self {
        let rank = |exit: &Self| match exit {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage | Self::Refused | Self::Damaged => 2,
        };
        exits.into_iter().max_by_key(rank).unwrap_or(Self::Done)
    }

    /// For people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "it failed, and trying again may help",
            Self::Usage => "the arguments or the configuration are wrong",
            Self::Refused => {
                "a rule, a registry or the replicator refuses, or there is no such image"
            }
            Self::Damaged => "the replica is damaged",
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process ends with.
    pub(crate) exit: Exit,
    /// What is told on standard error.
    pub(crate) message: String,
}

impl Failure {
    /// One that ends with `exit`, and says why.
    pub(crate) fn new(exit: Exit, why: impl fmt::Display) -> Self {
        Self { exit, message: why.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        let exit = match error.retry() {
            Retry::Never => Exit::Refused,
            Retry::Later { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}
