//! The workers: claim -> copy -> settle, until told to stop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use copy::{Copier, CopyError, Job, Outcome, ReferrerKind, Tracker};
use protocol::{ImageReference, Namespace, RefusalCode, Side, TargetRoot};
use registry::{ErrorKind, Retry};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::credentials::Who;
use crate::ending::{Ending, Observers};
use crate::ledger::charge::Charge;
use crate::ledger::contents::Contents;
use crate::ledger::grant::{Finding, Right, Verdict};
use crate::ledger::record::{Failure, Record, Settlement};
use crate::ledger::work::Ticket;
use crate::ledger::{Ledger, LedgerError};
use crate::quota::{Quota, Share};
use crate::rights::Rights;
use crate::rules::{NotAllowed, Rules};

/// How long an idle worker waits before it looks for copies that have become due again. New
/// ones wake it at once.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// Workers that one source registry leaves to the others, however much of it is due: a registry
/// that is slow then holds up no other one, and one that is alone in a cluster has the rest.
const WORKERS_FOR_OTHERS: usize = 1;

/// How long to wait after the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// What the workers need. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workers {
    /// What is to be done.
    pub(crate) ledger: Ledger,
    /// Does it.
    pub(crate) copier: Copier,
    /// Shows how far it is.
    pub(crate) board: Board,
    /// Where replicas live.
    pub(crate) target: Arc<TargetRoot>,
    /// Who gets what, and how.
    pub(crate) rules: Rules,
    /// Who has shown what.
    pub(crate) rights: Rights,
    /// How much each namespace may have.
    pub(crate) quota: Quota,
    /// Who is told of each copy.
    pub(crate) observers: Observers,
}

/// How the workers are told to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// Claim nothing more.
    pub(crate) claiming: CancellationToken,
    /// Break off what is running, and hand it back.
    pub(crate) copying: CancellationToken,
}

impl Workers {
    /// Runs `count` workers; returns when all have stopped.
    pub(crate) async fn run(self, count: u16, stop: Stop) {
        let workers = TaskTracker::new();
        let most_of_one_registry = share_of_one_registry(count);
        for _ in 0..count {
            workers.spawn(self.clone().work(most_of_one_registry, stop.clone()));
        }
        workers.close();
        workers.wait().await;
    }

    async fn work(self, most_of_one_registry: usize, stop: Stop) {
        while !stop.claiming.is_cancelled() {
            match self.ledger.claim(most_of_one_registry).await {
                Ok(Some(record)) => {
                    // What was claimed has a ticket.
                    if let Some(ticket) = record.ticket() {
                        self.copy(&record, ticket, &stop).await;
                    }
                }
                Ok(None) => tokio::select! {
                    () = self.ledger.wait_for_work(IDLE_LOOK) => {}
                    () = stop.claiming.cancelled() => {}
                },
                Err(error) => self.pause(&error, &stop.claiming).await,
            }
        }
    }

    async fn copy(&self, record: &Record, ticket: Ticket, stop: &Stop) {
        let begin = Instant::now();
        self.observers.begins();
        tracing::info!(source = %record.source, target = %record.target, state = record.state.as_str(), "copy begins");
        let mut told = None;
        // Until the end is on record, or its bytes would count for nobody in between.
        let share = self.quota.share(record);
        let result = tokio::select! {
            result = self.copy_once(record, &share, &mut told) => Some(result),
            () = stop.copying.cancelled() => None,
        };
        let bytes_moved = match &result {
            Some(Ok(outcome)) => outcome.bytes_moved,
            _ => 0,
        };
        let settlement = settlement(result, share.charge());
        let took = begin.elapsed();
        log(record, &settlement, took, bytes_moved);
        let (who, finding) = told.unzip();
        let is_shown = finding.as_ref().is_some_and(|finding| finding.verdict == Verdict::Allowed);
        let after = self.settle(ticket, &settlement, bytes_moved, finding, stop).await;
        if let Some(who) = who.filter(|_| is_shown) {
            // Whether everybody may have it is then known before others ask.
            self.rights.prove(&record.source, &who);
        }
        let rule = self.rules.find(&record.namespace, &record.source).map(|fit| &fit.rule.name);
        self.observers.ended(&Ending {
            at: self.ledger.now(),
            before: record,
            after: after.as_deref(),
            rule,
            settlement: &settlement,
            took,
            bytes_moved,
        });
    }

