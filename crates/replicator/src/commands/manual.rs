//! `completions` and `man`: made from the command line's own definition when they are asked for,
//! so that they cannot tell of another release.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, Failure, output};

/// What `completions` is told.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_NOTES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

const COMPLETIONS_NOTES: &str = "\
Examples:
  source <(image-replicator completions bash)
  image-replicator completions zsh > \"${fpath[1]}/_image-replicator\"
  image-replicator completions fish > ~/.config/fish/completions/image-replicator.fish";

impl Completions {
    /// Prints the script.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        let mut cli = Cli::command();
        clap_complete::generate(self.shell, &mut cli, "image-replicator", &mut script);
        output::print_raw(&script)?;
        Ok(Exit::Done)
    }
}

/// What `man` is told.
#[derive(Debug, Args)]
#[command(after_help = MAN_NOTES)]
pub(crate) struct Man {
    /// Write a page for each command into this folder, in place of printing the first
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const MAN_NOTES: &str = "\
Examples:
  image-replicator man | man -l -
  image-replicator man --dir /usr/local/share/man/man1";

impl Man {
    /// Prints the page, or writes all.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let cli = Cli::command();
        if let Some(dir) = self.dir {
            clap_mangen::generate_to(cli, &dir).map_err(|error| {
                let why = format!("--dir: {} cannot be written: {error}", dir.display());
                Failure::new(Exit::Failed, why)
            })?;
            return Ok(Exit::Done);
        }
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(cli).render(&mut page);
        rendered.map_err(|error| Failure::new(Exit::Failed, error))?;
        output::print_raw(&page)?;
        Ok(Exit::Done)
    }
}
