//! `inspect`: all that is known of one image.

use std::fmt;
use std::time::Duration;

use clap::Args;
use protocol::ImageReference;

use super::output::Output;
use super::server::ServerArgs;
use super::table::{Table, printable};
use super::words::{duration, list, moment, or_nothing, size};
use super::{Exit, Failure};
use crate::status::documents::{Image, ImageDetails, Work};

/// What `inspect` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Inspect {
    /// The image: as a pod's author writes it, or the replica that the pod got
    image: ImageReference,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

const NOTES: &str = "\
Ends with 3 when nobody has asked for the image yet; `explain` tells what would become of it.

Examples:
  image-replicator inspect nginx:1.27
  image-replicator inspect registry.corp/mirror/docker.io/library/nginx:1.27 --output yaml";

impl Inspect {
    /// Asks for it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let source = self.image.to_string();
        let api = self.server.api()?;
        let details: ImageDetails = api.get("api/v1/image", &[("source", &source)]).await?;
        self.output.print(&details, Text(&details))?;
        Ok(Exit::Done)
    }
}

/// An image as text.
struct Text<'a>(&'a ImageDetails);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImageDetails { image, failure, attempts, work, changed_at_ms, requests, copies } =
            self.0;
        let unknown = || "unknown".to_owned();
        let time = |ms: Option<i64>| or_nothing(ms.map(moment));
        let state = image.state.map_or("none", |state| state.as_str());
        writeln!(f, "source     {}", image.source)?;
        writeln!(f, "target     {}", or_nothing(image.target.as_ref()))?;
        writeln!(f, "state      {state}, since {}", moment(*changed_at_ms))?;
        if let Some(failure) = failure {
            let lasting =
                if failure.is_lasting { "; trying again alone does not mend it" } else { "" };
            writeln!(f, "failure    {}{lasting}", printable(&failure.message))?;
            writeln!(f, "attempts   {attempts} that failed")?;
        }
        writeln!(f, "work       {}", describe(work))?;
        writeln!(
            f,
            "digest     {}",
            image.digest.as_ref().map_or_else(unknown, ToString::to_string)
        )?;
        writeln!(f, "size       {}", image.size_bytes.map_or_else(unknown, size))?;
        let platforms = image.platforms.as_deref().map_or_else(unknown, list);
        writeln!(f, "platforms  {platforms}")?;
        writeln!(f, "referrers  {}", referrers(image).unwrap_or_else(unknown))?;
        let (first, last) = (time(image.first_asked_ms), time(image.last_asked_ms));
        writeln!(f, "asked      first {first}, last {last}")?;
        writeln!(f, "checked    {}", time(image.checked_at_ms))?;
        let pods = image.in_use.map_or("unknown: nobody watches pods".to_owned(), |pods| {
            format!("by {pods} {}", if pods == 1 { "pod" } else { "pods" })
        });
        writeln!(f, "in use     {pods}")?;
        if !requests.is_empty() {
            let mut table = Table::new(["NAMESPACE", "CALLER", "FIRST", "LAST", "TIMES"]);
            for request in requests {
                table.push([
                    (&request.namespace).into(),
                    (&request.caller).into(),
                    moment(request.first_at_ms).into(),
                    moment(request.last_at_ms).into(),
                    request.count.into(),
                ]);
            }
            write!(f, "\n{table}")?;
        }
        if copies.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["COPY", "ENDED", "TOOK", "MOVED", "DIGEST"]);
        for copy in copies {
            let took = u64::try_from(copy.ended_at_ms - copy.began_at_ms).unwrap_or(0);
            table.push([
                (&copy.result).into(),
                moment(copy.ended_at_ms).into(),
                duration(Duration::from_millis(took)).into(),
                size(copy.bytes_moved).into(),
                or_nothing(copy.digest.as_ref()).into(),
            ]);
        }
        write!(f, "\n{table}")
    }
}

fn referrers(image: &Image) -> Option<String> {
    let kinds = image.referrers.as_ref()?;
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let listed = if kinds.is_empty() { "none".to_owned() } else { printable(&kinds.join(", ")) };
    Some(match image.signed {
        Some(true) => format!("{listed}; a signature came with it, which nobody has verified here"),
        _ => listed,
    })
}

/// What is to be done about it.
pub(crate) fn describe(work: &Work) -> String {
    match work {
        Work::Idle => "nothing is to be done".to_owned(),
        Work::Later { due_at_ms } => format!("it is tried again at {}", moment(*due_at_ms)),
        Work::Waiting { since_ms, priority } => {
            format!("it waits since {}, priority {}", moment(*since_ms), priority.as_str())
        }
        Work::Leased { since_ms, replicator } => {
            format!("{} works on it since {}", printable(replicator), moment(*since_ms))
        }
    }
}
