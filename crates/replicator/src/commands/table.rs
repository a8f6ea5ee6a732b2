//! A table for people: columns as wide as what stands in them, nothing cut, nothing drawn.

use std::fmt;

use anstyle::{Effects, Style};

/// Between two columns.
const GAP: &str = "  ";

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[Cell; COLUMNS]>,
}

/// What stands in one place of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// The same in a style.
    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// What others said may hold control characters, and a terminal obeys those.
impl<T: fmt::Display> From<T> for Cell {
    fn from(value: T) -> Self {
        Self { text: printable(&value.to_string()), style: Style::new() }
    }
}

/// `text` with its control characters written out.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            false => printable.push(character),
            true => printable.extend(character.escape_default()),
        }
    }
    printable
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// One without rows.
    pub(crate) fn new(head: [&str; COLUMNS]) -> Self {
        let bold = Style::new().effects(Effects::BOLD);
        Self { rows: vec![head.map(|name| Cell::from(name).styled(bold))] }
    }

    /// Whether there is nothing under its head.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows are under its head.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// The same with this many rows at most.
    #[must_use]
    pub(crate) fn first(mut self, rows: usize) -> Self {
        self.rows.truncate(1 + rows);
        self
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].text.chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for row in &self.rows {
            for (column, (Cell { text, style }, width)) in row.iter().zip(widths).enumerate() {
                write!(f, "{style}{text}{style:#}")?;
                if column + 1 < COLUMNS {
                    let space = width - text.chars().count();
                    write!(f, "{:space$}{GAP}", "")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_are_written_out() {
        let mut table = Table::new(["STATE", "SOURCE", "WHY"]);
        let red = anstyle::AnsiColor::Red.on_default();
        table.push([Cell::from("failed").styled(red), "a:1".into(), "no\u{1b}[2J\n".into()]);
        table.push(["ok".into(), "quay.io/a/b:1".into(), "".into()]);
        let text = table.to_string();
        assert!(text.contains("\u{1b}[31mfailed\u{1b}[0m  a:1"), "{text:?}");
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "STATE   SOURCE         WHY\n\
             failed  a:1            no\\u{1b}[2J\\n\n\
             ok      quay.io/a/b:1  \n"
        );
    }
}
