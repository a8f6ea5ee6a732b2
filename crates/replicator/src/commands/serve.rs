//! `serve`: the replicator itself.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::config::Config;

/// What `serve` is told.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Serve {
    /// Runs until the process is told to end.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let config = Config::load(&self.config)?;
        let served = crate::serve::serve(config).await;
        served.map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Exit::Done)
    }
}
