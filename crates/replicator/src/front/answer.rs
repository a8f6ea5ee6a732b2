//! From what is known of a source to what the policy is told: pure, no I/O, no clock.

use std::time::Duration;

use protocol::{
    ImageReference, Namespace, Progress, Receipt, Refusal, RefusalCode, ReplicaState, Side, Verb,
};

use crate::clock::Timestamp;
use crate::ledger::grant::Right;
use crate::ledger::record::{Failure, Record, State};
use crate::ledger::work::Wish;

/// When to ask again while the queue is full: some copies have ended by then.
const FULL_QUEUE_RETRY: Duration = Duration::from_secs(10);

/// When to ask again while too many ask: the front is through with those of now in less.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

/// A trigger's answer.
pub(crate) type Answer = Result<Receipt, Refusal>;

/// A question and what bears on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// What is asked.
    pub(crate) verb: Verb,
    /// About which image.
    pub(crate) source: &'a ImageReference,
    /// For which namespace.
    pub(crate) namespace: &'a Namespace,
    /// What is wanted of it, and where its replica belongs.
    pub(crate) wish: &'a Wish,
    /// When.
    pub(crate) now: Timestamp,
}

impl Question<'_> {
    /// Whether the ledger must be told that the source is wanted.
    pub(crate) fn needs_want(&self, record: Option<&Record>) -> bool {
        let may_start = match self.verb {
            Verb::Plan => false,
            Verb::Start | Verb::Replica => true,
        };
        may_start
            && record
                .is_none_or(|record| record.demand(self.wish, self.namespace, self.now).is_some())
    }

    /// The answer, from what is known of the source.
    pub(crate) fn answer(&self, record: Option<&Record>, progress: Option<Progress>) -> Answer {
        // What was copied to a place that is no longer in force is not there.
        let record = record.filter(|record| record.target == self.wish.target);
        match record.map(|record| record.state) {
            Some(State::Present) => return Ok(self.receipt(ReplicaState::Present, record, None)),
            Some(State::Stale) => return Ok(self.receipt(ReplicaState::Stale, record, None)),
            Some(State::Wanted | State::Copying | State::Failed | State::Refused) | None => {}
        }
        match self.verb {
            Verb::Plan => Ok(self.receipt(ReplicaState::Planned, record, progress)),
            Verb::Start => match record.map(|record| (record, self.lasting_failure(record))) {
                Some((record, Some(failure))) => Err(self.refuse_failed(record, failure)),
                _ => Ok(self.receipt(ReplicaState::Copying, record, progress)),
            },
            Verb::Replica => Err(self.refuse(record, progress)),
        }
    }

    /// The answer to a namespace that has not shown its right to the image; None where it is
    /// answered as anybody is. What `is_guarded` is told to nobody without a right, not even
    /// where it would be.
    pub(crate) fn without_right(&self, right: &Right, is_guarded: bool) -> Option<Answer> {
        let namespace = self.namespace;
        let refuse = |code, message| {
            let refusal = Refusal::new(code, self.source.to_string(), message);
            Some(Err(refusal.at(Side::Source)))
        };
        match right {
            Right::Shown => None,
            Right::Denied(reason) => refuse(
                RefusalCode::Denied,
                format!(
                    "namespace {namespace} has no right to this image: {reason}; asking again \
                     later checks that again"
                ),
            ),
            Right::Unknown(_) if !is_guarded => None,
            Right::Unknown(_) if self.verb == Verb::Plan => Some(self.answer(None, None)),
            Right::Unknown(None) => Some(Err(self.pending(
                format!("the right of namespace {namespace} to this image is being checked"),
                None,
            ))),
            Right::Unknown(Some(reason)) => refuse(
                RefusalCode::Failed,
                format!(
                    "the right of namespace {namespace} to this image could not be checked: \
                     {reason}; asking again later tries again"
                ),
            ),
        }
    }

    fn receipt(
        &self,
        state: ReplicaState,
        record: Option<&Record>,
        progress: Option<Progress>,
    ) -> Receipt {
        Receipt {
            source: self.source.clone(),
            target: self.wish.target.clone(),
            digest: record.and_then(|record| record.digest.clone()),
            state,
            progress,
            age_s: (state == ReplicaState::Stale)
                .then(|| record?.checked_at)
                .flatten()
                .map(|checked_at| (self.now - checked_at).as_secs()),
        }
    }

    fn refuse(&self, record: Option<&Record>, progress: Option<Progress>) -> Refusal {
        let failure = record.and_then(|record| record.failure_for(self.namespace));
        match record.map(|record| (record, record.state, failure)) {
            Some((record, State::Refused | State::Failed, Some(failure))) => {
                self.refuse_failed(record, failure)
            }
            Some((record, State::Copying, failure)) => match self.lasting_failure(record) {
                Some(failure) => self.refuse_failed(record, failure),
                None => self.pending(copying_message(progress, failure), progress),
            },
            _ => self.pending("waits for its turn to be copied".to_owned(), None),
        }
    }

    /// A failure that trying again does not mend. While it is tried again all the same, because
    /// somebody asked, the answer stays what it was.
    fn lasting_failure<'r>(&self, record: &'r Record) -> Option<&'r Failure> {
        record.failure_for(self.namespace).filter(|failure| failure.is_lasting)
    }

    fn pending(&self, message: String, progress: Option<Progress>) -> Refusal {
        Refusal::new(RefusalCode::Pending, self.source.to_string(), message).with_progress(progress)
    }

    /// The refusal for `failure`, which is the record's.
    fn refuse_failed(&self, record: &Record, failure: &Failure) -> Refusal {
        let wait =
            record.next_try().map(|due_at| due_at - self.now).filter(|wait| *wait > Duration::ZERO);
        let next = match (record.state, wait) {
            (State::Failed, Some(wait)) => {
                format!("; tried {} times, next in {} s", record.attempts, wait.as_secs().max(1))
            }
            (State::Refused, _) => "; asking again later tries again".to_owned(),
            _ => "; being tried again now".to_owned(),
        };
        let message = format!("{}{next}", failure.message);
        Refusal::new(failure.code, self.source.to_string(), message)
            .at(failure.side)
            .with_retry_after(wait)
    }
}

