//! The replicator: answers triggers, remembers what it did, copies images. This file only wires.
//!
//! Trigger -> [`front`] -> [`ledger`] -> [`workers`] -> copy engine -> [`ledger`] -> receipt.
//! Two flows that meet in the ledger alone: the front never copies, a copy never answers.

mod audit;
mod board;
mod cli;
mod clock;
mod config;
mod copy_command;
mod create_repository;
mod credentials;
mod explain_command;
mod freshness;
mod front;
mod kube;
mod label;
mod ledger;
mod metrics;
mod namespaces;
mod origins;
mod proofs;
mod rights;
mod rules;
mod serve;
mod status;
mod tenants;
mod verify_command;
mod watch;
mod workers;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use copy::{Copier, CopyError};
use protocol::{ImageReference, Namespace};
use registry::Retry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use cli::{Cli, Command, Exit};
use config::{ByHand, Config};
use copy_command::Denied;
use credentials::{NamedCredentials, or_nobody};
use watch::Watcher;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match begin_logging(&cli) {
        Ok(()) => run(cli.command),
        Err(error) => fail(Exit::Usage, &format!("--log: {error}")),
    };
    ExitCode::from(exit as u8)
}

fn run(command: Command) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Failed, &format!("the system gives no threads: {error}")),
    };
    match command {
        Command::Serve { config } => match Config::load(&config) {
            Ok(config) => match runtime.block_on(serve::serve(config)) {
                Ok(()) => Exit::Done,
                Err(error) => fail(Exit::Failed, &error.to_string()),
            },
            Err(error) => fail(Exit::Usage, &error.to_string()),
        },
        Command::Copy { source, target, config, namespace, credentials, scope, repair } => {
            let by = |by_hand: &ByHand| {
                copy_command::reads_as(by_hand, &namespace, &source, credentials)
            };
            match copier(config.as_deref(), &[&source, &target], by) {
                Ok(copier) => {
                    let copier = copier.with_scope(scope.into());
                    runtime.block_on(copy_one(&copier, source, target, repair))
                }
                Err(exit) => exit,
            }
        }
        Command::Verify { target, quick, config } => {
            match copier(config.as_deref(), &[&target], |_| Ok(None)) {
                Ok(copier) => runtime.block_on(verify_one(&copier, target, quick)),
                Err(exit) => exit,
            }
        }
        Command::Explain { config, namespace, image } => explain_one(&config, &namespace, &image),
    }
}

/// What the commands of a person ask registries with; `reads_as` says who reads sources. Where a
/// person says to go, we may go.
fn copier(
    config: Option<&Path>,
    images: &[&ImageReference],
    reads_as: impl FnOnce(&ByHand) -> Result<Option<Arc<NamedCredentials>>, Denied>,
) -> Result<Copier, Exit> {
    let by_hand = config.map(ByHand::load).transpose();
    let by_hand = by_hand.map_err(|error| fail(Exit::Usage, &error.to_string()))?;
    let mut by_hand = by_hand.unwrap_or_default();
    images.iter().for_each(|image| by_hand.registries.name(image.registry()));
    let reader = reads_as(&by_hand).map_err(|error| fail(error.exit(), &error.to_string()))?;
    let copier = by_hand.registries.copier(&mut Watcher::default());
    let copier = copier.map_err(|error| fail(Exit::Failed, &error.to_string()))?;
    let reader = copier.client().with_credentials(or_nobody(reader));
    Ok(copier.reading_with(reader))
}

fn explain_one(config: &Path, namespace: &Namespace, image: &ImageReference) -> Exit {
    let ByHand { rules, target, .. } = match ByHand::load(config) {
        Ok(by_hand) => by_hand,
        Err(error) => return fail(Exit::Usage, &error.to_string()),
    };
    let Some(target) = target else {
        return fail(Exit::Usage, "--config: it has no `target`, so nothing can be said of it");
    };
    let explanation = explain_command::explain(&rules, &target, namespace, image);
    print!("{}", explanation.text);
    if explanation.is_allowed { Exit::Done } else { Exit::Refused }
}

async fn copy_one(
    copier: &Copier,
    source: ImageReference,
    target: ImageReference,
    repair: bool,
) -> Exit {
    let copy = copy_command::copy(copier, source, target.clone(), repair);
    let ended = tokio::select! {
        copied = copy => Some(copied),
        _ = serve::wait_for_signal() => None,
    };
    // What was broken off leaves no upload behind.
    copier.client().uploads_ended(serve::UPLOADS_TIME).await;
    match ended {
        Some(Ok(outcome)) => {
            println!("{}@{}", target.name(), outcome.digest);
            Exit::Done
        }
        Some(Err(error)) => fail_for(&error),
        None => fail(Exit::Failed, "interrupted; the next copy goes on with what is there"),
    }
}

async fn verify_one(copier: &Copier, target: ImageReference, quick: bool) -> Exit {
    let verifier = copier.verifier();
    let report = match quick {
        false => verifier.verify(&target).await,
        true => verifier.verify_quick(&target).await,
    };
    match report {
        Ok(report) => {
            print!("{}", verify_command::Text { report: &report, quick });
            if report.is_right() { Exit::Done } else { Exit::Damaged }
        }
        Err(error) => fail_for(&error),
    }
}

fn fail_for(error: &CopyError) -> Exit {
    let exit = match error.retry() {
        Retry::Never => Exit::Refused,
        Retry::Later { .. } => Exit::Failed,
    };
    fail(exit, &error.to_string())
}

/// Logs go to standard error, since standard output is the audit record's: JSON lines for `serve`,
/// plain text for commands of a person. The module that writes a line is left out: `target` is the
/// image at the target.
fn begin_logging(cli: &Cli) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&cli.log)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The Kubernetes client logs whole answers that it cannot read, and these are Secrets.
    let may_be_logged = filter_fn(|metadata| !metadata.target().starts_with("kube_"));
    match cli.command {
        Command::Serve { .. } => {
            logs.json().flatten_event(true).with_target(false).finish().with(may_be_logged).init();
        }
        Command::Copy { .. } | Command::Verify { .. } | Command::Explain { .. } => {
            logs.with_target(false).without_time().finish().with(may_be_logged).init();
        }
    }
    Ok(())
}

fn fail(exit: Exit, message: &str) -> Exit {
    eprintln!("image-replicator: {message}");
    exit
}
