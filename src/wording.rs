//! The words that people read: how an image stands, why a pod is refused, what to be warned of.
//!
//! One place, so that the same thing is said in the same words everywhere. Foreign text (of
//! registries, hosts, pods) gets in only through [`clean`].

use protocol::{Progress, Receipt, Refusal, RefusalCode, ReplicaState};
use workload::Image;

use crate::ask::{Finding, OutOfTime};
use crate::plan::By;
use crate::settings::{OnUnavailable, Settings};

/// How much of a foreign text is repeated: enough for a registry's error with its URL.
const MAX_REASON_CHARS: usize = 400;

/// How much of an image's name is repeated: a legal one with a digest is seldom longer.
const MAX_NAME_CHARS: usize = 400;

/// How many places of one image are named before the rest is only counted.
const MAX_NAMED_PLACES: usize = 4;

/// What the guest's and the host's layers put before an error, and which tells people nothing.
const HOST_LAYERS: [&str; 2] = ["Host error: ", "Callback evaluation failure: "];

/// One image and how it stands.
pub(crate) fn line(image: &Image, finding: &Finding, settings: &Settings) -> String {
    format!("{}: {}", name(image), state(finding, settings))
}

/// The warning that an image runs from its source.
pub(crate) fn left_at_source(image: &Image, finding: &Finding, settings: &Settings) -> String {
    let by_setting = match settings.on_unavailable {
        OnUnavailable::Allow if gave_no_answer(finding) => " (`onUnavailable` is `allow`)",
        OnUnavailable::Allow | OnUnavailable::Deny => "",
    };
    format!("left at its source{by_setting}: {}", line(image, finding, settings))
}

/// The warning that a replica may be older than its source; None where it is not.
pub(crate) fn stale(image: &Image, finding: &Finding, settings: &Settings) -> Option<String> {
    let is_stale =
        matches!(finding, Finding::Receipt(receipt) if receipt.state == ReplicaState::Stale);
    is_stale.then(|| format!("replica may be out of date: {}", line(image, finding, settings)))
}

/// The warning that a reference has no digest, though it should have one.
pub(crate) fn not_pinned(image: &Image, finding: &Finding, settings: &Settings) -> String {
    format!("not pinned, its digest is not known yet: {}", line(image, finding, settings))
}

/// The warning that nothing was done about a pod.
pub(crate) fn opted_out(annotation: &str) -> String {
    format!("the images are left alone, as the annotation `{annotation}` says")
}

/// What to do where signatures could not be looked at.
pub(crate) const NOT_VERIFIED_ADVICE: &str = "The policy server could not look at a signature: see \
    that it reaches the registry of the image and has its credentials (imagePullSecret), and that \
    the policy may use the host capability oci/v2/verify.";

/// What to do where copies are under way.
pub(crate) const NOT_YET_ADVICE: &str =
    "A controller tries again by itself; what was made by hand is to be made again.";

/// What to do where the replicator gave no answer.
pub(crate) fn no_answer_advice(settings: &Settings) -> String {
    format!(
        "The replicator {} gave no answer, and `onUnavailable` is `deny`: see that it runs, that \
         the policy server has its CA (sourceAuthorities) and credentials (imagePullSecret) for \
         exactly this address, and that the policy may use the host capability \
         oci/v1/oci_manifest; or set `onUnavailable` to `allow`.",
        settings.replicator
    )
}

/// What to do where the replicator answered that it cannot say anything.
pub(crate) fn cannot_say_advice(settings: &Settings) -> String {
    format!(
        "The replicator {} is not able to answer, and `onUnavailable` is `deny`: see its log, or \
         set `onUnavailable` to `allow`.",
        settings.replicator
    )
}

/// What to do where there was no time to ask about all images.
pub(crate) fn out_of_time_advice(settings: &Settings) -> String {
    format!(
        "There was no time to ask about all images: see why the replicator {} is slow to answer, \
         or the registry of an image whose signature is looked at; or raise `budgetMs`, which must \
         stay below the policy server's own timeout. Trying again can help, as the policy server \
         keeps good answers for a minute.",
        settings.replicator
    )
}

/// Whether there is no answer of the replicator about the image.
pub(crate) fn gave_no_answer(finding: &Finding) -> bool {
    match finding {
        Finding::NoAnswer(_) | Finding::OutOfTime(_) => true,
        Finding::Refusal(refusal) => refusal.code == RefusalCode::Unavailable,
        _ => false,
    }
}

/// `docker.io/library/nginx:1.27 (container web, volume data)`
fn name(image: &Image) -> String {
    let mut name = clean(&image.name(), MAX_NAME_CHARS);
    for (index, place) in image.places.iter().take(MAX_NAMED_PLACES).enumerate() {
        name.push_str(if index == 0 { " (" } else { ", " });
        name.push_str(&clean(&place.to_string(), MAX_NAME_CHARS));
    }
    match image.places.len().saturating_sub(MAX_NAMED_PLACES) {
        0 => {}
        more => name.push_str(&format!(" and {more} more")),
    }
    name.push(')');
    name
}

