//! What the settings say of one image, before anybody is asked about it.
//!
//! It must not know hosts or answers.

use protocol::ImageReference;

use crate::settings::{Action, Mode, Settings, TargetReferences, Verification};

/// What is to be done about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan<'a> {
    /// It leads into the target already, and that is enough.
    InTarget,
    /// It is left alone.
    LeftAlone(By),
    /// It is refused by the rule of this number.
    NotAllowed(usize),
    /// The replicator is asked, on these terms, once the signature is found good.
    Ask(Terms, Option<Signature<'a>>),
}

/// What leaves an image alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The setting `ignoreImages`.
    IgnoreImages,
    /// The rule of this number.
    Rule(usize),
}

/// On what terms an image is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What happens while its replica is missing.
    pub(crate) mode: Mode,
    /// Whether its new reference gets the replica's digest.
    pub(crate) pin: bool,
    /// Whether the reference leads into the target already: it is to be known, not rewritten.
    pub(crate) is_in_target: bool,
}

/// A signature that must be found good, by the rule of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    /// Who must have signed.
    pub(crate) by: &'a Verification,
    /// The rule's number.
    pub(crate) rule: usize,
}

/// The terms that hold where no rule says otherwise.
pub(crate) fn usual_terms(settings: &Settings) -> Terms {
    Terms { mode: settings.mode, pin: settings.pin, is_in_target: false }
}

/// What the settings say of `image`.
///
/// Rules are about sources: a reference that leads into the target is past them, else what a
/// rule let in would be refused when the pod comes by again.
pub(crate) fn plan<'a>(image: &ImageReference, settings: &'a Settings) -> Plan<'a> {
    let usual = usual_terms(settings);
    if settings.target.contains(image) {
        return match settings.target_references {
            TargetReferences::Allow => Plan::InTarget,
            TargetReferences::Known => Plan::Ask(Terms { is_in_target: true, ..usual }, None),
        };
    }
    if settings.ignore_images.iter().any(|pattern| pattern.matches(image)) {
        return Plan::LeftAlone(By::IgnoreImages);
    }
    let Some(rule) = settings.rules.iter().find(|rule| rule.has(image)) else {
        return Plan::Ask(usual, None);
    };
    match &rule.action {
        Action::Skip => Plan::LeftAlone(By::Rule(rule.number)),
        Action::Deny => Plan::NotAllowed(rule.number),
        Action::Replicate { mode, pin, verify } => Plan::Ask(
            Terms { mode: mode.unwrap_or(usual.mode), pin: pin.unwrap_or(usual.pin), ..usual },
            verify.as_ref().map(|by| Signature { by, rule: rule.number }),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(more: &Value) -> Settings {
        let mut value = json!({"replicator": "r.example:8443", "target": "t.example/mirror"});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Settings::read(&value).unwrap()
    }

    fn planned(image: &str, more: &Value) -> String {
        format!("{:?}", plan(&image.parse().unwrap(), &settings(more)))
    }

    #[test]
    fn of_several_rules_that_have_an_image_the_first_one_counts() {
        let rules = json!({"mode": "wait", "rules": [
            {"images": "quay.io/a/b", "mode": "keep", "pin": true},
            {"images": ["quay.io/a/*", "quay.io/x/**"], "skip": true},
            {"images": "quay.io/**", "deny": true},
            {"images": "**"},
        ]});
        let asked =
            |mode, pin| format!("{:?}", Plan::Ask(Terms { mode, pin, is_in_target: false }, None));
        assert_eq!(planned("quay.io/a/b:1", &rules), asked(Mode::Keep, true));
        assert_eq!(planned("quay.io/a/c:1", &rules), "LeftAlone(Rule(2))");
        assert_eq!(planned("quay.io/x/y/z", &rules), "LeftAlone(Rule(2))");
        assert_eq!(planned("quay.io/b:1", &rules), "NotAllowed(3)");
        assert_eq!(planned("nginx", &rules), asked(Mode::Wait, false));
    }

    #[test]
    fn what_is_ignored_is_past_the_rules_and_what_is_in_the_target_past_both() {
        let more = json!({"ignoreImages": ["**"], "rules": [{"images": "**", "deny": true}]});
        assert_eq!(planned("nginx", &more), "LeftAlone(IgnoreImages)");
        assert_eq!(planned("t.example/mirror/x:1", &more), "InTarget");
        let known = json!({"targetReferences": "known", "rules": [{"images": "**", "deny": true}]});
        assert!(planned("t.example/mirror/x:1", &known).contains("is_in_target: true"));
        assert_eq!(planned("t.example/mirrored/x:1", &known), "NotAllowed(1)");
    }
}
