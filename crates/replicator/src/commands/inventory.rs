//! `inventory`: every image that ever entered the cluster; those that run unreplicated come first.

use std::fmt;

use clap::{Args, ValueEnum};

use super::images::{self, Filters, Found};
use super::output::{Format, Output, print_raw};
use super::server::ServerArgs;
use super::table::{Cell, Table};
use super::words::{BAD, list, moment, or_nothing, size, state};
use super::{Exit, Failure};
use crate::status::documents::Image;

/// What `inventory` is told.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct Inventory {
    #[command(flatten)]
    filters: Filters,
    /// Only images that pods run from elsewhere than the target
    #[arg(long)]
    unreplicated: bool,
    /// Only images that pods run now
    #[arg(long)]
    in_use: bool,
    /// In which form to print
    #[arg(long = "output", short = 'o', value_name = "FORM", default_value = "table")]
    form: Form,
    #[command(flatten)]
    server: ServerArgs,
}

const NOTES: &str = "\
What pods run is known only where the replicator watches pods. The other forms than the table have
each image's digest and target, too.

Examples:
  image-replicator inventory --unreplicated
  image-replicator inventory --namespace shop --output csv > shop.csv";

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Yaml,
    Csv,
}

impl Inventory {
    /// Reads all of it.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let api = self.server.api()?;
        let mut query = self.filters.query();
        query.extend(self.unreplicated.then_some(("unreplicated", "true")));
        query.extend(self.in_use.then_some(("in_use", "true")));
        let format = match self.form {
            Form::Table => Format::Table,
            Form::Json => Format::Json,
            Form::Yaml => Format::Yaml,
            Form::Csv => {
                api.pieces("api/v1/images.csv", &query, print_raw).await?;
                return Ok(Exit::Done);
            }
        };
        let document = Found { images: images::all(&api, &query).await? };
        Output::new(format).print(&document, Text(&document.images))?;
        Ok(Exit::Done)
    }
}

/// Images as text.
struct Text<'a>(&'a [Image]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "STATE",
            "SOURCE",
            "NAMESPACES",
            "PODS",
            "SIZE",
            "PLATFORMS",
            "SIGNED",
            "FIRST",
            "LAST",
        ]);
        for image in self.0 {
            let state = match (image.unreplicated, image.state) {
                (Some(true), _) => Cell::from("unreplicated").styled(BAD),
                (_, Some(known)) => state(known),
                (_, None) => "-".into(),
            };
            let signed = image.signed.map(|signed| if signed { "yes" } else { "no" });
            table.push([
                state,
                (&image.source).into(),
                list(&image.namespaces).into(),
                or_nothing(image.in_use).into(),
                or_nothing(image.size_bytes.map(size)).into(),
                or_nothing(image.platforms.as_deref().map(list)).into(),
                or_nothing(signed).into(),
                or_nothing(image.first_asked_ms.map(moment)).into(),
                or_nothing(image.last_asked_ms.map(moment)).into(),
            ]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::images::testing::images;

    #[test]
    fn an_inventory_marks_what_runs_unreplicated() {
        let text = Text(&images()).to_string();
        assert!(text.contains(&format!("{BAD}unreplicated{BAD:#}")), "{text:?}");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }
}
