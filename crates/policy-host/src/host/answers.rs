//! Who answers host calls: the registries, the registries while recording, or a recorded session.
//!
//! Sits between the queue and the sources of answers. Knows no guest and no policy.

use super::oci::{OciFailure, Registries};
use super::replay::{Recorder, Replay};
use super::request::HostRequest;

/// The source of all answers of one process.
#[derive(Debug)]
pub enum Answers {
    /// Real registries.
    Live(Registries),
    /// Real registries, and every exchange is kept.
    Recorded(Registries, Recorder),
    /// A recorded session; nothing leaves the process.
    Replayed(Replay),
}

impl Answers {
    pub(super) async fn answer(&self, request: &HostRequest) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Live(registries) => from_registries(registries, request).await,
            Self::Recorded(registries, recorder) => {
                let answer = from_registries(registries, request).await;
                recorder.keep(request, &answer);
                answer
            }
            Self::Replayed(replay) => replay.answer(request),
        }
    }
}

async fn from_registries(
    registries: &Registries,
    request: &HostRequest,
) -> Result<Vec<u8>, Failure> {
    match request {
        HostRequest::Oci { operation, image } => Ok(registries.read(*operation, image).await?),
        HostRequest::Unoffered { name, .. } => Err(Failure::Unoffered(name.clone())),
    }
}

/// Why a call that was understood could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A registry, or the way to it.
    #[error(transparent)]
    Oci(#[from] OciFailure),
    /// A call only the real host can answer.
    #[error(
        "policy-host does not offer the host call {0}; record it with kwctl and replay the session"
    )]
    Unoffered(String),
    /// The failure that a recorded session holds.
    #[error("{0}")]
    Recorded(String),
    /// The guest asked something else than the recorded session holds next.
    #[error("Replay error: unexpected request. Was expecting {expected}, got {got} instead")]
    Unexpected {
        /// The recorded call.
        expected: String,
        /// The guest's.
        got: String,
    },
    /// The guest asked more than was recorded.
    #[error("the list of recorded responses is empty")]
    Exhausted,
}

impl Failure {
    /// The failure with its causes, laid out as the real host writes it: it prints an `anyhow`
    /// error by `{:?}`, stack trace included where `RUST_BACKTRACE` asks for one.
    pub fn layout(self) -> String {
        format!("{:?}", anyhow::Error::new(self))
    }
}
