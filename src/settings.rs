//! The policy's settings: parsed into values that are valid, or errors that say what is right.
//!
//! All errors are told at once, each with the key that it is about. It must not know images
//! or answers, only what an operator may write.

pub mod keys;
mod reader;
mod rules;
mod verification;

use std::ops::RangeInclusive;
use std::time::Duration;

use protocol::{ImagePattern, Namespace, Registry, TargetRoot};
use serde_json::Value;
use workload::Kind;

use keys::SETTINGS;
use reader::{Choice, Reader};

pub(crate) use rules::{Action, Rule};
pub(crate) use verification::Verification;

/// The namespaces that are left alone where nothing else is said: what runs there must start
/// before, or without, the replicator.
const IGNORED_NAMESPACES: [&str; 3] = ["image-replicator", "kube-system", "kubewarden"];

/// How long the questions about one pod may take where nothing else is said. A policy server
/// stops a policy after 2 s by default; its clock has ticks of a second, so that 1 s is certain.
/// The rest is for the question under way, usually some 11 ms, and for the verdict.
const DEFAULT_BUDGET_MS: u64 = 800;

/// How long they may be let take: time for a few questions at least, and at most the 29 s that
/// are certain of a policy server's longest timeout, 30 s.
const BUDGET_MS: RangeInclusive<u64> = 100..=29_000;

/// The longest name of a Secret (RFC 1123 subdomain).
const MAX_SECRET_NAME_LENGTH: usize = 253;

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The replicator's address: the registry that triggers are addressed to.
    pub(crate) replicator: Registry,
    /// Where replicas live, and nothing else may be put into a pod.
    pub(crate) target: TargetRoot,
    /// What happens while a replica is missing.
    pub(crate) mode: Mode,
    /// What happens while the replicator gives no answer.
    pub(crate) on_unavailable: OnUnavailable,
    /// How long the questions about one pod may take.
    pub(crate) budget: Duration,
    /// Whether references get the replica's digest.
    pub(crate) pin: bool,
    /// The kinds whose images are rewritten.
    pub(crate) kinds: Vec<Kind>,
    /// What holds for some sources.
    pub(crate) rules: Vec<Rule>,
    /// The images that are left alone.
    pub(crate) ignore_images: Vec<ImagePattern>,
    /// The namespaces that are left alone.
    pub(crate) ignore_namespaces: Vec<String>,
    /// The pull secrets that pods get.
    pub(crate) image_pull_secrets: Vec<String>,
    /// What becomes of references that lead into the target.
    pub(crate) target_references: TargetReferences,
    /// The annotation by which a pod opts out; None where none can.
    pub(crate) opt_out_annotation: Option<String>,
}

/// What happens while a replica is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Start the copy and rewrite at once: the kubelet retries until the replica is there.
    #[default]
    Rewrite,
    /// Refuse the pod until the replica is there: its controller tries again.
    Wait,
    /// Leave the source until the replica is there.
    Keep,
}

/// What happens while the replicator gives no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnUnavailable {
    /// Refuse the pod.
    #[default]
    Deny,
    /// Let the pod through as it is, with a warning.
    Allow,
}

/// What becomes of references that lead into the target already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TargetReferences {
    /// They pass.
    #[default]
    Allow,
    /// The replicator is asked, and what it does not know is refused.
    Known,
}

impl Choice for Mode {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("rewrite", Self::Rewrite), ("wait", Self::Wait), ("keep", Self::Keep)];
}

impl Choice for OnUnavailable {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("allow", Self::Allow)];
}

impl Choice for TargetReferences {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("allow", Self::Allow), ("known", Self::Known)];
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] = &Kind::BY_NAME;
}

impl Settings {
    /// Reads the settings; the error lists all that is wrong, for people.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let mut reader = Reader::new(value, &SETTINGS, "the settings are", "");
        let replicator = reader.required("replicator", parse_replicator);
        let target = reader.required("target", parse_target);
        if let (Some(replicator), Some(target)) = (&replicator, &target)
            && replicator == target.registry()
        {
            reader.error(
                "replicator",
                "is the same address as the registry in `target`; the replicator answers triggers \
                 at an address of its own, it does not serve images",
            );
        }
        let mode = reader.choice("mode").unwrap_or_default();
        let on_unavailable = reader.choice("onUnavailable").unwrap_or_default();
        let budget_ms = reader.number("budgetMs", BUDGET_MS).unwrap_or(DEFAULT_BUDGET_MS);
        let pin = reader.flag("pin").unwrap_or(false);
        let kinds = reader.choices("kinds").unwrap_or_else(|| vec![Kind::Pod]);
        let rules = rules::read(&mut reader);
        let ignore_images = reader.texts("ignoreImages", str::parse).unwrap_or_default();
        let ignore_namespaces = reader
            .texts("ignoreNamespaces", |text| text.parse().map(|name: Namespace| name.to_string()))
            .unwrap_or_else(|| IGNORED_NAMESPACES.map(str::to_owned).to_vec());
        let image_pull_secrets = reader.texts("imagePullSecrets", parse_secret).unwrap_or_default();
        let target_references = reader.choice("targetReferences").unwrap_or_default();
        let opt_out_annotation =
            reader.optional("optOutAnnotation", parse_annotation).unwrap_or_default();
        reader.finish()?;
        // Where nothing was wrong both are there.
        let (Some(replicator), Some(target)) = (replicator, target) else {
            return Err("`replicator` and `target` are missing".to_owned());
        };
        Ok(Self {
            replicator,
            target,
            mode,
            on_unavailable,
            budget: Duration::from_millis(budget_ms),
            pin,
            kinds,
            rules,
            ignore_images,
            ignore_namespaces,
            image_pull_secrets,
            target_references,
            opt_out_annotation,
        })
    }
}

fn parse_replicator(text: &str) -> Result<Registry, String> {
    refuse_scheme(text)?;
    if let Some((address, path)) = text.split_once('/') {
        return Err(format!("has the path `/{path}`: leave it out, write `{address}`"));
    }
    let address: Registry = text.parse().map_err(|_| {
        if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !text.is_empty() {
            format!(
                "`{text}` would be taken for the name of an image: write it with its port or domain"
            )
        } else {
            format!("`{text}` is no address")
        }
    })?;
    // The host looks up the replicator's CA and credentials by this very text.
    if address.as_str() == text {
        Ok(address)
    } else {
        Err(format!(
            "`{text}` is to be written `{address}`, here and where the policy server has its CA and its credentials"
        ))
    }
}

fn parse_target(text: &str) -> Result<TargetRoot, String> {
    refuse_scheme(text)?;
    text.parse().map_err(|error: protocol::ReferenceError| error.to_string())
}

fn parse_secret(text: &str) -> Result<String, String> {
    let is_legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_name = (1..=MAX_SECRET_NAME_LENGTH).contains(&text.len())
        && text.bytes().all(is_legal)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.']);
    is_name.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no name of a Secret"))
}

/// An annotation's name; what is empty (as a form leaves it) is none.
fn parse_annotation(text: &str) -> Result<Option<String>, String> {
    let is_part = |part: &str| {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !part.is_empty() && part.bytes().all(is_legal)
    };
    match text {
        "" => Ok(None),
        "true" | "false" => Err(format!(
            "`{text}` is no name of an annotation: write one of yours, such as \
             `image-replicator.io/opt-out`"
        )),
        _ if text.splitn(2, '/').all(is_part) => Ok(Some(text.to_owned())),
        _ => Err(format!("`{text}` is no name of an annotation")),
    }
}

fn refuse_scheme(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            Err(format!("begins with `{scheme}://`: leave it out, write `{rest}`"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
