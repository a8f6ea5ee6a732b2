//! `verify`: what was found of a replica, as lines for people. The last one sums up.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use copy::{Damage, Finding, PartKind, Report};
use indicatif::HumanBytes;
use protocol::{Digest, ImageReference};
use serde::Serialize;

use super::{Exit, Failure, by_hand, output::Output};

/// What `verify` is told.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub(crate) struct Verify {
    /// The replica: a reference by tag or digest
    target: ImageReference,
    /// Read the manifests alone, and ask for the rest whether it is there and how long it is
    #[arg(long)]
    quick: bool,
    /// A configuration whose registries and target's credentials are used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

const EXITS: &str = "\
Ends with 0 when all is right, 4 when a part is missing or damaged, 1 when it could not be
checked and trying again may help, 3 when the registry refuses or has no such image.
Of a replica that was copied for some platforms only, the others are reported as missing.
A damaged replica is repaired by: image-replicator copy --repair SOURCE TARGET";

impl Verify {
    /// Reads the replica back.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let Self { target, quick, config, output } = self;
        let nobody = |_: &_| Ok::<_, Failure>(None);
        let verifier = by_hand::copier(config.as_deref(), &[&target], nobody)?.verifier();
        let report = match quick {
            false => verifier.verify(&target).await,
            true => verifier.verify_quick(&target).await,
        }?;
        let text = Text { report: &report, quick };
        output.print(&Document::from(&report), text)?;
        Ok(if report.is_right() { Exit::Done } else { Exit::Damaged })
    }
}

/// A report as a document.
#[derive(Serialize)]
struct Document<'a> {
    is_right: bool,
    digest: &'a Digest,
    parts: usize,
    size_bytes: u64,
    findings: Vec<FindingDocument<'a>>,
}

/// A part that is damaged.
#[derive(Serialize)]
struct FindingDocument<'a> {
    damage: String,
    kind: String,
    digest: &'a Digest,
    /// The first manifest that names it; None for the root.
    parent: Option<&'a Digest>,
    platform: Option<String>,
    /// Why it could not be read.
    reason: Option<&'a str>,
}

impl<'a> From<&'a Report> for Document<'a> {
    fn from(report: &'a Report) -> Self {
        let finding = |Finding { part, damage }: &'a Finding| FindingDocument {
            damage: damage.to_string(),
            kind: part.kind.to_string(),
            digest: &part.digest,
            parent: part.parent.as_ref(),
            platform: part.platform.as_ref().map(ToString::to_string),
            reason: match damage {
                Damage::Unreadable { reason } => Some(reason),
                _ => None,
            },
        };
        Self {
            is_right: report.is_right(),
            digest: &report.digest,
            parts: report.parts,
            size_bytes: report.size_bytes,
            findings: report.findings.iter().map(finding).collect(),
        }
    }
}

/// A report as text.
struct Text<'a> {
    /// What was found.
    report: &'a Report,
    /// Whether blobs were looked up and not read.
    quick: bool,
}

/// ```text
/// missing layer sha256:5f70… of sha256:9b1c… (linux/arm64)
/// 1 of 12 parts is damaged
/// ```
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { parts, size_bytes, findings, .. } = self.report;
        findings.iter().try_for_each(|finding| write_finding(f, finding))?;
        let damaged = findings.len();
        let verb = if damaged == 1 { "is" } else { "are" };
        if findings.iter().any(hides_parts) {
            writeln!(f, "what manifests name that could not be read was not looked at")?;
        }
        match (damaged, self.quick) {
            (0, false) => writeln!(f, "{parts} parts, {}, all right", HumanBytes(*size_bytes)),
            (0, true) => writeln!(f, "{parts} parts, {}, all there", HumanBytes(*size_bytes)),
            _ => writeln!(f, "{damaged} of {parts} parts {verb} damaged"),
        }
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Finding { part, damage } = finding;
    write!(f, "{damage} {} {}", part.kind, part.digest)?;
    if let Some(parent) = &part.parent {
        write!(f, " of {parent}")?;
    }
    if let Some(platform) = &part.platform {
        write!(f, " ({platform})")?;
    }
    if let Damage::Unreadable { reason } = damage {
        write!(f, ": {reason}")?;
    }
    writeln!(f)
}

fn hides_parts(finding: &Finding) -> bool {
    let is_read = matches!(finding.damage, Damage::Short | Damage::Long);
    finding.part.kind == PartKind::Manifest && !is_read
}

#[cfg(test)]
mod tests {
    use super::*;
    use copy::Part;

    fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }

    fn finding(digit: char, kind: PartKind, parent: Option<char>, damage: Damage) -> Finding {
        let platform = parent.map(|_| "linux/arm/v7".parse().unwrap());
        let part = Part { digest: digest(digit), kind, parent: parent.map(digest), platform };
        Finding { part, damage }
    }

    fn report(findings: Vec<Finding>) -> Report {
        Report { digest: digest('0'), parts: 12, size_bytes: 345 << 20, findings }
    }

    #[test]
    fn a_report_is_a_line_a_finding_and_a_sum() {
        let reason = "target r.example failed over app:v1 (500 UNKNOWN)".to_owned();
        let damaged = report(vec![
            finding('1', PartKind::Manifest, Some('0'), Damage::Missing),
            finding('2', PartKind::Manifest, Some('0'), Damage::Unreadable { reason }),
            finding('3', PartKind::Config, Some('4'), Damage::Short),
            finding('5', PartKind::Layer, Some('4'), Damage::Wrong),
        ]);
        let one = report(vec![finding('0', PartKind::Layer, None, Damage::Long)]);
        let right = report(Vec::new());
        let shown = [(&damaged, false), (&one, true), (&right, false), (&right, true)];
        let texts = shown.map(|(report, quick)| Text { report, quick }.to_string());
        insta::assert_snapshot!(texts.join("\n"));
        insta::assert_json_snapshot!(Document::from(&damaged));
    }
}
