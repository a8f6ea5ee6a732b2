//! How commands print: one document, as text for people, as JSON or as YAML.
//!
//! Text is written with its styles; they are taken out again where standard output is no terminal,
//! or `NO_COLOR` is set. Who reads may stop reading, as `head` does: that is no failure.

use std::fmt;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Exit, Failure};

/// In which form a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// In which form to print
    #[arg(long = "output", short, value_name = "FORM", default_value = "table")]
    format: Format,
}

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Output {
    /// Prints `document`, for people as `text`.
    pub(crate) fn print(
        self,
        document: &impl Serialize,
        text: impl fmt::Display,
    ) -> Result<(), Failure> {
        let cannot = |error: &dyn fmt::Display| {
            Failure::new(Exit::Failed, format!("the document cannot be written: {error}"))
        };
        let printed = match self.format {
            Format::Table => text.to_string(),
            Format::Json => {
                serde_json::to_string_pretty(document).map_err(|error| cannot(&error))? + "\n"
            }
            Format::Yaml => serde_yaml::to_string(document).map_err(|error| cannot(&error))?,
        };
        print(&printed)
    }
}

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