    /// Copies on behalf of the namespace that wants it, by the rule that it has now.
    /// `told` is what the source said to who read it.
    async fn copy_once(
        &self,
        record: &Record,
        share: &Arc<Share>,
        told: &mut Option<(Who, Finding)>,
    ) -> Result<Outcome, Failed> {
        let terms = self.rules.allow(&record.namespace, &record.source)?;
        let replica = self
            .target
            .replica_of(&record.source)
            .map_err(|error| Failed::NoPlace(error.to_string()))?;
        let tracker = Tracker::default();
        let _pinned = self.board.pin(record.source.clone(), tracker.clone());
        let job = Job { source: record.source.clone(), replica };
        let mut who = terms.who(&record.source, &record.namespace);
        if who.is_unread() {
            // What is public is read without credentials.
            let standing = self.rights.standing(&record.source, &who).await;
            if standing.is_ok_and(|standing| standing.right == Right::Shown) {
                who = Who::Nobody;
            } else {
                return Err(Failed::Unread(record.namespace.clone()));
            }
        }
        let changed_at = self.rights.changed_at(&who);
        let reader = self.copier.client().with_credentials(who.port());
        let copier = self.copier.clone().with_scope(terms.scope.clone()).reading_with(reader);
        let copied = copier.with_room(Arc::clone(share) as _).copy(&job, &tracker).await;
        if let Some(verdict) = verdict(&record.source, &copied) {
            let finding = self.rights.finding(&record.source, &who, changed_at, verdict);
            *told = finding.map(|finding| (who, finding));
        }
        Ok(copied?)
    }

    /// A claimed copy must be settled, or nobody would take it up again before a restart. Returns
    /// what is on disk then; None where it does not count, since the lease did not hold.
    async fn settle(
        &self,
        ticket: Ticket,
        settlement: &Settlement,
        bytes_moved: u64,
        finding: Option<Finding>,
        stop: &Stop,
    ) -> Option<Arc<Record>> {
        loop {
            let settled = self
                .ledger
                .settle(ticket.clone(), settlement.clone(), bytes_moved, finding.clone())
                .await;
            match settled {
                Ok(Some(record)) => return Some(record),
                Ok(None) => {
                    let source = &ticket.source;
                    tracing::warn!(%source, "the end of a copy does not count: it was taken over meanwhile, or is on record already");
                    return None;
                }
                Err(error) if stop.copying.is_cancelled() || is_final(&error) => {
                    // It is found as under way by whoever comes next, and taken up again.
                    let source = &ticket.source;
                    tracing::warn!(%source, %error, "a copy's end could not be written");
                    return None;
                }
                Err(error) => self.pause(&error, &stop.copying).await,
            }
        }
    }

