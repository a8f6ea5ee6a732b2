//! Rules: which namespace gets which sources, and on which terms. Pure, parsed once.
//!
//! The first rule that has both the image and the namespace decides; what no rule has is not
//! allowed. [`file`] is their form in the configuration.

pub(crate) mod file;

use std::collections::BTreeSet;
use std::sync::Arc;

use copy::Scope;
use protocol::{ImagePattern, ImageReference, Namespace, Registry};

use crate::credentials::{Reader, Who};
use crate::freshness::Check;
use crate::label::Label;
use crate::namespaces::NamespacePattern;

/// The rules, in their order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Arc<[Rule]>);

/// What holds for some sources, in some namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// What it is told by.
    pub(crate) name: Label,
    sources: Vec<ImagePattern>,
    /// None is all.
    namespaces: Option<Vec<NamespacePattern>>,
    /// None where they are denied.
    terms: Option<Terms>,
}

/// How the sources of a rule are copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// With whose credentials they are read.
    pub(crate) reader: Reader,
    /// When they are asked again.
    pub(crate) check: Check,
    /// What of them travels.
    pub(crate) scope: Scope,
}

/// A rule that fits, and what of it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit<'a> {
    /// The rule.
    pub(crate) rule: &'a Rule,
    /// Its pattern that has the image.
    pub(crate) source: &'a ImagePattern,
    /// Its pattern that has the namespace; None where it holds for all.
    pub(crate) namespace: Option<&'a NamespacePattern>,
}

impl Rules {
    /// The rule that decides about `image` in `namespace`; None where none does.
    pub(crate) fn find(&self, namespace: &Namespace, image: &ImageReference) -> Option<Fit<'_>> {
        self.0.iter().find_map(|rule| rule.fit(namespace, image))
    }

    /// On which terms `image` is copied for `namespace`.
    pub(crate) fn allow(
        &self,
        namespace: &Namespace,
        image: &ImageReference,
    ) -> Result<&Terms, NotAllowed> {
        allowed_by(self.find(namespace, image), namespace, image)
    }

    /// Whether a rule lets somebody else than `who` read `image` with credentials: then the right
    /// of one says nothing of the right of another. Which rules come first does not matter here:
    /// too often costs a moment, and too seldom would cost a secret. The same holds while it is
    /// not known who somebody is.
    pub(crate) fn divide(&self, image: &ImageReference, who: &Who) -> bool {
        let identity = who.identity();
        let mut terms = self.0.iter().filter(|rule| rule.has(image)).filter_map(Rule::terms);
        who.is_unread() || terms.any(|terms| terms.reader.is_others(image, &identity))
    }

    /// Whether one has sources that are read with a namespace's own pull secrets.
    pub(crate) fn use_pull_secrets(&self) -> bool {
        let mut terms = self.0.iter().filter_map(Rule::terms);
        terms.any(|terms| matches!(terms.reader, Reader::Namespace(_)))
    }

    /// The registries that rules name and do not deny.
    pub(crate) fn registries(&self) -> BTreeSet<Registry> {
        let rules = self.0.iter().filter(|rule| rule.terms.is_some());
        // A pattern begins with its host, which is exact or `*`.
        let host = |pattern: &ImagePattern| {
            let text = pattern.to_string();
            text.split_once('/').and_then(|(host, _)| host.parse().ok())
        };
        rules.flat_map(|rule| rule.sources.iter().filter_map(host)).collect()
    }

    /// The rules that never decide, as far as that is plain to see, each with the one before it
    /// that has all that it has.
    pub(crate) fn shadowed(&self) -> Vec<(&Label, &Label)> {
        let shadowed = |(index, rule): (usize, &'_ Rule)| {
            self.0[..index].iter().find(|earlier| earlier.covers(rule))
        };
        let rules = self.0.iter().enumerate();
        rules.filter_map(|(at, rule)| Some((&rule.name, &shadowed((at, rule))?.name))).collect()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// On which terms `image` is copied for `namespace` by the rule that decides about both, if there
/// is one.
pub(crate) fn allowed_by<'a>(
    fit: Option<Fit<'a>>,
    namespace: &Namespace,
    image: &ImageReference,
) -> Result<&'a Terms, NotAllowed> {
    fit.and_then(|fit| fit.rule.terms()).ok_or_else(|| NotAllowed {
        image: Box::new(image.clone()),
        namespace: namespace.clone(),
        rule: fit.map(|fit| fit.rule.name.clone()),
    })
}

impl Rule {
    /// On which terms its sources are copied; None where they are denied.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    fn has(&self, image: &ImageReference) -> bool {
        self.sources.iter().any(|pattern| pattern.matches(image))
    }

    /// Whether all that `other` has is plainly among what this one has.
    fn covers(&self, other: &Self) -> bool {
        let has_namespaces = match (&self.namespaces, &other.namespaces) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => theirs.iter().all(|pattern| ours.contains(pattern)),
        };
        let has = |theirs: &ImagePattern| self.sources.iter().any(|ours| covers(ours, theirs));
        has_namespaces && other.sources.iter().all(has)
    }

    fn fit(&self, namespace: &Namespace, image: &ImageReference) -> Option<Fit<'_>> {
        let source = self.sources.iter().find(|pattern| pattern.matches(image))?;
        let namespace = match &self.namespaces {
            None => None,
            Some(patterns) => Some(patterns.iter().find(|pattern| pattern.matches(namespace))?),
        };
        Some(Fit { rule: self, source, namespace })
    }
}

impl Terms {
    /// Who reads `image` for `namespace`.
    pub(crate) fn who(&self, image: &ImageReference, namespace: &Namespace) -> Who {
        self.reader.who(image, namespace)
    }
}

/// Whether a pattern plainly has all that another one has: it is the same, or ends with `/**` where
/// the other goes on.
fn covers(wide: &ImagePattern, narrow: &ImagePattern) -> bool {
    let (wide, narrow) = (wide.to_string(), narrow.to_string());
    let goes_on = |stem: &str| narrow.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/'));
    wide == narrow || wide == "*/**" || wide.strip_suffix("/**").is_some_and(goes_on)
}

/// Why a namespace does not get an image, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct NotAllowed {
    image: Box<ImageReference>,
    namespace: Namespace,
    /// The rule that denies it; None where no rule allows it.
    rule: Option<Label>,
}

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { image, namespace, rule } = self;
        match rule {
            None => write!(
                f,
                "no rule allows {image} in namespace {namespace}; use another image, or have a \
                 rule for it added to the replicator's configuration"
            ),
            Some(rule) => write!(
                f,
                "rule '{rule}' denies {image} in namespace {namespace}; use another image, or have \
                 a rule that allows it put before that one in the replicator's configuration"
            ),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
