//! The verdict: a pure function of what is known of each image, and of the settings.
//!
//! It must not know JSON, hosts or the replicator's wire forms.

use std::collections::BTreeSet;

use protocol::{ImageReference, Receipt, Refusal, RefusalCode, Side};
use workload::Image;

use crate::ask::{Finding, Inquiry, OutOfTime};
use crate::patch::Rewrite;
use crate::plan::Terms;
use crate::settings::{Mode, OnUnavailable, Settings};
use crate::wording;

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It goes through, with these references replaced.
    Allow {
        /// The images that get a new reference.
        rewrites: Vec<Rewrite<'a>>,
        /// What a person should know nevertheless.
        warnings: Vec<String>,
        /// Whether the pod has an image in the target then.
        runs_from_target: bool,
    },
    /// It is refused.
    Deny {
        /// All images and how each of them stands, for people.
        message: String,
        /// The HTTP status of the refusal.
        code: u16,
    },
}

/// What one image means for the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// It stays as it is, and nobody need know.
    Pass,
    /// The same, and it is in the target.
    InTarget,
    /// It gets the reference of its replica.
    Rewrite(ImageReference),
    /// It stays at its source (by the digest that was verified, if one was), with a warning.
    Leave,
    /// It cannot run.
    Refuse(Obstacle),
}

/// Why an image cannot run, as far as it decides what to do; the worst is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    /// Its replica is not there yet; asking again helps.
    NotYet,
    /// The replicator answers that it cannot say.
    CannotSay,
    /// The host could not look at its signature.
    NotVerified,
    /// There was no time left to ask about it.
    OutOfTime,
    /// The replicator gave no answer.
    NoAnswer,
    /// It is not to be had, or not allowed.
    Never,
    /// The pod names no image.
    NoReference,
}

impl Obstacle {
    /// Programs that make pods (workflow engines, operators) take 503 for "try again later".
    fn http_status(self) -> u16 {
        match self {
            Self::NotYet
            | Self::CannotSay
            | Self::NotVerified
            | Self::OutOfTime
            | Self::NoAnswer => 503,
            Self::Never => 403,
            Self::NoReference => 400,
        }
    }
}

/// The verdict on a pod with these images.
pub(crate) fn decide<'a>(
    images: &'a [Image],
    inquiries: &[Inquiry],
    settings: &Settings,
    dry_run: bool,
) -> Verdict<'a> {
    let known: Vec<Known<'a, '_>> = images
        .iter()
        .zip(inquiries)
        .map(|(image, inquiry)| (image, inquiry, outcome(inquiry, settings, dry_run)))
        .collect();
    let obstacles: BTreeSet<Obstacle> = known
        .iter()
        .filter_map(|(_, _, outcome)| match outcome {
            Outcome::Refuse(obstacle) => Some(*obstacle),
            _ => None,
        })
        .collect();
    match obstacles.last() {
        Some(worst) => Verdict::Deny {
            message: refusal(&known, &obstacles, settings),
            code: worst.http_status(),
        },
        None => admission(known, settings),
    }
}

/// An image, what was asked about it, and what it means.
type Known<'a, 'b> = (&'a Image, &'b Inquiry, Outcome);

/// The verdict where nothing keeps the pod.
fn admission<'a>(known: Vec<Known<'a, '_>>, settings: &Settings) -> Verdict<'a> {
    let mut rewrites = Vec::new();
    let mut warnings = Vec::new();
    let mut runs_from_target = false;
    for (image, inquiry, outcome) in known {
        let finding = &inquiry.finding;
        match outcome {
            Outcome::Rewrite(reference) => {
                warnings.extend(wording::stale(image, finding, settings));
                if inquiry.terms.pin && reference.digest().is_none() {
                    warnings.push(wording::not_pinned(image, finding, settings));
                }
                rewrites.push(Rewrite { image, reference: reference.to_string() });
                runs_from_target = true;
            }
            Outcome::Leave => {
                warnings.push(wording::left_at_source(image, finding, settings));
                if let Some(source) = &inquiry.verified {
                    rewrites.push(Rewrite { image, reference: source.to_string() });
                }
            }
            Outcome::InTarget => runs_from_target = true,
            Outcome::Pass | Outcome::Refuse(_) => {}
        }
    }
    Verdict::Allow { rewrites, warnings, runs_from_target }
}

