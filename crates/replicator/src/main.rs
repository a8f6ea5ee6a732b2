//! The replicator: answers triggers, remembers what it did, copies images. This file only wires.
//!
//! Trigger -> [`front`] -> [`ledger`] -> [`workers`] -> copy engine -> [`ledger`] -> receipt.
//! Two flows that meet in the ledger alone: the front never copies, a copy never answers.

mod board;
mod cli;
mod clock;
mod config;
mod copy_command;
mod create_repository;
mod front;
mod ledger;
mod metrics;
mod serve;
mod status;
mod workers;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use protocol::ImageReference;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, Exit};
use config::{Config, Registries};

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
        Command::Copy { source, target, config } => {
            runtime.block_on(copy_one(source, target, config.as_deref()))
        }
    }
}

async fn copy_one(source: ImageReference, target: ImageReference, config: Option<&Path>) -> Exit {
    let registries = match config.map(Registries::load).transpose() {
        Ok(registries) => registries.unwrap_or_default(),
        Err(error) => return fail(Exit::Usage, &error.to_string()),
    };
    let copier = match registries.copier() {
        Ok(copier) => copier,
        Err(error) => return fail(Exit::Failed, &error.to_string()),
    };
    match copy_command::copy(&copier, source, target.clone()).await {
        Ok(outcome) => {
            println!("{}@{}", target.name(), outcome.digest);
            Exit::Done
        }
        Err(error) => match error.retry() {
            registry::Retry::Never => fail(Exit::Refused, &error.to_string()),
            registry::Retry::Later { .. } => fail(Exit::Failed, &error.to_string()),
        },
    }
}

/// Logs go to standard error: JSON lines for `serve`, plain text for commands of a person. The
/// module that writes a line is left out: `target` is the image at the target.
fn begin_logging(cli: &Cli) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&cli.log)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.command {
        Command::Serve { .. } => logs.json().flatten_event(true).with_target(false).init(),
        Command::Copy { .. } => logs.with_target(false).without_time().init(),
    }
    Ok(())
}

fn fail(exit: Exit, message: &str) -> Exit {
    eprintln!("image-replicator: {message}");
    exit
}
