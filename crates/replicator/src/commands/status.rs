//! `status`: how things stand, for somebody who has ten seconds: what fails and whose pods wait for
//! it comes first.

use std::fmt;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;

use super::output::{Output, redraw};
use super::server::{Api, Server, ServerArgs};
use super::table::{Table, printable};
use super::words::{BAD, DOUBTFUL, HEAD, ago, duration, list, or_nothing, size, state};
use super::{Exit, Failure};
use crate::status::documents::{Copying, Failed, Health, Overview, RegistryHealth, Waiting};

/// How often `--watch` looks: as fast as figures change that a person can read.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The rows of each list that are shown: what fits on a screen with the others.
const SHOWN: usize = 10;

/// What `status` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Status {
    /// Show it anew every two seconds, on a terminal, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

const NOTES: &str = "\
Ends with 0 when the replicator told how things stand, whatever fails there; `doctor` and the
alerts judge. Lists are cut at ten lines each; --output json has more of them.

Examples:
  kubectl port-forward --namespace image-replicator deploy/image-replicator 9090 &
  image-replicator status
  image-replicator status --output json | jq '.failed[].source'";

impl Status {
    /// Shows it, once or until the end.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let api = self.server.api()?;
        if self.watch {
            if !stdout().is_terminal() || !self.output.is_table() {
                let why = "--watch: it draws a table on a terminal; repeat the command instead";
                return Err(Failure::new(Exit::Usage, why));
            }
            return watch(&api).await;
        }
        let overview: Overview = api.get("api/v1/overview", &[]).await?;
        self.output.print(&overview, Text { overview: &overview, server: api.server() })?;
        Ok(Exit::Done)
    }
}

/// A replicator that is away for a moment, as for an upgrade, comes back.
async fn watch(api: &Api) -> Result<Exit, Failure> {
    loop {
        let shown = match api.get("api/v1/overview", &[]).await {
            Ok(overview) => Text { overview: &overview, server: api.server() }.to_string(),
            Err(error) if error.exit() == Exit::Failed => format!("{error}\n"),
            Err(error) => return Err(error.into()),
        };
        redraw(&shown)?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// An overview as text.
struct Text<'a> {
    overview: &'a Overview,
    server: &'a Server,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview { now_ms, version, ledger, totals, failed, .. } = self.overview;
        let Overview { copying, waiting, stale, registries, troubles, .. } = self.overview;
        writeln!(f, "image-replicator {} at {}", printable(version), self.server)?;
        self.sums(f)?;
        if !ledger.writable {
            let what = "its ledger cannot be written, so nothing new is taken on; its log says why";
            writeln!(f, "{BAD}trouble{BAD:#}  {what}")?;
        }
        for trouble in troubles {
            writeln!(f, "{BAD}trouble{BAD:#}  {}", printable(trouble))?;
        }
        let more = "image-replicator list --state failed, or refused";
        section(f, "Failed", totals.failed, failed_table(failed, *now_ms), more)?;
        let registries = registries_table(registries);
        section(f, "Registries in trouble", registries.len() as u64, registries, "--output json")?;
        let more = "image-replicator list --state copying";
        section(f, "Copying", totals.copying, copying_table(copying, *now_ms), more)?;
        let more = "image-replicator list --state wanted";
        section(f, "Waiting", totals.waiting, waiting_table(waiting, *now_ms), more)?;
        let more = "image-replicator list --state stale";
        section(f, "Stale", totals.stale, failed_table(stale, *now_ms), more)
    }
}

impl Text<'_> {
    /// All counts in a line.
    fn sums(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overview { now_ms, counts, queue, .. } = self.overview;
        let counts = [
            (counts.present, "present"),
            (counts.copying, "copying"),
            (counts.wanted, "wanted"),
            (counts.stale, "stale"),
            (counts.failed, "failed"),
            (counts.refused, "refused"),
        ];
        let counts = counts.map(|(count, state)| format!("{count} {state}")).join(", ");
        write!(f, "images   {counts}\nqueue    ")?;
        match (queue.waiting, queue.oldest_ms) {
            (0, _) => writeln!(f, "nothing waits"),
            (1, Some(ms)) => writeln!(f, "1 waits, for {}", ago(ms, *now_ms)),
            (waiting, None) => writeln!(f, "{waiting} wait"),
            (waiting, Some(ms)) => {
                writeln!(f, "{waiting} wait, the first for {}", ago(ms, *now_ms))
            }
        }
    }
}

