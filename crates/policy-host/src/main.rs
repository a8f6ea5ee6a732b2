//! The `policy-host` binary: wires the command line to `run` and `serve`, prints, and sets the exit
//! code. 0 is an answer, whatever it says; 1 is none.

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use policy_host::cli::{Cli, Command, RunArgs, ServeArgs};
use policy_host::host::answers::Answers;
use policy_host::host::queue::HostCalls;
use policy_host::listener::Listener;
use policy_host::module::Engine;
use policy_host::{policies, run, server};
use tracing_subscriber::EnvFilter;

/// What is logged where `RUST_LOG` says nothing else.
const DEFAULT_LOG: &str = "info";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match cli.command {
        Command::Run(arguments) => run_once(arguments).await,
        Command::Serve(arguments) => serve(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_once(arguments: RunArgs) -> anyhow::Result<()> {
    let response = run::run(arguments).await?;
    println!("{}", serde_json::to_string(&response)?);
    Ok(())
}

async fn serve(arguments: ServeArgs) -> anyhow::Result<()> {
    let entries = policies::read(&arguments.policies)?;
    let calls = HostCalls::start(Arc::new(Answers::Live(run::registries(&arguments.registry)?)));
    let engine = Engine::interruptible()?;
    tokio::spawn(server::tick(engine.clone()));
    let timeout = arguments.policy_timeout;
    let policies =
        tokio::task::spawn_blocking(move || policies::build(entries, &engine, &calls, timeout))
            .await??;

    let pem = arguments.cert_file.as_deref().zip(arguments.key_file.as_deref());
    let listener = Listener::bind(arguments.listen, pem).await?;
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    println!("listening on {}", listener.url());
    tracing::info!(policies = policies.len(), workers, timeout, "serving");
    tokio::select! {
        () = listener.serve(server::router(policies, workers)) => Ok(()),
        signal = stop_signal() => signal.context("cannot wait for signals"),
    }
}

/// SIGTERM or SIGINT; what is under way is dropped, as a caller of a webhook tries again.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupt = tokio::signal::ctrl_c() => interrupt,
    }
}