/// The message that refuses a pod: first what keeps it, then the other images, then advice.
fn refusal(known: &[Known<'_, '_>], obstacles: &BTreeSet<Obstacle>, settings: &Settings) -> String {
    let (refused, others): (Vec<_>, Vec<_>) =
        known.iter().partition(|(_, _, outcome)| matches!(outcome, Outcome::Refuse(_)));
    let (count, all) = (refused.len(), known.len());
    let mut lines =
        vec![format!("{count} of {all} images cannot run from {} now:", settings.target)];
    lines.extend(refused.into_iter().chain(others).map(|(image, inquiry, _)| {
        format!("- {}", wording::line(image, &inquiry.finding, settings))
    }));
    if obstacles.contains(&Obstacle::CannotSay) {
        lines.push(wording::cannot_say_advice(settings));
    }
    if obstacles.contains(&Obstacle::NotVerified) {
        lines.push(wording::NOT_VERIFIED_ADVICE.to_owned());
    }
    if obstacles.contains(&Obstacle::OutOfTime) {
        lines.push(wording::out_of_time_advice(settings));
    }
    if obstacles.contains(&Obstacle::NoAnswer) {
        lines.push(wording::no_answer_advice(settings));
    }
    // Trying again is no advice where one of the images will never be there.
    if obstacles.last() == Some(&Obstacle::NotYet) {
        lines.push(wording::NOT_YET_ADVICE.to_owned());
    }
    lines.join("\n")
}

fn outcome(inquiry: &Inquiry, settings: &Settings, dry_run: bool) -> Outcome {
    let terms = inquiry.terms;
    match &inquiry.finding {
        Finding::InTarget => Outcome::InTarget,
        Finding::LeftAlone(_) => Outcome::Pass,
        Finding::NoReference(_) => Outcome::Refuse(Obstacle::NoReference),
        // An answer that cannot be used is as good as somebody else's: trusted in no mode.
        Finding::NotAllowed(_) | Finding::NotSigned(..) | Finding::Unusable(_) => {
            Outcome::Refuse(Obstacle::Never)
        }
        Finding::NotVerified(..) => Outcome::Refuse(Obstacle::NotVerified),
        Finding::Unaskable(_) => without_replica(Obstacle::Never, terms),
        Finding::NoAnswer(_) => without_answer(Obstacle::NoAnswer, settings),
        // What must be signed does not run unless somebody looked.
        Finding::OutOfTime(OutOfTime { is_unverified: true, .. }) => {
            Outcome::Refuse(Obstacle::OutOfTime)
        }
        Finding::OutOfTime(_) => without_answer(Obstacle::OutOfTime, settings),
        Finding::Receipt(receipt) => with_receipt(receipt, terms, dry_run),
        Finding::Refusal(refusal) => with_refusal(refusal, terms, settings),
    }
}

fn with_receipt(receipt: &Receipt, terms: Terms, dry_run: bool) -> Outcome {
    let is_good_enough = match terms.mode {
        Mode::Rewrite => true,
        // A dry run shows the pod as it will be let through in the end.
        Mode::Wait => dry_run || receipt.state.is_there(),
        Mode::Keep => receipt.state.is_there(),
    };
    if !is_good_enough {
        return without_replica(Obstacle::NotYet, terms);
    }
    if terms.is_in_target {
        return Outcome::InTarget;
    }
    let target = receipt.target.clone();
    Outcome::Rewrite(match &receipt.digest {
        Some(digest) if terms.pin => target.pinned(digest.clone()),
        _ => target,
    })
}

fn with_refusal(refusal: &Refusal, terms: Terms, settings: &Settings) -> Outcome {
    match refusal.code {
        RefusalCode::Pending | RefusalCode::TooMany => without_replica(Obstacle::NotYet, terms),
        RefusalCode::NotFound | RefusalCode::Failed => without_replica(Obstacle::Never, terms),
        // No rule says no, but the source itself, which does the same to a pod that has no right.
        RefusalCode::Denied if refusal.side == Some(Side::Source) => {
            without_replica(Obstacle::Never, terms)
        }
        RefusalCode::Unavailable => without_answer(Obstacle::CannotSay, settings),
        // A code that is not known may mean that the image is not allowed.
        RefusalCode::Denied | RefusalCode::Malformed | RefusalCode::Unknown => {
            Outcome::Refuse(Obstacle::Never)
        }
    }
}

/// `keep` never holds a pod up for a copy, whatever became of it. But a reference into the
/// target has no source to stay at.
fn without_replica(obstacle: Obstacle, terms: Terms) -> Outcome {
    match terms.mode {
        Mode::Keep if !terms.is_in_target => Outcome::Leave,
        Mode::Keep | Mode::Rewrite | Mode::Wait => Outcome::Refuse(obstacle),
    }
}

fn without_answer(obstacle: Obstacle, settings: &Settings) -> Outcome {
    match settings.on_unavailable {
        OnUnavailable::Allow => Outcome::Leave,
        OnUnavailable::Deny => Outcome::Refuse(obstacle),
    }
}

#[cfg(test)]
mod tests;
