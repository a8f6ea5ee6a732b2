//! Creates repositories at the target by a program of the operator's choice, for registries
//! that want a repository created before anything is pushed into it (Amazon ECR).
//!
//! No shell is involved, and a repository's name is a parsed one: nothing in it is more than a
//! name to the program.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use copy::Repositories;
use futures::FutureExt;
use futures::future::BoxFuture;
use protocol::{Registry, Repository};
use registry::presentable;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What stands for the repository's name in an argument.
const PLACEHOLDER: &str = "{repository}";

/// How long the program may take. A cloud's command line needs some seconds to start.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How much of the program's output is kept; the rest is read and dropped, so that a program
/// that says much can end.
const MAX_OUTPUT_BYTES: usize = 16 * 1024;

/// The program, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Wire")]
pub(crate) struct CreateRepository {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    command: Vec<String>,
}

impl TryFrom<Wire> for CreateRepository {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let mut words = wire.command.into_iter();
        let program = words.next().filter(|program| !program.is_empty());
        let program = program.ok_or("create_repository.command: there is no program in it")?;
        let arguments: Vec<_> = words.collect();
        if !arguments.iter().any(|argument| argument.contains(PLACEHOLDER)) {
            return Err(format!("create_repository.command: no argument has {PLACEHOLDER} in it"));
        }
        Ok(Self { program, arguments, timeout: TIMEOUT })
    }
}

impl Repositories for CreateRepository {
    fn create<'a>(
        &'a self,
        _: &'a Registry,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.run(repository).boxed()
    }
}

impl CreateRepository {
    /// The program, as the configuration names it.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    async fn run(&self, repository: &Repository) -> Result<(), String> {
        let Self { program, arguments, timeout } = self;
        let arguments =
            arguments.iter().map(|argument| argument.replace(PLACEHOLDER, repository.as_str()));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be run: {error}"))?;
        let (said, complained) = (child.stdout.take(), child.stderr.take());
        let ended = async { tokio::join!(child.wait(), beginning(said), beginning(complained)) };
        let (status, said, complained) = tokio::time::timeout(*timeout, ended)
            .await
            .map_err(|_| format!("{program} did not end within {} s", timeout.as_secs_f32()))?;
        match status.map_err(|error| format!("{program} cannot be waited for: {error}"))? {
            status if status.success() => Ok(()),
            status => Err(refusal(program, status, &[complained, said])),
        }
    }
}

/// The beginning of an output, of which all is read.
async fn beginning(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut output) = output else { return kept };
    let mut first = (&mut output).take(MAX_OUTPUT_BYTES as u64);
    // What cannot be read any more has ended.
    let _ = first.read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    kept
}

/// `aws ended with exit status: 254: An error occurred …`, on one line.
fn refusal(program: &str, status: ExitStatus, outputs: &[Vec<u8>]) -> String {
    let mut excerpts = outputs.iter().map(|output| presentable(&String::from_utf8_lossy(output)));
    let excerpt = excerpts.find(|excerpt| !excerpt.is_empty()).unwrap_or_default();
    let separator = if excerpt.is_empty() { "" } else { ": " };
    format!("{program} ended with {status}{separator}{excerpt}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn script(directory: &Path, text: &str) -> CreateRepository {
        let program = directory.join("create");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let command = vec![program.display().to_string(), "--name={repository}".to_owned()];
        CreateRepository::try_from(Wire { command }).unwrap()
    }

    async fn run(text: &str, change: impl FnOnce(&mut CreateRepository)) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let mut create = script(directory.path(), text);
        change(&mut create);
        let (registry, repository) = ("r.example".parse().unwrap(), "team/app".parse().unwrap());
        let created = create.create(&registry, &repository).await;
        created.map_err(|error| error.replace(&directory.path().display().to_string(), "DIR"))
    }

    fn as_is(_: &mut CreateRepository) {}

    #[tokio::test]
    async fn the_program_gets_the_name_as_an_argument() {
        assert_eq!(run(r#"[ "$1" = --name=team/app ] && [ $# = 1 ]"#, as_is).await, Ok(()));
    }

    #[tokio::test]
    async fn a_refusal_is_one_line_of_what_it_said() {
        let complaint = run(r#"echo out; printf 'no\n\033[31m right' >&2; exit 7"#, as_is).await;
        assert_eq!(complaint.unwrap_err(), "DIR/create ended with exit status: 7: no [31m right");
        let word = run("echo out; exit 7", as_is).await;
        assert_eq!(word.unwrap_err(), "DIR/create ended with exit status: 7: out");
        let nothing = run("exit 7", as_is).await;
        assert_eq!(nothing.unwrap_err(), "DIR/create ended with exit status: 7");
        let much = run("yes | head -c 1000000 >&2; exit 7", as_is).await.unwrap_err();
        assert!(much.ends_with('…') && much.chars().count() < 400, "{much}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_or_does_not_end() {
        let missing = run("", |create| create.program = "/nowhere/create".to_owned()).await;
        assert!(missing.unwrap_err().starts_with("/nowhere/create cannot be run: No such file"));
        let endless = run("exec sleep 600", |create| create.timeout = Duration::from_millis(50));
        assert_eq!(endless.await.unwrap_err(), "DIR/create did not end within 0.05 s");
    }

    #[test]
    fn a_command_has_a_program_and_the_name_in_it() {
        let parse = |command: &[&str]| {
            let command = command.iter().map(|&word| word.to_owned()).collect();
            CreateRepository::try_from(Wire { command })
        };
        assert!(parse(&["aws", "--repository-name", "{repository}"]).is_ok());
        for command in [&[][..], &["", "{repository}"], &["{repository}"], &["aws", "create"]] {
            assert!(parse(command).is_err(), "{command:?}");
        }
    }
}
