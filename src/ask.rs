//! One question about each image, and what is known of it afterwards.
//!
//! The question is a trigger, the answer a receipt or a refusal. Neither is believed before it
//! is held against the question: it must be about this image, and lead into the target. What
//! follows for the pod is [`crate::decide`]'s.

use protocol::{ImageReference, Namespace, Receipt, Refusal, RefusalCode, Trigger, Verb};

use crate::host::Host;
use crate::images::Image;
use crate::settings::{Mode, OnUnavailable, Settings};

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The text is no image reference; why.
    NoReference(String),
    /// The reference leads into the target already.
    InTarget,
    /// There is no way to ask about this image; why.
    Unaskable(String),
    /// The replicator says where the replica is, or will be.
    Receipt(Receipt),
    /// The replicator says why there is none.
    Refusal(Refusal),
    /// The replicator gave no answer; the host's words, or None where it was not tried again.
    NoAnswer(Option<String>),
    /// There was an answer, but not one to act upon; why.
    Unusable(String),
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

impl<H: Host> Questions<'_, H> {
    /// Asks about each image, one after the other.
    pub(crate) fn ask_all(&self, images: &[Image]) -> Vec<Finding> {
        let mut gave_no_answer = false;
        let mut findings = Vec::with_capacity(images.len());
        for image in images {
            let finding = match &image.reference {
                Err(reason) => Finding::NoReference(reason.clone()),
                Ok(source) if self.settings.target.contains(source) => Finding::InTarget,
                // The pod is refused already, and each further try can cost as long as the first.
                Ok(_) if gave_no_answer => Finding::NoAnswer(None),
                Ok(source) => self.ask(source),
            };
            gave_no_answer |= matches!(finding, Finding::NoAnswer(_))
                && self.settings.on_unavailable == OnUnavailable::Deny;
            findings.push(finding);
        }
        findings
    }

    fn ask(&self, source: &ImageReference) -> Finding {
        let trigger = Trigger {
            verb: self.verb(),
            namespace: self.namespace.clone(),
            source: source.clone(),
        };
        let path = match trigger.encode() {
            Ok(path) => path,
            Err(error) => return Finding::Unaskable(error.to_string()),
        };
        match self.host.oci_manifest(&format!("{}/{path}", self.settings.replicator)) {
            Ok(body) => match Receipt::from_json(&body) {
                Ok(receipt) => self.check_receipt(source, receipt),
                Err(error) => Finding::Unusable(error.to_string()),
            },
            Err(text) => match Refusal::find(&text) {
                Some(refusal) => check_refusal(source, refusal),
                None => Finding::NoAnswer(Some(text)),
            },
        }
    }

    fn verb(&self) -> Verb {
        match self.settings.mode {
            _ if self.dry_run => Verb::Plan,
            Mode::Rewrite => Verb::Start,
            Mode::Wait | Mode::Keep => Verb::Replica,
        }
    }

    fn check_receipt(&self, source: &ImageReference, receipt: Receipt) -> Finding {
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