    async fn pause(&self, error: &LedgerError, stop: &CancellationToken) {
        tracing::error!(%error, "the workers cannot use the ledger; trying again");
        tokio::select! {
            () = tokio::time::sleep(LEDGER_PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// How many workers one source registry gets.
fn share_of_one_registry(workers: u16) -> usize {
    usize::from(workers).saturating_sub(WORKERS_FOR_OTHERS).max(1)
}

fn is_final(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Closed)
}

/// Why there is no copy.
enum Failed {
    NotAllowed(NotAllowed),
    NoPlace(String),
    /// The pull secrets of that namespace are not known yet.
    Unread(Namespace),
    Copy(CopyError),
}

impl From<NotAllowed> for Failed {
    fn from(error: NotAllowed) -> Self {
        Self::NotAllowed(error)
    }
}

impl From<CopyError> for Failed {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

fn settlement(result: Option<Result<Outcome, Failed>>, charge: Option<Charge>) -> Settlement {
    let error = match result {
        None => return Settlement::HandedBack,
        Some(Ok(outcome)) => {
            let Outcome { digest, size_bytes, contents, .. } = outcome;
            let contents = contents.map(as_recorded);
            return Settlement::Copied { digest, size_bytes, contents, charge };
        }
        Some(Err(error)) => error,
    };
    let denied = |message| {
        let (code, side) = (RefusalCode::Denied, Side::Replicator);
        (Failure { code, side, message, is_lasting: true }, Duration::ZERO)
    };
    let (failure, not_before) = match error {
        Failed::NotAllowed(error) => denied(error.to_string()),
        Failed::NoPlace(message) => denied(message),
        Failed::Unread(namespace) => {
            let message = format!(
                "the pull secrets of namespace {namespace} could not be read yet; the replicator's \
                 /readyz says why"
            );
            let (code, side) = (RefusalCode::Failed, Side::Replicator);
            (Failure { code, side, message, is_lasting: false }, Duration::ZERO)
        }
        Failed::Copy(error) => {
            let (is_lasting, not_before) = match error.retry() {
                Retry::Never => (!is_for_the_operator(&error), Duration::ZERO),
                Retry::Later { after } => (false, after),
            };
            let code = match error.kind() {
                ErrorKind::NotFound if error.side == Side::Source => RefusalCode::NotFound,
                // For want of room.
                ErrorKind::Denied if error.side == Side::Replicator => RefusalCode::Denied,
                _ if error.is_lack_of_rights() => RefusalCode::Denied,
                _ => RefusalCode::Failed,
            };
            let (side, message) = (error.side, error.to_string());
            (Failure { code, side, message, is_lasting }, not_before)
        }
    };
    Settlement::Failed { failure, not_before }
}

/// Whether it is not the image that cannot be copied: who pushes to the target lacks a right, or
/// a repository. That is mended without a word to us, and pods that were let in ask no more.
fn is_for_the_operator(error: &CopyError) -> bool {
    let lacks =
        [ErrorKind::Unauthorized, ErrorKind::Denied, ErrorKind::NoCredentials, ErrorKind::NotFound];
    error.side == Side::Target && lacks.contains(&error.kind())
}

/// What the ledger keeps of what was copied.
fn as_recorded(copied: copy::Contents) -> Contents {
    let copy::Contents { platforms, referrers } = copied;
    let signatures =
        |kinds: &BTreeMap<ReferrerKind, u64>| kinds.contains_key(&ReferrerKind::Signature);
    Contents {
        platforms: platforms.iter().map(ToString::to_string).collect(),
        is_signed: referrers.as_ref().map(signatures),
        referrers: referrers.map(|kinds| {
            kinds.into_iter().map(|(kind, count)| (kind.as_str().to_owned(), count)).collect()
        }),
    }
}

/// What a copy shows of the right of who read its source, if anything.
fn verdict(source: &ImageReference, copied: &Result<Outcome, CopyError>) -> Option<Verdict> {
    match copied {
        // A source by digest that the target has is not asked at all.
        Ok(outcome) => {
            (source.digest().is_none() || outcome.size_bytes > 0).then_some(Verdict::Allowed)
        }
        Err(error) => error.is_lack_of_rights().then(|| Verdict::Denied(error.to_string())),
    }
}

fn log(record: &Record, settlement: &Settlement, took: Duration, bytes_moved: u64) {
    let source = &record.source;
    let target = &record.target;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match settlement {
        Settlement::Copied { digest, size_bytes, .. } => {
            tracing::info!(%source, %target, %digest, size_bytes, bytes_moved, took_ms, "copied");
        }
        Settlement::Failed { failure: Failure { side, message, is_lasting, .. }, .. } => {
            let next = if *is_lasting { "when asked for again" } else { "by itself" };
            tracing::warn!(%source, %target, %side, took_ms, next, "copy failed: {message}");
        }
        Settlement::HandedBack => {
            tracing::info!(%source, %target, took_ms, "copy handed back, since the replicator ends");
        }
    }
}

#[cfg(test)]
mod tests;