/// A list under its head; nothing where it is empty.
fn section<const COLUMNS: usize>(
    f: &mut fmt::Formatter<'_>,
    head: &str,
    total: u64,
    table: Table<COLUMNS>,
    more: &str,
) -> fmt::Result {
    if table.is_empty() {
        return Ok(());
    }
    let shown = table.len().min(SHOWN);
    write!(f, "\n{HEAD}{head} ({total}){HEAD:#}\n{}", table.first(SHOWN))?;
    match total.saturating_sub(shown as u64) {
        0 => Ok(()),
        left => writeln!(f, "and {left} more: {more}"),
    }
}

fn failed_table(failed: &[Failed], now_ms: i64) -> Table<6> {
    let mut table = Table::new(["SOURCE", "STATE", "NAMESPACES", "FAILED", "AGAIN", "WHY"]);
    for failed in failed {
        let is_lasting = failed.failure.as_ref().is_some_and(|failure| failure.is_lasting);
        let again = match failed.next_try_ms {
            Some(ms) => format!("in {}", ago(now_ms, ms)),
            None if is_lasting => "when asked".to_owned(),
            None => "now".to_owned(),
        };
        let times =
            if failed.attempts == 1 { "once" } else { &format!("{} times", failed.attempts) };
        let why = failed.failure.as_ref().map(|failure| &failure.message);
        table.push([
            (&failed.source).into(),
            state(failed.state),
            list(&failed.namespaces).into(),
            times.into(),
            again.into(),
            or_nothing(why).into(),
        ]);
    }
    table
}

fn copying_table(copying: &[Copying], now_ms: i64) -> Table<6> {
    let mut table = Table::new(["SOURCE", "NAMESPACE", "SINCE", "DONE", "RATE", "LEFT"]);
    for copying in copying {
        let progress = copying.progress.as_ref();
        let done = match progress {
            None => "by another replicator".to_owned(),
            Some(progress) if progress.bytes_total == 0 => "begins".to_owned(),
            Some(progress) => {
                format!("{} % of {}", progress.percent(), size(progress.bytes_total))
            }
        };
        let rate = progress.and_then(|progress| progress.rate_bytes_per_second);
        let left = progress.and_then(|progress| progress.left_ms).map(Duration::from_millis);
        table.push([
            (&copying.source).into(),
            (&copying.namespace).into(),
            ago(copying.since_ms, now_ms).into(),
            done.into(),
            or_nothing(rate.map(|rate| format!("{}/s", size(rate)))).into(),
            or_nothing(left.map(duration)).into(),
        ]);
    }
    table
}

fn waiting_table(waiting: &[Waiting], now_ms: i64) -> Table<4> {
    let mut table = Table::new(["SOURCE", "NAMESPACES", "SINCE", "PRIORITY"]);
    for waiting in waiting {
        table.push([
            (&waiting.source).into(),
            list(&waiting.namespaces).into(),
            ago(waiting.since_ms, now_ms).into(),
            waiting.priority.as_str().into(),
        ]);
    }
    table
}

