//! How commands print: one document, as text for people, as JSON or as YAML.
//!
//! Text is written with its styles; they are taken out again where standard output is no terminal,
//! or `NO_COLOR` is set. Who reads may stop reading, as `head` does: that is no failure.

use std::fmt;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Exit, Failure};

/// Puts the cursor at the top of the screen, clears it, and cuts what is wider; the end undoes that.
const REDRAW: &str = "\x1b[?7l\x1b[H\x1b[J";
const REDRAWN: &str = "\x1b[?7h";

/// In which form a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// In which form to print
    #[arg(long = "output", short = 'o', value_name = "FORM", default_value = "table")]
    format: Format,
}

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
}

impl Output {
    /// In this form.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether it is for people.
    pub(crate) fn is_table(self) -> bool {
        self.format == Format::Table
    }

    /// Prints `document`, for people as `text`.
    pub(crate) fn print(
        self,
        document: &impl Serialize,
        text: impl fmt::Display,
    ) -> Result<(), Failure> {
        let printed = self.render(document, text)?;
        write(&mut anstream::stdout().lock(), printed.as_bytes())
    }

    fn render(self, document: &impl Serialize, text: impl fmt::Display) -> Result<String, Failure> {
        let cannot = |error: &dyn fmt::Display| {
            Failure::new(Exit::Failed, format!("the document cannot be written: {error}"))
        };
        match self.format {
            Format::Table => Ok(text.to_string()),
            Format::Json => match serde_json::to_string_pretty(document) {
                Ok(json) => Ok(json + "\n"),
                Err(error) => Err(cannot(&error)),
            },
            Format::Yaml => serde_yaml::to_string(document).map_err(|error| cannot(&error)),
        }
    }
}

/// Writes what is for programs, as it is.
pub(crate) fn print_raw(bytes: &[u8]) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), bytes)
}

/// Draws `text` in place of what is on the terminal; of what does not fit, the top.
pub(crate) fn redraw(text: &str) -> Result<(), Failure> {
    let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| rows.0.into());
    let lines = text.lines().take(rows.saturating_sub(1));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    // Colours may be unwanted, by NO_COLOR; the cursor has to move all the same.
    print_raw(REDRAW.as_bytes())?;
    write(&mut anstream::stdout().lock(), text.as_bytes())?;
    print_raw(REDRAWN.as_bytes())
}

fn write(stdout: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            Err(Failure::new(Exit::Failed, format!("standard output cannot be written: {error}")))
        }
        Ok(()) => Ok(()),
    }
}

/// What a command prints in each form, without colours.
#[cfg(test)]
pub(crate) fn forms(document: &impl Serialize, text: impl fmt::Display) -> String {
    let form = |format| {
        let rendered = Output { format }.render(document, &text).unwrap();
        anstream::adapter::strip_str(&rendered).to_string()
    };
    [Format::Table, Format::Json, Format::Yaml].map(form).join("---\n")
}
