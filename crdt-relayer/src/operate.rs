//! The commands of an operator: some ask a relayer that runs, some work on the store in its folder.

mod health;
mod remote;
mod rooms;
mod stats;
mod store;

use std::io::{self, Write};

use crdt_relayer::escape::{safe, safe_json};
use serde_json::Value;

pub(crate) use health::health;
pub(crate) use remote::Target;
pub(crate) use rooms::rooms;
pub(crate) use stats::stats;
pub(crate) use store::{Folder, backup, compact, restore, verify};

use crate::failure::Failure;

/// How a command reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints one report. What others wrote into it cannot act on a terminal.
fn print(format: Format, text: &str, object: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", safe_json(&object.to_string()))?,
        Format::Text => {
            for line in text.lines() {
                writeln!(out, "{}", safe(line))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Rows below a heading, each column as wide as it needs to be; the first is aligned left, the
/// others right.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
        longest.max(heading.get(column).map_or(0, |word| word.len()))
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(heading.to_vec())).chain(rows).collect::<Vec<_>>().join("\n")
}

/// Bytes as people read them.
fn bytes(count: u64) -> String {
    bytesize::ByteSize::b(count).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "12345".to_owned()], vec!["lönger".into(), "1".into()]];
        let shown = table(&["room", "ops"], &rows);
        assert_eq!(shown, "room      ops\na       12345\nlönger      1");
    }
}
