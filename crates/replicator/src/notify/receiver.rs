//! Who is told, as the configuration has it.

use std::net::IpAddr;
use std::path::PathBuf;

use registry::{LookUpError, Poster};
use serde::Deserialize;

use super::address::{Address, AddressError};
use super::event::Kind;
pub(crate) use super::signature::Secrets;
use crate::label::Label;
use crate::watch::Held;

/// Receivers at most: each has a queue of its own, of some MiB.
pub(crate) const MAX_RECEIVERS: usize = 16;

/// Who is told.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// What it goes by in logs and metrics.
    pub(crate) name: Label,
    /// Where it is.
    pub(crate) address: Address,
    /// What it is told of.
    pub(crate) events: Vec<Kind>,
    /// What notifications are signed with; None where they are not.
    pub(crate) secrets: Option<Held<Secrets>>,
    /// Sends to it, by the certificates that it is known by now.
    pub(crate) poster: Held<Poster>,
}

impl Receiver {
    /// The addresses of its host, or why it is not asked there.
    pub(crate) async fn look_up(&self) -> Result<Vec<IpAddr>, LookUpError> {
        self.poster.current().look_up(self.address.url()).await
    }
}

/// The same in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiverFile {
    /// The name.
    pub(crate) name: Label,
    url: String,
    #[serde(default)]
    plain_http: bool,
    #[serde(default = "all_events")]
    events: Vec<Kind>,
    /// The file of its secrets.
    pub(crate) secret: Option<PathBuf>,
    /// The file of authorities that it is known by.
    pub(crate) ca: Option<PathBuf>,
}

fn all_events() -> Vec<Kind> {
    Kind::ALL.into()
}

impl ReceiverFile {
    /// The receiver, with what its files hold.
    pub(crate) fn read(
        self,
        secrets: Option<Held<Secrets>>,
        poster: Held<Poster>,
    ) -> Result<Receiver, ReceiversError> {
        let Self { name, url, plain_http, events, .. } = self;
        if events.is_empty() {
            return Err(ReceiversError::NoEvents(name));
        }
        match Address::parse(&url, plain_http) {
            Ok(address) => Ok(Receiver { name, address, events, secrets, poster }),
            Err(error) => Err(ReceiversError::Url { name, error }),
        }
    }
}

/// Why receivers cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReceiversError {
    /// More than are told.
    #[error("there are {0}, at most {MAX_RECEIVERS} are told")]
    TooMany(usize),
    /// Two of one name.
    #[error("there are two by the name of '{0}'; a name tells them apart")]
    Twice(Label),
    /// One that wants nothing.
    #[error("'{0}': events is an empty list: it would be told nothing")]
    NoEvents(Label),
    /// One whose URL cannot be used.
    #[error("'{name}': url: {error}")]
    Url {
        /// Which.
        name: Label,
        /// Why.
        error: AddressError,
    },
    /// There is no HTTP client for it.
    #[error("the HTTP client cannot be built: {0}")]
    Http(String),
}