/// Those that do not answer, ask us to wait, or have nothing left of their limit.
fn registries_table(registries: &[RegistryHealth]) -> Table<3> {
    let mut table = Table::new(["REGISTRY", "HEALTH", "LIMIT"]);
    for registry in registries {
        let is_spent = registry.quota.as_ref().is_some_and(|quota| quota.remaining == 0);
        let health = match registry.health {
            Health::Well if !is_spent => continue,
            Health::Well => "it answers",
            Health::Paused => "it asked for a pause",
            Health::Probed => "it does not answer, and is tried again",
            Health::Dead => "it does not answer, and is left alone",
        };
        let limit = registry.quota.as_ref().map(|quota| match quota.limit {
            Some(limit) => format!("{} of {limit} requests left", quota.remaining),
            None => format!("{} requests left", quota.remaining),
        });
        let paused = registry.paused_ms.map(|ms| duration(Duration::from_millis(ms)));
        let health = paused.map_or(health.to_owned(), |paused| format!("{health}, for {paused}"));
        let style = if registry.health == Health::Dead { BAD } else { DOUBTFUL };
        table.push([
            (&registry.registry).into(),
            super::table::Cell::from(health).styled(style),
            or_nothing(limit).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::output::forms;
    use crate::ledger::record::State;
    use crate::ledger::work::Priority;
    use crate::status::documents::{Counts, Failure, LedgerHealth, Queue, Quota, Totals, Transfer};
    use protocol::{RefusalCode, Side};
    use std::collections::BTreeMap;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn registry(registry: &str, health: Health, quota: Option<Quota>) -> RegistryHealth {
        RegistryHealth {
            registry: registry.to_owned(),
            health,
            in_flight: 2,
            allowed: 16,
            paused_ms: (health != Health::Well).then_some(90_000),
            quota,
            requests: BTreeMap::from([("2xx".to_owned(), 7)]),
            read_bytes: 5,
            written_bytes: 6,
            retries: 1,
        }
    }

    fn copying(image: &str, progress: Option<Transfer>) -> Copying {
        Copying {
            source: image.parse().unwrap(),
            target: format!("registry.corp/mirror/{image}").parse().unwrap(),
            state: State::Copying,
            namespace: "shop".to_owned(),
            replicator: "one".to_owned(),
            since_ms: NOW_MS - 30_000,
            progress,
        }
    }

    fn failed(image: &str, state: State, is_lasting: bool) -> Failed {
        Failed {
            source: image.parse().unwrap(),
            target: format!("registry.corp/mirror/{image}").parse().unwrap(),
            state,
            namespaces: vec!["shop".to_owned(), "team-a".to_owned()],
            failure: Some(Failure {
                code: RefusalCode::Failed,
                side: Side::Source,
                message: "source quay.io is not reachable \u{1b}[2J".to_owned(),
                is_lasting,
            }),
            attempts: if is_lasting { 1 } else { 3 },
            next_try_ms: (!is_lasting).then_some(NOW_MS + 40_000),
            checked_at_ms: None,
        }
    }

    fn overview() -> Overview {
        let progress = Transfer {
            layers_done: 2,
            layers_total: 5,
            bytes_done: 43 << 20,
            bytes_total: 100 << 20,
            rate_bytes_per_second: Some(12 << 20),
            left_ms: Some(4_750),
        };
        let spent = Quota { remaining: 0, limit: Some(100), window_ms: Some(21_600_000) };
        Overview {
            now_ms: NOW_MS,
            version: "1.2.3".to_owned(),
            replicator: "one".to_owned(),
            ledger: LedgerHealth { writable: false },
            counts: Counts {
                wanted: 1,
                copying: 3,
                present: 1_204,
                stale: 0,
                failed: 12,
                refused: 1,
            },
            queue: Queue { waiting: 1, oldest_ms: Some(NOW_MS - 180_000) },
            totals: Totals { copying: 3, waiting: 1, failed: 13, stale: 0 },
            copying: vec![
                copying("docker.io/library/nginx:1.27", Some(progress.clone())),
                copying("quay.io/a/b:1", Some(Transfer { bytes_total: 0, ..progress })),
                copying("quay.io/a/c:1", None),
            ],
            waiting: vec![Waiting {
                source: "ghcr.io/team/app:v1".parse().unwrap(),
                state: State::Wanted,
                namespaces: vec!["team-a".to_owned()],
                priority: Priority::Now,
                since_ms: NOW_MS - 180_000,
            }],
            failed: vec![
                failed("quay.io/team/app:v1", State::Failed, false),
                failed("quay.io/team/gone:v1", State::Refused, true),
            ],
            stale: Vec::new(),
            registries: vec![
                registry("ghcr.io", Health::Well, None),
                registry("docker.io", Health::Well, Some(spent)),
                registry("quay.io", Health::Dead, None),
            ],
            troubles: vec!["credentials.push: /etc/push.json cannot be used: not JSON".to_owned()],
        }
    }

    #[test]
    fn an_overview_in_each_form() {
        let server: Server = "http://127.0.0.1:9090".parse().unwrap();
        let overview = overview();
        insta::assert_snapshot!(forms(&overview, Text { overview: &overview, server: &server }));
    }

    #[test]
    fn long_lists_are_cut_and_say_where_the_rest_is() {
        let server: Server = "http://127.0.0.1:9090".parse().unwrap();
        let waiting = overview().waiting[0].clone();
        let overview = Overview {
            totals: Totals { waiting: 5_000, ..Totals::default() },
            waiting: vec![waiting; 50],
            ledger: LedgerHealth { writable: true },
            ..Overview::default()
        };
        let text = Text { overview: &overview, server: &server }.to_string();
        assert_eq!(text.matches("ghcr.io/team/app:v1").count(), SHOWN, "{text}");
        assert!(text.contains("Waiting (5000)"), "{text}");
        assert!(text.ends_with("and 4990 more: image-replicator list --state wanted\n"), "{text}");
    }
}
