//! Where text goes: data to standard output, everything else to standard error.
//!
//! Both are written through here only, so that a closed pipe ends a command quietly and colours or
//! bars never reach a file.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::failure::Failure;

/// How answers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// Says something to the person at the terminal. Nobody listening is no error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a person watches standard error.
pub(crate) fn is_interactive() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person types the input.
pub(crate) fn is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Whether nobody will ever read standard output: the other end of the pipe is closed. Without this
/// a command that waits would notice at its next line only, which may never come.
#[cfg(unix)]
pub(crate) fn is_abandoned() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let out = io::stdout();
    let mut outputs = [PollFd::new(&out, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut outputs, Some(&at_once)).is_ok()
        && outputs[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Not told here: the next line will fail.
#[cfg(not(unix))]
pub(crate) fn is_abandoned() -> bool {
    false
}

/// Writes text as data.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Writes a JSON document as data.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}"))
}

/// A table with aligned columns and no frame, which is easy to read and to cut.
pub(crate) fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let aligned = table.to_string();
    print(
        &aligned
            .lines()
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// A JSON value as a table cell.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
