//! `inspect`: all that is known of one image.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::Args;
use protocol::ImageReference;

use super::output::Output;
use super::server::ServerArgs;
use super::table::{Table, printable};
use super::words::{duration, list, moment, or_nothing, size};
use super::{Exit, Failure};
use crate::status::documents::{ImageDetails, Work};

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
        writeln!(f, "referrers  {}", image.referrers.as_ref().map_or_else(unknown, kinds))?;
        let signed = match image.signed {
            None => "unknown",
            Some(false) => "no",
            Some(true) => "yes, and nobody has verified here by whom",
        };
        writeln!(f, "signed     {signed}")?;
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

fn kinds(referrers: &BTreeMap<String, u64>) -> String {
    let kinds = referrers.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds: Vec<_> = kinds.collect();
    if kinds.is_empty() { "none".to_owned() } else { printable(&kinds.join(", ")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::images::testing::{NOW_MS, images};
    use crate::commands::output::forms;
    use crate::ledger::work::Priority;
    use crate::status::documents::{Copy, Failure, Request};
    use protocol::{RefusalCode, Side};

    #[test]
    fn an_image_in_each_form() {
        let [_, image, _] = images().try_into().unwrap();
        let request = Request {
            namespace: "shop".to_owned(),
            caller: "policy".to_owned(),
            first_at_ms: NOW_MS - 86_400_000,
            last_at_ms: NOW_MS,
            count: 12,
        };
        let copy = Copy {
            result: "copied".to_owned(),
            digest: image.digest.clone(),
            bytes_moved: 70 << 20,
            began_at_ms: NOW_MS - 86_400_000,
            ended_at_ms: NOW_MS - 86_395_000,
            replicator: "one".to_owned(),
        };
        let details = ImageDetails {
            image,
            failure: None,
            attempts: 0,
            work: Work::Idle,
            changed_at_ms: NOW_MS - 86_395_000,
            requests: vec![request],
            copies: vec![copy],
        };
        insta::assert_snapshot!(forms(&details, Text(&details)));
    }

    #[test]
    fn an_image_that_failed_tells_why() {
        let [_, _, image] = images().try_into().unwrap();
        let failure = Failure {
            code: RefusalCode::Failed,
            side: Side::Source,
            message: "source quay.io is not reachable".to_owned(),
            is_lasting: true,
        };
        let details = ImageDetails {
            image,
            failure: Some(failure),
            attempts: 3,
            work: Work::Idle,
            changed_at_ms: NOW_MS,
            requests: Vec::new(),
            copies: Vec::new(),
        };
        insta::assert_snapshot!(Text(&details));
    }

    #[test]
    fn work_in_words() {
        let works = [
            Work::Idle,
            Work::Later { due_at_ms: NOW_MS },
            Work::Waiting { since_ms: NOW_MS, priority: Priority::Soon },
            Work::Leased { since_ms: NOW_MS, replicator: "one".to_owned() },
        ];
        insta::assert_snapshot!(works.map(|work| describe(&work)).join("\n"));
    }
}
