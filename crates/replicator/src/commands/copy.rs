//! `copy`: one image now, by the engine that `serve` uses, with a progress bar on a terminal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use copy::{Copier, CopyError, ForeignLayers, Job, Outcome, Platform, Referrers, Scope, Tracker};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{Digest, ImageReference, Namespace, Replica};
use serde::Serialize;

use super::{Exit, Failure, by_hand, output::Output};
use crate::config::ByHand;
use crate::credentials::{NamedCredentials, Reader};
use crate::label::Label;
use crate::rules::NotAllowed;
use crate::serve::{UPLOADS_TIME, wait_for_signal};

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// What `copy` is told.
#[derive(Debug, Args)]
pub(crate) struct Copy {
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
    /// Do not take the target's word for what it has: read each part there, and copy again what
    /// is missing or damaged
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    output: Output,
}

/// What of an image is copied.
#[derive(Debug, Args)]
struct ScopeArgs {
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

impl Copy {
    /// Copies, until it is done or the process is told to end.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let Self { source, target, config, namespace, credentials, scope, repair, output } = self;
        let by = |by_hand: &ByHand| reads_as(by_hand, &namespace, &source, credentials);
        let copier = by_hand::copier(config.as_deref(), &[&source, &target], by)?;
        let copier = copier.with_scope(scope.into());
        let ended = tokio::select! {
            copied = copy(&copier, source, target.clone(), repair) => Some(copied),
            _ = wait_for_signal() => None,
        };
        // What was broken off leaves no upload behind.
        copier.client().uploads_ended(UPLOADS_TIME).await;
        match ended {
            Some(outcome) => {
                let copied = Copied::new(&target, &outcome?);
                output.print(&copied, format_args!("{}\n", copied.image))?;
                Ok(Exit::Done)
            }
            None => Err(Failure::new(
                Exit::Failed,
                "interrupted; the next copy goes on with what is there",
            )),
        }
    }
}

/// What was copied.
#[derive(Serialize)]
struct Copied {
    /// The replica by its digest.
    image: String,
    digest: Digest,
    /// Bytes of the image; None where the replica was current, and nothing was read that would
    /// tell.
    size_bytes: Option<u64>,
    bytes_moved: u64,
    blobs_moved: u64,
    blobs_skipped: u64,
}

impl Copied {
    fn new(target: &ImageReference, outcome: &Outcome) -> Self {
        let &Outcome { ref digest, bytes_moved, blobs_moved, blobs_skipped, size_bytes, .. } =
            outcome;
        Self {
            image: format!("{}@{digest}", target.name()),
            digest: digest.clone(),
            size_bytes: Some(size_bytes).filter(|size_bytes| *size_bytes > 0),
            bytes_moved,
            blobs_moved,
            blobs_skipped,
        }
    }
}

/// Who reads `source`: as the rule says that has it in `namespace`, or these very credentials.
/// A configuration without rules says nothing, and it is read without any.
fn reads_as(
    by_hand: &ByHand,
    namespace: &Namespace,
    source: &ImageReference,
    credentials: Option<Label>,
) -> Result<Option<Arc<NamedCredentials>>, Denied> {
    if let Some(name) = credentials {
        let found = by_hand.keyring.get(&name).cloned();
        return found.map(Some).ok_or(Denied::NoCredentials(name));
    }
    if by_hand.rules.is_empty() {
        return Ok(None);
    }
    match &by_hand.rules.allow(namespace, source)?.reader {
        Reader::Named(credentials) => Ok(Some(Arc::clone(credentials))),
        Reader::Namespace(tenants) if tenants.have(namespace) => {
            Err(Denied::PullSecrets(namespace.clone()))
        }
        Reader::Nobody | Reader::Namespace(_) => Ok(None),
    }
}

/// Why it is not said who reads a source.
#[derive(Debug, thiserror::Error)]
enum Denied {
    /// No rule allows it.
    #[error("{0}; or copy it all the same, with --credentials NAME")]
    ByRules(#[from] NotAllowed),
    /// There are no such credentials.
    #[error("--credentials: there are none by the name of '{0}' in the configuration")]
    NoCredentials(Label),
    /// They are in the cluster.
    #[error(
        "the rule reads this source with the pull secrets of namespace {0}, which this command \
         cannot see; name credentials of the configuration with --credentials NAME"
    )]
    PullSecrets(Namespace),
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let exit = match denied {
            Denied::ByRules(_) => Exit::Refused,
            Denied::NoCredentials(_) | Denied::PullSecrets(_) => Exit::Usage,
        };
        Self::new(exit, denied)
    }
}

/// Copies `source` to `target`, or repairs what is there.
async fn copy(
    copier: &Copier,
    source: ImageReference,
    target: ImageReference,
    repair: bool,
) -> Result<Outcome, CopyError> {
    let job = Job { source, replica: Replica { reference: target, keeper: None } };
    let tracker = Tracker::default();
    // Drawn on a terminal only; indicatif hides it elsewhere.
    let bar = ProgressBar::new(0).with_style(style());
    let shown = async {
        let mut tick = tokio::time::interval(REDRAW);
        loop {
            tick.tick().await;
            let progress = tracker.progress();
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            bar.set_message(format!(
                "{} of {} layers",
                progress.layers_done, progress.layers_total
            ));
        }
    };
    let copied = async {
        match repair {
            false => copier.copy(&job, &tracker).await,
            true => copier.repair(&job, &tracker).await,
        }
    };
    let result = tokio::select! {
        result = copied => result,
        () = shown => unreachable!("the bar is drawn for ever"),
    };
    bar.finish_and_clear();
    result
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
