//! The replicator: answers triggers, remembers what it did, copies images. This file only wires.
//!
//! Trigger -> [`front`] -> [`ledger`] -> [`workers`] -> copy engine -> [`ledger`] -> receipt.
//! Two flows that meet in the ledger alone: the front never copies, a copy never answers.

mod audit;
mod board;
mod clock;
mod commands;
mod config;
mod create_repository;
mod credentials;
mod ending;
mod freshness;
mod front;
mod kube;
mod label;
mod ledger;
mod manifests;
mod metrics;
mod namespaces;
mod notify;
mod origins;
mod pace;
mod proofs;
mod quota;
mod retention;
mod rights;
mod rules;
mod serve;
mod status;
mod tenants;
mod watch;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use commands::{Cli, Command, Exit, Failure};

/// musl's own allocator has one lock for all threads, and gives each piece back to the kernel: a copy
/// takes half as much processor time again with it. This one takes as little as glibc's, and some
/// 30 MiB more of memory.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let exit = run(Cli::parse()).unwrap_or_else(|failure| {
        // Where nobody listens, the exit code alone tells.
        let _ = writeln!(anstream::stderr(), "image-replicator: {}", failure.message);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    begin_logging(&cli)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Failure::new(Exit::Failed, format!("the system gives no threads: {error}"))
    })?;
    runtime.block_on(cli.command.run())
}

/// Logs go to standard error, since standard output is the audit record's: JSON lines for `serve`,
/// plain text for commands of a person. The module that writes a line is left out: `target` is the
/// image at the target.
fn begin_logging(cli: &Cli) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&cli.log)
        .map_err(|error| Failure::new(Exit::Usage, format!("--log: {error}")))?;
    let has_colours = anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // The Kubernetes client logs whole answers that it cannot read, and these are Secrets.
    let may_be_logged = filter_fn(|metadata| !metadata.target().starts_with("kube_"));
    let logs = logs.with_target(false).with_ansi(has_colours);
    match cli.command {
        Command::Serve(_) => logs.json().flatten_event(true).finish().with(may_be_logged).init(),
        _ => logs.without_time().finish().with(may_be_logged).init(),
    }
    Ok(())
}
