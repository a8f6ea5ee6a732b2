//! The rules: what holds for some sources. Of several that have an image the first one counts.

use protocol::{ImagePattern, ImageReference};
use serde_json::Value;

use super::Mode;
use super::keys::{RULE, VERIFY};
use super::reader::Reader;
use super::verification::{self, Verification};

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its number, as people count.
    pub(crate) number: usize,
    images: Vec<ImagePattern>,
    /// What holds for its images.
    pub(crate) action: Action,
}

/// What holds for a rule's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// They are left alone.
    Skip,
    /// Pods with them are refused.
    Deny,
    /// They are replicated, but not quite as the settings say.
    Replicate {
        /// The mode, if it is another.
        mode: Option<Mode>,
        /// Whether they are pinned, if that is said.
        pin: Option<bool>,
        /// Who must have signed them.
        verify: Option<Verification>,
    },
}

impl Rule {
    /// Whether the rule is about `image`.
    pub(crate) fn has(&self, image: &ImageReference) -> bool {
        self.images.iter().any(|pattern| pattern.matches(image))
    }
}

/// Reads the rules out of the settings.
pub(super) fn read(settings: &mut Reader<'_>) -> Vec<Rule> {
    let items = settings.items("rules").unwrap_or_default();
    let mut rules = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let number = index + 1;
        let place = settings.place_of(format_args!("rule {number}"));
        let mut reader = Reader::new(item, &RULE, &format!("rule {number} is"), place);
        rules.extend(read_rule(&mut reader, number));
        settings.take_over(reader);
    }
    rules
}

fn read_rule(reader: &mut Reader<'_>, number: usize) -> Option<Rule> {
    let images = match reader.value("images") {
        None => {
            reader.missing("images");
            Vec::new()
        }
        Some(Value::String(_)) => reader.optional("images", str::parse).into_iter().collect(),
        Some(Value::Array(items)) if items.is_empty() => {
            reader.error("images", "is empty: the rule is about nothing");
            Vec::new()
        }
        Some(_) => reader.texts("images", str::parse).unwrap_or_default(),
    };
    let mode = reader.choice("mode");
    let pin = reader.flag("pin");
    let is_skip = reader.flag("skip").unwrap_or(false);
    let is_deny = reader.flag("deny").unwrap_or(false);
    let verify = reader.value("verify").and_then(|value| {
        let name = format!("rule {number}: `verify` is");
        let mut inner = Reader::new(value, &VERIFY, &name, reader.place_of("verify"));
        let verify = verification::read(&mut inner);
        reader.take_over(inner);
        verify
    });
    let has_more = mode.is_some() || pin.is_some() || reader.value("verify").is_some();
    if is_skip && (is_deny || has_more) {
        reader.error("skip", "stands alone: such a rule has no `deny`, `mode`, `pin` or `verify`");
    } else if is_deny && has_more {
        reader.error("deny", "stands alone: such a rule has no `skip`, `mode`, `pin` or `verify`");
    }
    let action = match (is_skip, is_deny) {
        (true, _) => Action::Skip,
        (_, true) => Action::Deny,
        _ => Action::Replicate { mode, pin, verify },
    };
    reader.is_good().then_some(Rule { number, images, action })
}
