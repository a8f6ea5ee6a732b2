//! The rules: whether each of them can ever decide about something.

use super::{Finding, Patient};

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let shadowed = patient.config.rules.shadowed();
    let warn = |(rule, by): &(_, _)| {
        let found =
            format!("rule '{rule}' never decides: rule '{by}' before it has all that it has");
        Finding::warn(
            "rules",
            "rules",
            found,
            format!("put '{rule}' before '{by}', or take it out"),
        )
    };
    match shadowed.len() {
        0 => vec![Finding::ok("rules", "rules", "each can decide about something")],
        _ => shadowed.iter().map(warn).collect(),
    }
}
