//! `copy`: one image now, by the engine that `serve` uses, with a progress bar on a terminal.

use std::sync::Arc;
use std::time::Duration;

use copy::{Copier, CopyError, Job, Outcome, Tracker};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{ImageReference, Namespace, Replica};

use crate::cli::Exit;
use crate::config::ByHand;
use crate::credentials::{NamedCredentials, Reader};
use crate::label::Label;
use crate::rules::NotAllowed;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Who reads `source`: as the rule says that has it in `namespace`, or these very credentials.
/// A configuration without rules says nothing, and it is read without any.
pub(crate) fn reads_as(
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
        Reader::Nobody => Ok(None),
        Reader::Named(credentials) => Ok(Some(Arc::clone(credentials))),
        Reader::Namespace(tenants) if tenants.have(namespace) => {
            Err(Denied::PullSecrets(namespace.clone()))
        }
        Reader::Namespace(_) => Ok(None),
    }
}

/// Why it is not said who reads a source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
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

impl Denied {
    /// What the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::ByRules(_) => Exit::Refused,
            Self::NoCredentials(_) | Self::PullSecrets(_) => Exit::Usage,
        }
    }
}

/// Copies `source` to `target`, or repairs what is there.
pub(crate) async fn copy(
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