/// A refusal for what the replicator itself cannot say or do.
pub(crate) fn unavailable(image: &impl ToString, reason: &str) -> Refusal {
    let message = format!("the replicator cannot answer: {reason}");
    Refusal::new(RefusalCode::Unavailable, image.to_string(), message)
        .at(Side::Replicator)
        .with_retry_after(Some(Duration::from_secs(1)))
}

/// A refusal for what the replicator does not take on while its queue is full.
pub(crate) fn full_queue(image: &impl ToString, reason: &str) -> Refusal {
    too_many(image, reason, FULL_QUEUE_RETRY)
}

/// A refusal for what the replicator does not look at, since too many ask at this moment.
pub(crate) fn crowded(image: &impl ToString, reason: &str) -> Refusal {
    too_many(image, reason, CROWDED_RETRY)
}

fn too_many(image: &impl ToString, reason: &str, retry_after: Duration) -> Refusal {
    Refusal::new(RefusalCode::TooMany, image.to_string(), reason)
        .at(Side::Replicator)
        .with_retry_after(Some(retry_after))
}

/// A refusal of what the caller may not do.
pub(crate) fn not_allowed(source: &ImageReference, reason: &str) -> Refusal {
    Refusal::new(RefusalCode::Denied, source.to_string(), reason).at(Side::Replicator)
}

/// A refusal for a peer whose passwords were wrong too often. What it asks is not looked at.
pub(crate) fn guesses(wait: Duration) -> Refusal {
    let message = "too many wrong passwords came from this address: mend the policy server's \
                   docker config, and look who else asks from there";
    Refusal::new(RefusalCode::TooMany, "", message)
        .at(Side::Replicator)
        .with_retry_after(Some(wait))
}

/// The answer about a reference that leads into the target, if `record` is of the replica that it
/// names: as about its source, but never the beginning of a copy. None where it is of another.
pub(crate) fn answer_direct(
    question: &Question<'_>,
    record: &Record,
    progress: Option<Progress>,
) -> Option<Answer> {
    let reference = question.source;
    let is_named = record.target.name() == reference.name()
        && match (reference.digest(), &record.digest) {
            (Some(asked), Some(found)) => asked == found,
            // Not known yet: the copy is under way.
            (Some(_), None) | (None, _) => true,
        };
    let record = Record { target: reference.clone(), ..record.clone() };
    is_named.then(|| question.answer(Some(&record), progress))
}

/// The refusal for a reference into the target that is no replica of ours.
pub(crate) fn not_a_replica(reference: &ImageReference) -> Refusal {
    let message = "the replicator made no replica here; name the image at its source instead";
    Refusal::new(RefusalCode::NotFound, reference.to_string(), message).at(Side::Target)
}

fn copying_message(progress: Option<Progress>, failure: Option<&Failure>) -> String {
    let progress = match progress {
        Some(progress) if progress.bytes_total > 0 => format!("copying {progress}"),
        _ => "copying, size not yet known".to_owned(),
    };
    match failure {
        Some(failure) => format!("{progress} (the last try failed: {})", failure.message),
        None => progress,
    }
}

#[cfg(test)]
mod tests;
