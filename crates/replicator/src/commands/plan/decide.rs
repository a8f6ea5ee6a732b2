//! What the rules say of each image, for each namespace that names it. Asks nobody.

use copy::Job;
use protocol::TargetRoot;

use crate::credentials::Who;
use crate::label::Label;
use crate::manifests::{Named, NamedBy};
use crate::rules::{Rules, Terms, allowed_by};

/// An image, in those namespaces about which one rule decides.
pub(crate) struct Decided {
    /// The image, in canonical form where it has one.
    pub(crate) image: String,
    /// Who names it, never nobody.
    pub(crate) by: Vec<NamedBy>,
    /// The rule that decides; None where none has it.
    pub(crate) rule: Option<Label>,
    /// What would be copied, and how; or why nothing is.
    pub(crate) outcome: Result<Allowed, String>,
}

/// An image that is allowed.
pub(crate) struct Allowed {
    /// What would be copied, and where to.
    pub(crate) job: Job,
    /// How.
    pub(crate) terms: Terms,
    /// Who reads it. The pull secrets of a namespace are not seen from here.
    pub(crate) who: Who,
}

/// Holds images against the rules.
pub(crate) fn decide(images: Vec<Named>, rules: &Rules, target: &TargetRoot) -> Vec<Decided> {
    images.into_iter().flat_map(|named| decide_one(named, rules, target)).collect()
}

fn decide_one(named: Named, rules: &Rules, target: &TargetRoot) -> Vec<Decided> {
    let Named { reference, name, by } = named;
    let image = match reference {
        Ok(image) => image,
        Err(why) => {
            return vec![Decided { image: name, by, rule: None, outcome: Err(why) }];
        }
    };
    // Of what leads into the target, that which it is a replica of counts.
    let source = target.source_of(&image).unwrap_or(image);
    let mut decided: Vec<Decided> = Vec::new();
    for by in by {
        let fit = rules.find(&by.namespace, &source);
        let rule = fit.map(|fit| &fit.rule.name);
        if let Some(known) = decided.iter_mut().find(|known| known.rule.as_ref() == rule) {
            known.by.push(by);
            continue;
        }
        let outcome = match (allowed_by(fit, &by.namespace, &source), target.replica_of(&source)) {
            (Ok(terms), Ok(replica)) => {
                let job = Job { source: source.clone(), replica };
                let who = terms.who(&source, &by.namespace);
                Ok(Allowed { job, terms: terms.clone(), who })
            }
            (Err(not_allowed), _) => Err(not_allowed.to_string()),
            (_, Err(no_place)) => Err(no_place.to_string()),
        };
        decided.push(Decided { image: name.clone(), by: vec![by], rule: rule.cloned(), outcome });
    }
    decided
}
