//! The command line: each command is a file that has its arguments, its run, and what it prints.
//!
//! A command returns how the process ends, or why it did not do what it was asked; what it prints
//! goes through [`output`]. Commands about a running replicator ask its status listener.

mod by_hand;
mod copy;
mod exit;
mod explain;
mod output;
mod serve;
mod table;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use exit::{Exit, Failure};

/// Copies images to a registry of your own, and tells the Kubewarden policy where they are.
#[derive(Debug, Parser)]
#[command(name = "image-replicator", version, about)]
pub(crate) struct Cli {
    /// What to log: error, warn, info, debug or trace, or a filter such as info,copy=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer triggers and copy images, until told to end
    Serve(serve::Serve),
    /// Copy one image now, with all its platforms and signatures, and show how far it is
    Copy(copy::Copy),
    /// Check that a replica is whole: read each part of it and compare it with its digest
    Verify(verify::Verify),
    /// Tell whether a namespace gets an image, and by which rule
    Explain(explain::Explain),
}

impl Command {
    /// Does it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Serve(command) => Box::pin(command.run()).await,
            Self::Copy(command) => Box::pin(command.run()).await,
            Self::Verify(command) => command.run().await,
            Self::Explain(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn verify_says_what_it_ends_with() {
        let mut cli = Cli::command();
        let verify = cli.find_subcommand_mut("verify").unwrap();
        insta::assert_snapshot!(verify.render_help());
    }
}
