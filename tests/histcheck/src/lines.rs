//! Histories on disk: one event as JSON on each line, in their order.

use std::io::{self, BufRead, Write};

use thiserror::Error;

use crate::event::Event;

/// Why a file is no history.
#[derive(Debug, Error)]
pub enum LinesError {
    #[error("line {line}: {source}")]
    Line {
        line: usize,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes one line for each event.
///
/// # Errors
/// As the writer's.
pub fn write(events: &[Event], mut to: impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut to, event)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads all lines; empty ones are passed over.
///
/// # Errors
/// When a line is no event, or as the reader's.
pub fn read(from: impl BufRead) -> Result<Vec<Event>, LinesError> {
    let mut events = Vec::new();
    for (at, line) in from.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |source| LinesError::Line {
            line: at + 1,
            source,
        };
        events.push(serde_json::from_str(&line).map_err(wrong)?);
    }
    Ok(events)
}
