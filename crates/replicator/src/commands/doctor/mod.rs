//! `doctor`: looks at all that a replicator needs, and says of each thing what is to be done.
//!
//! It changes nothing: no schema, no lease, no image. The upload by which it shows the right to
//! push is given up at once. A replicator may run beside it.

mod checks;
mod finding;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use serde::Serialize;

use super::output::Output;
use super::{Exit, Failure};
use crate::clock::Clock;
use crate::config::Config;
use checks::Patient;
use finding::{Finding, Verdict};

/// Things that are looked at at once: each is a host that may be slow.
const CHECKS_AT_ONCE: usize = 16;

/// How long one thing may take: a name, a connection, a token and a few requests of a registry
/// that is well take a second.
const CHECK_TIME: Duration = Duration::from_secs(20);

/// How long what was opened at registries may take to be given up.
const GIVING_UP_TIME: Duration = Duration::from_secs(5);

/// What `doctor` is told.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub(crate) struct Doctor {
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    output: Output,
}

const EXITS: &str = "\
Ends with 0 when nothing fails, 1 when something gives no answer and may do so later, 2 when the
configuration cannot be used, 3 when something has to be mended. Changes nothing: a replicator may
run beside it.";

/// One thing that is looked at.
struct Check<'a> {
    /// Which, should it take too long.
    name: &'static str,
    subject: String,
    look: LocalBoxFuture<'a, Vec<Finding>>,
}

/// What was found, in the order in which it is to be mended.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Verdict,
    findings: Vec<Finding>,
    #[serde(skip)]
    exit: Exit,
}

impl Doctor {
    /// Looks at everything.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let report = self.report().await?;
        self.output.print(&report, &report)?;
        Ok(report.exit)
    }

    async fn report(&self) -> Result<Report, Failure> {
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(error) => {
                let found = checks::configuration::unusable(&self.config, &error);
                return Ok(Report { exit: Exit::Usage, ..Report::of(vec![found]) });
            }
        };
        let patient = Patient::new(self.config.clone(), config, Clock::wall())?;
        let findings = examine(checks::all(&patient)).await;
        patient.client.uploads_ended(GIVING_UP_TIME).await;
        Ok(Report::of(findings))
    }
}

/// Looks at all of it, and keeps the order.
async fn examine(checks: Vec<Check<'_>>) -> Vec<Finding> {
    let looks = checks.into_iter().map(|Check { name, subject, look }| async move {
        tokio::time::timeout(CHECK_TIME, look).await.unwrap_or_else(|_| {
            let found = format!("it was not known after {} s", CHECK_TIME.as_secs());
            vec![Finding::away(name, subject, found, "look whether the way there is open")]
        })
    });
    let findings = futures::stream::iter(looks).buffered(CHECKS_AT_ONCE);
    findings.collect::<Vec<_>>().await.concat()
}

impl Report {
    fn of(findings: Vec<Finding>) -> Self {
        let failed = || findings.iter().filter(|finding| finding.verdict == Verdict::Fail);
        let exit = match failed().next() {
            None => Exit::Done,
            Some(_) if failed().all(|finding| finding.may_pass) => Exit::Failed,
            Some(_) => Exit::Refused,
        };
        let verdict = findings.iter().map(|finding| finding.verdict).max();
        Self { verdict: verdict.unwrap_or(Verdict::Ok), findings, exit }
    }
}

/// A line for each finding, and below it what is to be done.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

#[cfg(test)]
mod tests;
