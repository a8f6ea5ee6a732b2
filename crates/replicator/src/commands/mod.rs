//! The command line: each command is a file that has its arguments, its run, and what it prints.
//!
//! A command returns how the process ends, or why it did not do what it was asked; what it prints
//! goes through [`output`]. Commands about a running replicator ask its status listener.

mod by_hand;
mod copy;
mod doctor;
mod exit;
mod explain;
mod images;
mod inspect;
mod inventory;
mod list;
mod manifests;
mod manual;
mod output;
mod plan;
mod prewarm;
mod prune;
mod retry;
mod serve;
mod server;
mod status;
mod table;
mod verify;
mod words;

use clap::{Parser, Subcommand};

pub(crate) use exit::{Exit, Failure};

/// Copies images to a registry of your own, and tells the Kubewarden policy where they are.
#[derive(Debug, Parser)]
#[command(name = "image-replicator", version, after_help = notes())]
pub(crate) struct Cli {
    /// What to log: error, warn, info, debug or trace, or a filter such as info,copy=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", display_order = 100)]
    pub(crate) log: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do: first the replicator, then what people ask one that runs, then what needs none.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer triggers and copy images, until told to end
    Serve(serve::Serve),
    /// Show how things stand: what fails and who waits for it, what is copied and how far
    Status(status::Status),
    /// List the images that were asked for, and what became of each
    List(list::List),
    /// Show all that is known of one image
    Inspect(inspect::Inspect),
    /// Try images again whose copy failed
    Retry(retry::Retry),
    /// List every image that ever entered the cluster; those that run unreplicated come first
    Inventory(inventory::Inventory),
    /// Show which replicas nobody uses, and take them away with --yes
    Prune(prune::Prune),
    /// Have the images in Kubernetes manifests copied before pods ask for them
    Prewarm(prewarm::Prewarm),
    /// Tell what becomes of the images in Kubernetes manifests, and how much would be copied
    Plan(plan::Plan),
    /// Tell whether a namespace gets an image, and by which rule
    Explain(explain::Explain),
    /// Copy one image now, with all its platforms and signatures, and show how far it is
    Copy(copy::Copy),
    /// Check that a replica is whole: read each part of it and compare it with its digest
    Verify(verify::Verify),
    /// Look at all that a replicator needs, and tell what is to be mended
    Doctor(doctor::Doctor),
    /// Print a script that completes commands in a shell
    Completions(manual::Completions),
    /// Print the manual page, or write those of all commands
    Man(manual::Man),
}

fn notes() -> String {
    let exits = Exit::ALL.map(|exit| format!("  {}  {}\n", exit as u8, exit.meaning())).concat();
    format!(
        "status, list, inspect, retry, inventory, prune and prewarm ask a replicator that runs; the \
         others need none.\nColours are shown on a terminal only, and never where NO_COLOR is set.\n\n\
         Exit codes:\n{exits}\n\
         Examples:\n  \
         kubectl port-forward --namespace image-replicator deploy/image-replicator 9090 &\n  \
         image-replicator status\n  \
         image-replicator inspect nginx:1.27\n  \
         helm template shop ./shop | image-replicator plan - --config config.yaml\n  \
         image-replicator explain --config config.yaml shop nginx:1.27\n  \
         image-replicator copy nginx:1.27 registry.corp/mirror/nginx:1.27"
    )
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Serve(command) => Box::pin(command.run()).await,
            Self::Status(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Inspect(command) => command.run().await,
            Self::Retry(command) => command.run().await,
            Self::Inventory(command) => command.run().await,
            Self::Prune(command) => command.run().await,
            Self::Prewarm(command) => Box::pin(command.run()).await,
            Self::Plan(command) => Box::pin(command.run()).await,
            Self::Explain(command) => command.run(),
            Self::Copy(command) => Box::pin(command.run()).await,
            Self::Verify(command) => command.run().await,
            Self::Doctor(command) => Box::pin(command.run()).await,
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests;
