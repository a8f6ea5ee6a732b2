//! One run of a credential helper: `docker-credential-<name> get`, with the registry's name on
//! its standard input and a JSON object on its standard output (docker-credential-helpers).
//!
//! No secret goes to it, and what comes from it is shown nowhere: of a failed run only words
//! that are no JSON with a secret in it.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use protocol::Registry;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Credential;
use crate::error::presentable;
use crate::limits::{HELPER_PAUSE, MAX_HELPER_NAME_LENGTH, MAX_HELPER_OUTPUT_BYTES};

/// What Docker Hub is called where helpers are asked about it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// By these words a failed helper says that it simply knows nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper's name, which is part of a program's name and of nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HelperName(String);

impl HelperName {
    /// Letters, digits, `.`, `_` and `-`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let legal =
            (1..=MAX_HELPER_NAME_LENGTH).contains(&name.len()) && name.chars().all(is_legal);
        legal.then(|| Self(name.to_owned()))
    }

    /// The program, in the first folder of `path` that has it; folders that are not absolute
    /// are passed over, since what they are depends on where we stand.
    pub(super) fn locate(&self, path: &OsStr) -> Option<PathBuf> {
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(self.to_string()))
            .find(|program| program.is_file())
    }
}

/// The program's name.
impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

/// A helper gave no usable answer. Holds nothing of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential helper {program}, asked about {registry}, {problem}")]
pub struct HelperError {
    /// The program.
    pub program: String,
    /// The registry whose credential it was asked for.
    pub registry: Registry,
    /// What went wrong.
    pub problem: HelperProblem,
}

/// What went wrong with a helper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperProblem {
    /// No such program.
    #[error("is not on PATH: install it, or take it out of the docker config")]
    Missing,
    /// The system does not start it.
    #[error("cannot be started: {0}")]
    Start(String),
    /// It ended with an error; its own words, on one line and capped.
    #[error("failed: {0}")]
    Failed(String),
    /// It took too long, and was killed.
    #[error("gave no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It wrote too much, and was killed.
    #[error("wrote more than {MAX_HELPER_OUTPUT_BYTES} bytes")]
    TooLong,
    /// What it wrote is not what helpers write. The position says where; the text is secret.
    #[error("wrote no JSON with Username and Secret: line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

impl HelperError {
    /// When asking again can help; None where somebody has to change something first.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.problem {
            HelperProblem::Missing | HelperProblem::TooLong | HelperProblem::Malformed { .. } => {
                None
            }
            HelperProblem::Start(_) | HelperProblem::Failed(_) | HelperProblem::TimedOut(_) => {
                Some(HELPER_PAUSE)
            }
        }
    }
}

/// What a helper writes. There is no `Debug`: it is a secret.
#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Runs a helper once; None where it knows no credential. It is killed when it takes longer
/// than `patience`, and when the future is dropped.
pub(super) async fn run(
    helper: &HelperName,
    registry: &Registry,
    path: &OsStr,
    patience: Duration,
) -> Result<Option<Credential>, HelperError> {
    let failed =
        |problem| HelperError { program: helper.to_string(), registry: registry.clone(), problem };
    let program = helper.locate(path).ok_or_else(|| failed(HelperProblem::Missing))?;
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(HelperProblem::Start(error.to_string())))?;
    let key = if registry.is_docker_hub() { DOCKER_HUB_KEY } else { registry.as_str() };
    match timeout(patience, converse(&mut child, key)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(HelperProblem::TimedOut(patience))),
    }
}

async fn converse(child: &mut Child, key: &str) -> Result<Option<Credential>, HelperProblem> {
    let stdin = child.stdin.take();
    let ask = async {
        // One that ends without reading its input says by its answer why.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(key.as_bytes()).await;
        }
        Ok(())
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), written, complaint) = tokio::try_join!(ask, read(stdout), read(stderr))?;
    let ended = child.wait().await.map_err(|error| HelperProblem::Failed(error.to_string()))?;
    if ended.success() {
        return read_reply(&written);
    }
    let written = String::from_utf8_lossy(&written);
    if written.trim() == NOT_FOUND {
        return Ok(None);
    }
    let complaint = String::from_utf8_lossy(&complaint);
    Err(HelperProblem::Failed(format!("{ended}, {}", words(&written, &complaint))))
}

/// All that is written to a pipe.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, HelperProblem> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let mut capped = pipe.take(MAX_HELPER_OUTPUT_BYTES + 1);
        let count = capped.read_to_end(&mut bytes).await;
        let count = count.map_err(|error| HelperProblem::Failed(error.to_string()))?;
        if count as u64 > MAX_HELPER_OUTPUT_BYTES {
            return Err(HelperProblem::TooLong);
        }
    }
    Ok(bytes)
}

fn read_reply(written: &[u8]) -> Result<Option<Credential>, HelperProblem> {
    let reply: Reply = serde_json::from_slice(written)
        .map_err(|error| HelperProblem::Malformed { line: error.line(), column: error.column() })?;
    let is_nobody = reply.user.is_empty() && reply.secret.is_empty();
    Ok((!is_nobody).then(|| Credential::new(reply.user, reply.secret.into())))
}

/// What a failed helper says: helpers write it to either stream, docker reads it from the first.
fn words(written: &str, complaint: &str) -> String {
    let said = if written.trim().is_empty() { complaint } else { written };
    if said.to_ascii_lowercase().contains("\"secret\"") {
        return "with words that are not shown, since a secret is among them".to_owned();
    }
    match presentable(said) {
        said if said.is_empty() => "without a word".to_owned(),
        said => format!("it says: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_part_of_a_programs_name_and_nothing_else() {
        for name in ["ecr-login", "gcloud", "acr-env", "osxkeychain", "a.b_c"] {
            let program = HelperName::parse(name).map(|name| name.to_string());
            assert_eq!(program, Some(format!("docker-credential-{name}")));
        }
        for name in ["", "a/b", "../sh", "a b", "a\0", "é", &"x".repeat(MAX_HELPER_NAME_LENGTH + 1)]
        {
            assert_eq!(HelperName::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_reply_is_a_password_an_identity_token_or_nobody() {
        let user = |reply: &str| {
            let found = read_reply(reply.as_bytes()).ok()?;
            Some(found.map(|credential| credential.user().to_owned()))
        };
        assert_eq!(
            user(r#"{"ServerURL":"r","Username":"AWS","Secret":"s"}"#),
            Some(Some("AWS".into()))
        );
        assert_eq!(user(r#"{"Username":"<token>","Secret":"s"}"#), Some(Some("<token>".into())));
        assert_eq!(user(r#"{"Username":"","Secret":""}"#), Some(None));
        assert_eq!(user(r#"{"Username":"u"}"#), None);
    }

    /// Case 24.
    #[test]
    fn no_words_show_a_secret() {
        let malformed = read_reply(br#"{"Username":"u","Secret":["hunter2"]}"#).err().unwrap();
        assert!(!format!("{malformed} {malformed:?}").contains("hunter2"));
        let shown = words(r#"{"Username":"u","Secret":"hunter2"}"#, "");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(words(" no such\r\nprofile ", "x"), "it says: no such profile");
        assert_eq!(words("\n", "denied"), "it says: denied");
        assert_eq!(words("", ""), "without a word");
    }
}
