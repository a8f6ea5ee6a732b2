//! `retry`: images whose copy failed are tried again now.

use std::fmt;

use clap::Args;
use futures::{StreamExt, stream};
use protocol::ImageReference;
use serde::Serialize;

use super::images::{self, Filters};
use super::inspect::describe;
use super::output::Output;
use super::server::{Api, AskError, KeeperArgs};
use super::table::{Cell, Table};
use super::words::BAD;
use super::{Exit, Failure};
use crate::ledger::record::State;
use crate::status::documents::{self, Work};

/// How many are asked for at once. The replicator takes them in one after the other.
const AT_ONCE: usize = 8;

/// What `retry` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Retry {
    /// The images, as pods' authors write them, or their replicas
    #[arg(value_name = "IMAGE", required_unless_present = "all_failed")]
    images: Vec<ImageReference>,
    /// All images that failed or were refused
    #[arg(long, conflicts_with = "images")]
    all_failed: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: KeeperArgs,
}

const NOTES: &str = "\
Needs the token that the replicator has as `status.token`. The images join the queue; `status` tells
what becomes of them. Ends as the first that could not be taken says, and with 0 where all were.

Examples:
  image-replicator retry quay.io/team/app:v1 --token-file token
  image-replicator retry --all-failed --config /etc/image-replicator/config.yaml";

/// What became of the wish.
#[derive(Debug, Serialize)]
struct Retried {
    images: Vec<RetriedImage>,
}

/// What became of one image: what is to be done about it now, or why nothing is.
#[derive(Debug, Serialize)]
struct RetriedImage {
    source: ImageReference,
    work: Option<Work>,
    error: Option<String>,
}

impl Retry {
    /// Asks for each.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let api = self.server.api()?;
        let sources = if self.all_failed { failed(&api).await? } else { self.images };
        let retried = sources.into_iter().map(|source| retry(&api, source));
        let retried: Vec<_> = stream::iter(retried).buffered(AT_ONCE).collect().await;
        let exits = retried.iter().map(|(_, exit)| *exit);
        let exit = exits.into_iter().find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done);
        let document = Retried { images: retried.into_iter().map(|(image, _)| image).collect() };
        self.output.print(&document, &document)?;
        Ok(exit)
    }
}

async fn failed(api: &Api) -> Result<Vec<ImageReference>, Failure> {
    let mut sources = Vec::new();
    for state in [State::Failed, State::Refused] {
        let images = images::all(api, &Filters::in_state(state).query()).await?;
        sources.extend(images.into_iter().map(|image| image.source));
    }
    Ok(sources)
}

async fn retry(api: &Api, source: ImageReference) -> (RetriedImage, Exit) {
    let wish = documents::Retry { source: source.clone() };
    let asked: Result<documents::Retried, AskError> = api.post("api/v1/retry", &wish).await;
    match asked {
        Ok(retried) => (RetriedImage { source, work: Some(retried.work), error: None }, Exit::Done),
        Err(error) => {
            let exit = error.exit();
            (RetriedImage { source, work: None, error: Some(error.to_string()) }, exit)
        }
    }
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.images.is_empty() {
            return writeln!(f, "no image has failed");
        }
        let mut table = Table::new(["SOURCE", "NOW"]);
        for image in &self.images {
            let now = match (&image.work, &image.error) {
                (Some(work), _) => describe(work).into(),
                (None, error) => Cell::from(error.as_deref().unwrap_or_default()).styled(BAD),
            };
            table.push([(&image.source).into(), now]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::output::forms;
    use crate::ledger::work::Priority;

    #[test]
    fn wishes_in_each_form() {
        let waiting = Work::Waiting { since_ms: 1_800_000_000_000, priority: Priority::Now };
        let image = |source: &str, work, error: Option<&str>| RetriedImage {
            source: source.parse().unwrap(),
            work,
            error: error.map(str::to_owned),
        };
        let document = Retried {
            images: vec![
                image("quay.io/team/app:v1", Some(waiting), None),
                image("nginx:2", None, Some("the replicator says: nobody has asked for it yet")),
            ],
        };
        insta::assert_snapshot!(forms(&document, &document));
        assert_eq!(Retried { images: Vec::new() }.to_string(), "no image has failed\n");
    }
}
