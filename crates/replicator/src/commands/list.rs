//! `list`: the images that were asked for, and what became of each.

use std::fmt;

use clap::Args;

use super::images::{self, Filters, Found};
use super::output::Output;
use super::server::ServerArgs;
use super::table::Table;
use super::words::{ago, list, now_ms, or_nothing, size, state};
use super::{Exit, Failure};
use crate::status::documents::Image;

/// What `list` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

const NOTES: &str = "\
Examples:
  image-replicator list --state failed
  image-replicator list --namespace shop --search docker.io/ --output json";

impl List {
    /// Reads all pages.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let api = self.server.api()?;
        let mut images = images::all(&api, &self.filters.query()).await?;
        // What runs without having been asked for is the inventory's.
        images.retain(|image| image.state.is_some());
        let document = Found { images };
        self.output.print(&document, Text { images: &document.images, now_ms: now_ms() })?;
        Ok(Exit::Done)
    }
}

/// Images as text.
struct Text<'a> {
    images: &'a [Image],
    now_ms: i64,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["STATE", "SOURCE", "NAMESPACES", "SIZE", "ASKED"]);
        for image in self.images {
            table.push([
                image.state.map_or("-".into(), state),
                (&image.source).into(),
                list(&image.namespaces).into(),
                or_nothing(image.size_bytes.map(size)).into(),
                or_nothing(image.last_asked_ms.map(|ms| ago(ms, self.now_ms))).into(),
            ]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::images::testing::{NOW_MS, images};
    use crate::commands::output::forms;

    #[test]
    fn images_in_each_form() {
        let document = Found { images: images() };
        let text = Text { images: &document.images, now_ms: NOW_MS };
        insta::assert_snapshot!(forms(&document, text));
    }
}
