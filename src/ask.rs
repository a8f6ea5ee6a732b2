//! One question about each image that the settings let be asked about, and what is known of it
//! afterwards.
//!
//! The question is a trigger, the answer a receipt or a refusal. Neither is believed before it
//! is held against the question: it must be about this image, and lead into the target. Where a
//! signature is asked for, the digest that was verified is the one that the question is about.
//! What follows for the pod is [`crate::decide`]'s.
//!
//! A host call cannot be cut short, and a policy server ends an evaluation that is past its time
//! without a reason. So no image is asked about once the questions took all the time they may.

use std::time::{Duration, Instant};

use protocol::{ImageReference, Namespace, Receipt, Refusal, RefusalCode, Trigger, Verb};
use workload::Image;

use crate::host::Host;
use crate::plan::{By, Plan, Signature, Terms, plan, usual_terms};
use crate::settings::{Mode, OnUnavailable, Settings};
use crate::verify::{Failure, verify};

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The text is no image reference; why.
    NoReference(String),
    /// The reference leads into the target already.
    InTarget,
    /// The settings leave the image alone.
    LeftAlone(By),
    /// The rule of this number refuses the image.
    NotAllowed(usize),
    /// The signature that the rule of this number asks for is not there; why.
    NotSigned(usize, String),
    /// The signature that the rule of this number asks for could not be looked at; why.
    NotVerified(usize, String),
    /// There is no way to ask about this image; why.
    Unaskable(String),
    /// The replicator says where the replica is, or will be.
    Receipt(Receipt),
    /// The replicator says why there is none.
    Refusal(Refusal),
    /// The replicator gave no answer; the host's words, or None where it was not tried again.
    NoAnswer(Option<String>),
    /// There was no time left to ask.
    OutOfTime(OutOfTime),
    /// There was an answer, but not one to act upon; why.
    Unusable(String),
}

/// How it came that there was no time left for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutOfTime {
    /// How long the questions before took.
    pub(crate) took: Duration,
    /// How many images they were about.
    pub(crate) asked: usize,
    /// How many images the pod has.
    pub(crate) all: usize,
    /// Whether the image's signature was to be looked at first.
    pub(crate) is_unverified: bool,
}

/// One image's question and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inquiry {
    /// On what terms the image was asked for, or would have been.
    pub(crate) terms: Terms,
    /// The source, pinned to the digest whose signature was found good.
    pub(crate) verified: Option<ImageReference>,
    /// What is known of it.
    pub(crate) finding: Finding,
}

/// What the questions of one request have in common.
pub(crate) struct Questions<'a, H> {
    /// The port to the host.
    pub(crate) host: &'a H,
    /// The policy's settings.
    pub(crate) settings: &'a Settings,
    /// On whose behalf images are asked for.
    pub(crate) namespace: Namespace,
    /// Whether nothing may be started.
    pub(crate) dry_run: bool,
}

/// What has come of the questions so far.
struct Course {
    begun: Instant,
    asked: usize,
    all: usize,
    is_hopeless: bool,
}

