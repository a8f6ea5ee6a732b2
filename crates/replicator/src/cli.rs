//! The command line, and what the process ends with.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use copy::{ForeignLayers, Platform, Referrers, Scope};
use protocol::{ImageReference, Namespace};

use crate::label::Label;

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
    Serve {
        /// The configuration, a YAML file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Copy one image now, with all its platforms and signatures, and show how far it is
    Copy {
        /// The image to copy
        source: ImageReference,
        /// Where to: a reference by tag
        target: ImageReference,
        /// A configuration whose registries, rules and credentials are used
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The namespace whose rule allows the source, and has the credentials to read it
        #[arg(long, default_value = "default", value_name = "NAMESPACE", requires = "config")]
        namespace: Namespace,
        /// Read the source with these credentials of the configuration, whatever its rules say
        #[arg(long, value_name = "NAME", requires = "config", conflicts_with = "namespace")]
        credentials: Option<Label>,
        #[command(flatten)]
        scope: ScopeArgs,
        /// Do not take the target's word for what it has: read each part there, and copy again
        /// what is missing or damaged
        #[arg(long)]
        repair: bool,
    },
    /// Check that a replica is whole: read each part of it and compare it with its digest
    #[command(after_help = VERIFY_EXITS)]
    Verify {
        /// The replica: a reference by tag or digest
        target: ImageReference,
        /// Read the manifests alone, and ask for the rest whether it is there and how long it is
        #[arg(long)]
        quick: bool,
        /// A configuration whose registries and target's credentials are used
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell whether a namespace gets an image, and by which rule
    #[command(after_help = EXPLAIN_EXITS)]
    Explain {
        /// The configuration, a YAML file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The namespace
        namespace: Namespace,
        /// The image, as a pod has it
        image: ImageReference,
    },
}

/// What of an image is copied.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Copy only this platform of an index, as in linux/arm64; can be given more than once
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// Copy no signatures, attestations and SBOMs
    #[arg(long)]
    no_referrers: bool,
    /// What to do with layers that their owner keeps from being pushed: refuse, skip or fetch
    #[arg(long, value_name = "RULE", default_value = "refuse")]
    foreign_layers: ForeignLayers,
}

impl From<ScopeArgs> for Scope {
    fn from(args: ScopeArgs) -> Self {
        let referrers = if args.no_referrers { Referrers::Nothing } else { Referrers::All };
        let ScopeArgs { platforms, foreign_layers, .. } = args;
        Self { platforms, referrers, foreign_layers }
    }
}

const VERIFY_EXITS: &str = "\
Ends with 0 when all is right, 4 when a part is missing or damaged, 1 when it could not be
checked and trying again may help, 3 when the registry refuses or has no such image.
Of a replica that was copied for some platforms only, the others are reported as missing.
A damaged replica is repaired by: image-replicator copy --repair SOURCE TARGET";

const EXPLAIN_EXITS: &str = "\
Ends with 0 when the image is allowed, 3 when it is not. No registry is asked.";

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed, and trying again may help.
    Failed = 1,
    /// The configuration or the arguments are wrong (clap's own code for wrong arguments).
    Usage = 2,
    /// A rule or a registry refused, or there is no such image: trying again does not help.
    Refused = 3,
    /// The replica is damaged.
    Damaged = 4,
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