/// How an image stands.
fn state(finding: &Finding, settings: &Settings) -> String {
    let reason = |reason: &str| clean(reason, MAX_REASON_CHARS);
    match finding {
        Finding::InTarget => "in the target already".to_owned(),
        Finding::LeftAlone(By::IgnoreImages) => "left alone by `ignoreImages`".to_owned(),
        Finding::LeftAlone(By::Rule(rule)) => format!("left alone by rule {rule}"),
        Finding::NotAllowed(rule) => format!("not allowed by rule {rule}"),
        Finding::NotSigned(rule, why) => {
            format!("not signed as rule {rule} asks: {}", reason(of_host(why)))
        }
        Finding::NotVerified(rule, why) => {
            format!("its signature (rule {rule}) could not be looked at: {}", reason(of_host(why)))
        }
        Finding::NoReference(why) => format!("not an image reference: {}", reason(why)),
        Finding::Unaskable(why) => format!("cannot be asked for: {}", reason(why)),
        Finding::Unusable(why) => {
            format!("the replicator's answer cannot be used: {}", reason(why))
        }
        Finding::NoAnswer(None) => "not asked, as the replicator gave no answer".to_owned(),
        Finding::NoAnswer(Some(why)) => {
            format!(
                "no answer from the replicator {}: {}",
                settings.replicator,
                reason(of_host(why))
            )
        }
        Finding::OutOfTime(out_of_time) => not_asked(out_of_time, settings),
        Finding::Receipt(receipt) => receipt_state(receipt),
        Finding::Refusal(refusal) => refusal_state(refusal, &reason(&refusal.message)),
    }
}

fn not_asked(out_of_time: &OutOfTime, settings: &Settings) -> String {
    let OutOfTime { took, asked, all, is_unverified } = out_of_time;
    let what = if *is_unverified { "not asked, its signature not looked at" } else { "not asked" };
    format!(
        "{what}: the questions about {asked} of {all} images took {} ms, `budgetMs` is {}",
        took.as_millis(),
        settings.budget.as_millis()
    )
}

/// What a host's error says, without what wraps it and what it says twice.
fn of_host(text: &str) -> &str {
    let mut text = text.split("Caused by:").next().unwrap_or_default();
    for layer in HOST_LAYERS {
        text = text.strip_prefix(layer).unwrap_or(text);
    }
    text
}

fn receipt_state(receipt: &Receipt) -> String {
    match (receipt.state, receipt.age_s) {
        (ReplicaState::Planned, _) => "not there yet".to_owned(),
        (ReplicaState::Copying, _) => copying(receipt.progress),
        (ReplicaState::Present, _) => "present".to_owned(),
        (ReplicaState::Stale, Some(age_s)) => {
            format!("stale: its source last confirmed it {} ago", age(age_s))
        }
        (ReplicaState::Stale, None) => "stale: its source has not confirmed it lately".to_owned(),
    }
}

fn refusal_state(refusal: &Refusal, message: &str) -> String {
    match refusal.code {
        RefusalCode::Pending => match refusal.progress {
            None => format!("waiting: {message}"),
            progress => copying(progress),
        },
        RefusalCode::NotFound => format!("not found: {message}"),
        RefusalCode::Denied => format!("denied: {message}"),
        RefusalCode::Failed => format!("failed: {message}"),
        RefusalCode::TooMany => format!("not taken on yet: {message}"),
        RefusalCode::Unavailable => format!("the replicator cannot say: {message}"),
        RefusalCode::Malformed => format!("the replicator did not understand: {message}"),
        RefusalCode::Unknown => format!("refused: {message}"),
    }
}

fn copying(progress: Option<Progress>) -> String {
    match progress {
        Some(progress) if progress.bytes_total > 0 => format!("copying {progress}"),
        _ => "copying, its size is not known yet".to_owned(),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A foreign text in one line of at most `limit` characters: control characters and those that
/// turn or hide text become spaces, runs of spaces one, and what is left out is marked.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut cleaned = String::new();
    let mut length = 0;
    let mut is_gap = true;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() || is_invisible(c) {
            if !is_gap {
                cleaned.push(' ');
                length += 1;
            }
            is_gap = true;
        } else {
            cleaned.push(c);
            length += 1;
            is_gap = false;
        }
        if length > limit {
            cleaned.pop();
            cleaned.push('…');
            return cleaned;
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

/// Characters of no width, and those that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_one_bounded_line() {
        assert_eq!(clean("a\r\n\tb\u{0}\u{1b}[31m  c ", 100), "a b [31m c");
        assert_eq!(clean("evil\u{202e}txt", 100), "evil txt");
        assert_eq!(clean("ä".repeat(10).as_str(), 10), "ä".repeat(10));
        assert_eq!(clean("ä".repeat(11).as_str(), 10), format!("{}…", "ä".repeat(10)));
        assert_eq!(clean(" \n ", 10), "");
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_people_think_in() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }
}