impl<H: Host> Questions<'_, H> {
    /// Asks about each image, one after the other.
    pub(crate) fn ask_all(&self, images: &[Image]) -> Vec<Inquiry> {
        let mut course =
            Course { begun: self.host.now(), all: images.len(), asked: 0, is_hopeless: false };
        images.iter().map(|image| self.inquire(image, &mut course)).collect()
    }

    fn inquire(&self, image: &Image, course: &mut Course) -> Inquiry {
        let without =
            |finding| Inquiry { terms: usual_terms(self.settings), verified: None, finding };
        let source = match &image.reference {
            Ok(source) => source,
            Err(reason) => return without(Finding::NoReference(reason.clone())),
        };
        match plan(source, self.settings) {
            Plan::InTarget => without(Finding::InTarget),
            Plan::LeftAlone(by) => without(Finding::LeftAlone(by)),
            Plan::NotAllowed(rule) => without(Finding::NotAllowed(rule)),
            Plan::Ask(terms, signature) => {
                if let Some(finding) = self.keeps_from_asking(course, signature.is_some()) {
                    return Inquiry { terms, verified: None, finding };
                }
                course.asked += 1;
                let inquiry = match signature {
                    None => Inquiry { terms, verified: None, finding: self.ask(source, terms) },
                    Some(signature) => self.ask_verified(source, terms, signature),
                };
                course.is_hopeless |= matches!(inquiry.finding, Finding::NoAnswer(_))
                    && self.settings.on_unavailable == OnUnavailable::Deny;
                inquiry
            }
        }
    }

    /// Why no further image is asked about; None where one is.
    fn keeps_from_asking(&self, course: &Course, is_unverified: bool) -> Option<Finding> {
        // The pod is refused already, and each further try can cost as long as the first.
        if course.is_hopeless {
            return Some(Finding::NoAnswer(None));
        }
        let took = self.host.now().saturating_duration_since(course.begun);
        let Course { asked, all, .. } = *course;
        (asked > 0 && took >= self.settings.budget).then_some(Finding::OutOfTime(OutOfTime {
            took,
            asked,
            all,
            is_unverified,
        }))
    }

    fn ask_verified(
        &self,
        source: &ImageReference,
        terms: Terms,
        signature: Signature<'_>,
    ) -> Inquiry {
        let rule = signature.rule;
        match verify(self.host, source, signature.by) {
            Ok(source) => {
                let finding = self.ask(&source, terms);
                Inquiry { terms, verified: Some(source), finding }
            }
            Err(Failure::NotSigned(why)) => {
                Inquiry { terms, verified: None, finding: Finding::NotSigned(rule, why) }
            }
            Err(Failure::CouldNotLook(why)) => {
                Inquiry { terms, verified: None, finding: Finding::NotVerified(rule, why) }
            }
        }
    }

    fn ask(&self, source: &ImageReference, terms: Terms) -> Finding {
        let trigger = Trigger {
            verb: self.verb(terms.mode),
            namespace: self.namespace.clone(),
            source: source.clone(),
        };
        let path = match trigger.encode() {
            Ok(path) => path,
            Err(error) => return Finding::Unaskable(error.to_string()),
        };
        match self.host.oci_manifest(&format!("{}/{path}", self.settings.replicator)) {
            Ok(body) => match Receipt::from_json(&body) {
                Ok(receipt) => self.check_receipt(source, receipt, terms),
                Err(error) => Finding::Unusable(error.to_string()),
            },
            Err(text) => match Refusal::find(&text) {
                Some(refusal) => check_refusal(source, refusal),
                None => Finding::NoAnswer(Some(text)),
            },
        }
    }

    fn verb(&self, mode: Mode) -> Verb {
        match mode {
            _ if self.dry_run => Verb::Plan,
            Mode::Rewrite => Verb::Start,
            Mode::Wait | Mode::Keep => Verb::Replica,
        }
    }

    fn check_receipt(&self, source: &ImageReference, receipt: Receipt, terms: Terms) -> Finding {
        let target = &receipt.target;
        if receipt.source != *source {
            return Finding::Unusable(about_another(&receipt.source.to_string()));
        }
        if !self.settings.target.contains(target) {
            return Finding::Unusable(format!(
                "it leads to {target}, which is outside of the policy's `target` {}: `target` must \
                 be the same here and in the replicator's configuration",
                self.settings.target
            ));
        }
        if (target.tag(), target.digest()) != (source.tag(), source.digest()) {
            return Finding::Unusable(format!(
                "it leads to {target}, which is another tag or digest than the pod asks for"
            ));
        }
        if terms.is_in_target && *target != *source {
            return Finding::Unusable(format!(
                "it leads to {target}, though the pod's reference is in the target already"
            ));
        }
        match (source.digest(), &receipt.digest) {
            (Some(asked), Some(found)) if asked != found => Finding::Unusable(format!(
                "it says that the replica has the digest {found}, the pod asks for another"
            )),
            _ => Finding::Receipt(receipt),
        }
    }
}

fn check_refusal(source: &ImageReference, refusal: Refusal) -> Finding {
    // A question that the replicator could not read has no image that it could name.
    let is_nameless = refusal.code == RefusalCode::Malformed && refusal.source.is_empty();
    if refusal.source == source.to_string() || is_nameless {
        Finding::Refusal(refusal)
    } else {
        Finding::Unusable(about_another(&refusal.source))
    }
}

fn about_another(image: &str) -> String {
    format!("it is about another image, {image}")
}

#[cfg(test)]
mod tests;
