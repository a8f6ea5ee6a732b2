//! Recorded sessions: every exchange between a guest and its host, in the file form of kwctl.
//!
//! [`Replay`] answers from such a file, in order, each exchange once and only to the same request.
//! [`Recorder`] makes one. Neither knows how answers come about.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::answers::Failure;
use super::request::{HostRequest, RequestError};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct Exchange {
    request: String,
    response: Response,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Response {
    Success { payload: String },
    Error { message: String },
}

/// Why a session file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file cannot be read or written.
    #[error("cannot access the session file {path}: {error}")]
    Access {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not a list of exchanges.
    #[error("{path} is not a recorded session: {error}")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: serde_yaml::Error,
    },
    /// One exchange's request is not readable.
    #[error("{path}, exchange {number}: {error}")]
    Request {
        /// Which file.
        path: PathBuf,
        /// Which exchange, counted from 1.
        number: usize,
        /// What is wrong with it.
        error: RequestError,
    },
    /// An exchange could not be written down when it happened.
    #[error("the session cannot be saved, as an exchange has no text form: {0}")]
    Unrecordable(String),
}

/// A recorded session being answered from.
#[derive(Debug)]
pub struct Replay {
    left: Mutex<VecDeque<(HostRequest, Response)>>,
}

impl Replay {
    /// Reads the whole session, so that a wrong file is an error before the guest runs.
    pub fn read(path: &Path) -> Result<Self, SessionError> {
        let text = std::fs::read(path)
            .map_err(|error| SessionError::Access { path: path.to_owned(), error })?;
        let exchanges: Vec<Exchange> = serde_yaml::from_slice(&text)
            .map_err(|error| SessionError::Form { path: path.to_owned(), error })?;
        let mut left = VecDeque::with_capacity(exchanges.len());
        for (index, exchange) in exchanges.into_iter().enumerate() {
            let request = HostRequest::from_recorded(&exchange.request).map_err(|error| {
                SessionError::Request { path: path.to_owned(), number: index + 1, error }
            })?;
            left.push_back((request, exchange.response));
        }
        Ok(Self { left: Mutex::new(left) })
    }

    pub(super) fn answer(&self, request: &HostRequest) -> Result<Vec<u8>, Failure> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (expected, response) = left.pop_front().ok_or(Failure::Exhausted)?;
        if expected != *request {
            return Err(Failure::Unexpected {
                expected: expected.to_string(),
                got: request.to_string(),
            });
        }
        match response {
            Response::Success { payload } => Ok(payload.into_bytes()),
            Response::Error { message } => Err(Failure::Recorded(message)),
        }
    }

    /// Warns if the guest asked less than was recorded.
    pub fn finish(&self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if !left.is_empty() {
            let requests: Vec<String> =
                left.iter().map(|(request, _)| request.to_string()).collect();
            tracing::warn!(leftovers = ?requests, "recorded exchanges that the policy did not ask for");
        }
    }
}

/// A session being recorded.
#[derive(Debug, Default)]
pub struct Recorder {
    exchanges: Mutex<Vec<Result<Exchange, String>>>,
}

impl Recorder {
    /// Keeps one exchange. Of a failure the first line of causes is kept, as kwctl does.
    pub(super) fn keep(&self, request: &HostRequest, answer: &Result<Vec<u8>, Failure>) {
        let response = match answer {
            Ok(payload) => String::from_utf8(payload.clone())
                .map(|payload| Response::Success { payload })
                .map_err(|error| error.to_string()),
            Err(failure) => Ok(Response::Error { message: failure.to_string() }),
        };
        let request = request.to_recorded().map_err(|error| error.to_string());
        let exchange = request.and_then(|request| Ok(Exchange { request, response: response? }));
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// Writes the session to `path`.
    pub fn save(&self, path: &Path) -> Result<(), SessionError> {
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let exchanges: Vec<Exchange> = exchanges
            .iter()
            .cloned()
            .collect::<Result<_, _>>()
            .map_err(SessionError::Unrecordable)?;
        let text = serde_yaml::to_string(&exchanges)
            .map_err(|error| SessionError::Form { path: path.to_owned(), error })?;
        std::fs::write(path, text)
            .map_err(|error| SessionError::Access { path: path.to_owned(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::request::OciOperation;

    fn manifest(image: &str) -> HostRequest {
        HostRequest::Oci { operation: OciOperation::Manifest, image: image.to_owned() }
    }

    fn replay(text: &str) -> Result<Replay, SessionError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.yml");
        std::fs::write(&path, text).unwrap();
        Replay::read(&path)
    }

    /// As written by kwctl 1.36.
    const SESSION: &str = r#"- type: Exchange
  request: |
    !OciManifest
    image: r.test:5000/a:1
  response:
    type: Success
    payload: '{"schemaVersion":2,"manifests":[]}'
- type: Exchange
  request: |
    !OciManifest
    image: r.test:5000/b:1
  response:
    type: Error
    message: 'Fail to interact with OCI registry: no'
"#;

    #[test]
    fn a_session_answers_in_order_and_once() {
        let replay = replay(SESSION).unwrap();
        let first = replay.answer(&manifest("r.test:5000/a:1")).unwrap();
        assert_eq!(first, br#"{"schemaVersion":2,"manifests":[]}"#);
        let second = replay.answer(&manifest("r.test:5000/b:1")).unwrap_err();
        assert_eq!(second.to_string(), "Fail to interact with OCI registry: no");
        let third = replay.answer(&manifest("r.test:5000/a:1")).unwrap_err();
        assert_eq!(third.to_string(), "the list of recorded responses is empty");
    }

    #[test]
    fn another_request_than_recorded_is_an_error_that_names_both() {
        let error = replay(SESSION).unwrap().answer(&manifest("other")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Replay error: unexpected request. Was expecting OciManifest { image: \"r.test:5000/a:1\" }, \
             got OciManifest { image: \"other\" } instead"
        );
    }

    #[test]
    fn what_is_recorded_has_the_form_that_is_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.yml");
        let recorder = Recorder::default();
        let payload = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
        recorder.keep(&manifest("r.test:5000/a:1"), &Ok(payload));
        let failure = Failure::Recorded("Fail to interact with OCI registry: no".to_owned());
        recorder.keep(&manifest("r.test:5000/b:1"), &Err(failure));
        recorder.save(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), SESSION);
        assert_eq!(Replay::read(&path).unwrap().left.lock().unwrap().len(), 2);
    }

    #[test]
    fn an_unreadable_exchange_is_named() {
        let error = replay(&SESSION.replace("!OciManifest", "OciManifest:")).unwrap_err();
        assert!(error.to_string().contains("exchange 1"), "{error}");
        assert!(
            replay("nothing: here").unwrap_err().to_string().contains("is not a recorded session")
        );
    }
}
