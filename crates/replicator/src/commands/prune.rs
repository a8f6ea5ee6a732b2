//! `prune`: which replicas nobody uses; with `--yes` they are taken away.

use std::fmt;
use std::time::Duration;

use clap::Args;

use super::output::Output;
use super::server::{Api, KeeperArgs};
use super::table::Table;
use super::words::{BAD, ago, or_nothing, size};
use super::{Exit, Failure};
use crate::freshness::Period;
use crate::status::documents::{Prune as Wish, PruneBegun, PrunePlan, PruneRun};

/// How often it is asked how far a run is.
const LOOK: Duration = Duration::from_secs(1);

/// What `prune` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Prune {
    /// How long nobody must have used an image, from 1h to 365d [default: `retention.unused_for` of
    /// the replicator]
    #[arg(long, value_name = "TIME")]
    unused_for: Option<Period>,
    /// Take them away; without it they are only shown
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: KeeperArgs,
}

const NOTES: &str = "\
An image is unused when nobody has asked for it and no pod has run it for that time, by its
source or its replica, by tag or digest. The replicator must watch pods (`inventory.watch_pods`).
With --yes it also needs the token that the replicator has as `status.token`, and the right to
delete at the target; the command waits for the end. Blobs go with the registry's own garbage
collection.

Examples:
  image-replicator prune --unused-for 90d
  image-replicator prune --unused-for 90d --yes --token-file token";

impl Prune {
    /// Shows what would go; with `--yes` has it taken away, and waits.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let api = self.server.api()?;
        let seconds = self.unused_for.map(|Period(time)| time.as_secs());
        let mut plan = look(&api, seconds).await?;
        if !self.yes {
            self.output.print(&plan, Text(&plan))?;
            return Ok(Exit::Done);
        }
        let began_before = plan.run.as_ref().and_then(|run| run.began_at_ms);
        let _: PruneBegun = api.post("api/v1/prune", &Wish { unused_for_s: seconds }).await?;
        loop {
            tokio::time::sleep(LOOK).await;
            plan = look(&api, seconds).await?;
            // Another replicator may answer now, which knows nothing of it.
            let run = plan.run.as_ref().filter(|run| run.began_at_ms != began_before);
            let Some(run) = run else {
                let why = "another replicator answers now; its log tells of the run";
                return Err(Failure::new(Exit::Failed, why));
            };
            if run.ended_at_ms.is_some() {
                let exit = if run.error.is_some() { Exit::Failed } else { Exit::Done };
                self.output.print(run, Ended(run))?;
                return Ok(exit);
            }
        }
    }
}

async fn look(api: &Api, seconds: Option<u64>) -> Result<PrunePlan, Failure> {
    let seconds = seconds.map(|seconds| seconds.to_string());
    let query: Vec<_> = seconds.iter().map(|seconds| ("unused_for_s", seconds.as_str())).collect();
    Ok(api.get("api/v1/prune", &query).await?)
}

/// A plan as text.
struct Text<'a>(&'a PrunePlan);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        let unused_for = Period(Duration::from_secs(plan.unused_for_s));
        if plan.unused.is_empty() {
            writeln!(f, "there is no image that nobody has used for {unused_for}")?;
        } else {
            let mut table = Table::new(["IMAGE", "SIZE", "ASKED", "RAN"]);
            for image in &plan.unused {
                let sources: Vec<_> = image.sources.iter().map(ToString::to_string).collect();
                table.push([
                    sources.join(", ").into(),
                    or_nothing(image.size_bytes.map(size)).into(),
                    or_nothing(image.last_asked_ms.map(|ms| ago(ms, plan.now_ms))).into(),
                    or_nothing(image.last_run_ms.map(|ms| ago(ms, plan.now_ms))).into(),
                ]);
            }
            write!(f, "{table}")?;
            let more = plan.images.saturating_sub(plan.unused.len() as u64);
            if more > 0 {
                writeln!(f, "and {more} more")?;
            }
            writeln!(
                f,
                "\n{} images that nobody has used for {unused_for}, {} at most",
                plan.images,
                size(plan.size_bytes)
            )?;
        }
        if !plan.kept.is_empty() {
            let mut table = Table::new(["KEPT", "WHY"]);
            for kept in &plan.kept {
                table.push([(&kept.source).into(), (&kept.reason).into()]);
            }
            write!(f, "\n{table}")?;
        }
        match &plan.refused {
            Some(refused) => writeln!(f, "\n{BAD}nothing can be taken away now{BAD:#}: {refused}"),
            None if plan.unused.is_empty() => Ok(()),
            None => writeln!(f, "nothing was taken away; --yes does that"),
        }
    }
}

/// A run as text.
struct Ended<'a>(&'a PruneRun);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PruneRun { removed, kept, manifests, error, .. } = self.0;
        writeln!(f, "{removed} replicas taken away ({manifests} manifests), {kept} kept")?;
        match error {
            Some(error) => writeln!(f, "{BAD}not all was done{BAD:#}: {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::documents::{Kept, Unused};

    #[test]
    fn a_plan_says_what_would_go_why_others_stay_and_what_keeps_it_from_being_done() {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        let unused = Unused {
            sources: vec!["nginx:1.27".parse().unwrap(), "nginx:latest".parse().unwrap()],
            repository: Some("registry.corp/mirror/docker.io/library/nginx".to_owned()),
            digest: None,
            size_bytes: Some(70_000_000),
            last_asked_ms: Some(0),
            last_run_ms: None,
        };
        let kept =
            Kept { source: "quay.io/a/b:1".parse().unwrap(), reason: "a pod runs it".to_owned() };
        let plan = PrunePlan {
            now_ms: 120 * DAY_MS,
            unused_for_s: 90 * 24 * 60 * 60,
            refused: Some("it is not known what runs in the cluster".to_owned()),
            images: 2,
            sources: 3,
            size_bytes: 80_000_000,
            unused: vec![unused],
            kept_count: 1,
            kept: vec![kept],
            ..PrunePlan::default()
        };
        let text = anstream::adapter::strip_str(&Text(&plan).to_string()).to_string();
        insta::assert_snapshot!(text);
    }
}
