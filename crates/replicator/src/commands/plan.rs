//! `plan`: what becomes of the images in manifests: by which rule, where to, how much of each is
//! not there yet. It asks registries, and changes nothing anywhere.
//!
//! Manifests -> [`decide`] (the rules) -> [`ask`] (the registries) -> [`document`], what is told.

mod ask;
mod decide;
mod document;

use std::path::PathBuf;

use clap::Args;

use super::manifests::ManifestArgs;
use super::output::Output;
use super::{Exit, Failure};
use crate::config::ByHand;
use crate::watch::Watcher;
use document::Document;

/// What `plan` is told.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub(crate) struct Plan {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask no registry: tell only what the rules say
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: Output,
}

const EXITS: &str = "\
Ends with 0 when all images are allowed, 3 when the rules or a registry refuse one or its source
has no such image, 1 when a registry could not be asked and trying again may help.
Registries are read only: nothing is copied, and no replicator is told.

Example:
  helm template shop ./shop --namespace shop |
    image-replicator plan - --namespace shop --config config.yaml";

impl Plan {
    /// Finds the images, holds them against the rules, and asks registries.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let manifests = self.manifests.read()?;
        let ByHand { mut registries, rules, target, .. } = ByHand::load(&self.config)?;
        let target = target.ok_or_else(|| {
            Failure::new(Exit::Usage, "--config: it has no `target`, where replicas would go")
        })?;
        let decided = decide::decide(manifests.images, &rules, &target);
        let estimates = match self.offline {
            true => Vec::new(),
            false => {
                // A registry that only the manifests name is asked as `serve` would ask it.
                registries.name(target.registry());
                let copier = registries.copier(&mut Watcher::default());
                let copier = copier.map_err(|error| Failure::new(Exit::Failed, error))?;
                ask::estimate(&copier, &decided).await
            }
        };
        let document = Document::new(decided, estimates, manifests.mentions);
        self.output.print(&document, &document)?;
        Ok(document.exit())
    }
}
