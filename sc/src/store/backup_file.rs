//! Backups as files: lines of JSON, each with its checksum, the last with the digest of all.
//!
//! ```text
//! {"table":"backup","row":{"format":1,"written_by":"..","taken_at_ms":..,"cluster_id":..},"crc32c":".."}
//! {"table":"topics","row":{"row_key":..,"version":..,"value":{..}},"crc32c":".."}
//! {"table":"end","row":{"rows":1,"sha256":".."},"crc32c":".."}
//! ```
//!
//! The checksum (CRC32C) covers the line before its own field; the digest (SHA-256) the lines before the
//! last, with their ends. Invariant: a file that was cut, changed or put together is refused as a whole, by
//! the number of the first line that does not fit.

use std::io::BufRead;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tidegate_proto::chain::ChainHash;

use super::backup::{Backup, BackupHead, Record};
use crate::limits::{BACKUP_LINE_BYTES_MAX, BACKUP_LINES_MAX};

/// The form of files that this version writes and reads.
const FORMAT: u32 = 1;
const FIRST: &str = "backup";
const LAST: &str = "end";
/// Counters in the head stay below it: databases count to 2^63, and some are moved on.
const COUNTER_MAX: u64 = 1 << 62;

/// A file that is no backup, or no longer the one that was written.
#[derive(Debug, Error)]
pub enum BackupFileError {
    /// It could not be read on.
    #[error("line {line} cannot be read")]
    Read {
        line: u64,
        #[source]
        source: std::io::Error,
    },
    /// A line is not as it was written.
    #[error("line {line}: {what}")]
    Line { line: u64, what: String },
    /// The last line is not there.
    #[error(
        "the file was cut: it ends after line {line}, without the line that says what is in it"
    )]
    Cut { line: u64 },
    /// A later version wrote it.
    #[error("the file has format {found}; this version reads format {FORMAT}")]
    Format { found: u32 },
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    /// The version of the program, for people.
    written_by: String,
    taken_at_ms: i64,
    #[serde(flatten)]
    head: BackupHead,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    rows: u64,
    sha256: ChainHash,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    table: &'a str,
    #[serde(borrow)]
    row: &'a RawValue,
    #[serde(rename = "crc32c")]
    _crc32c: &'a str,
}

/// The lines of a file, each with its end, one after the other: the whole of it is never in memory twice.
pub fn backup_lines(backup: Backup, taken_at_ms: i64) -> impl Iterator<Item = String> + Send {
    let Backup { head, records } = backup;
    let head = Head {
        format: FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at_ms,
        head,
    };
    let rows = records.len() as u64;
    let first = std::iter::once((FIRST, text(&head)));
    let body = records
        .into_iter()
        .map(|record| (record.table(), record.encode()));
    let mut lines = first.chain(body);
    let mut digest = Some(Context::new(&SHA256));
    std::iter::from_fn(move || {
        if let Some((table, row)) = lines.next() {
            let line = line(table, &row);
            if let Some(digest) = &mut digest {
                digest.update(line.as_bytes());
            }
            return Some(line);
        }
        let sha256 = finish(digest.take()?);
        Some(line(LAST, &text(&End { rows, sha256 })))
    })
}

/// Reads a file to its end.
///
/// # Errors
/// [`BackupFileError`] names the first line that does not fit.
pub fn read_backup(mut file: impl BufRead) -> Result<Backup, BackupFileError> {
    let mut reader = Reader::default();
    let mut text = Vec::new();
    loop {
        text.clear();
        let line = reader.lines + 1;
        let limit = BACKUP_LINE_BYTES_MAX as u64;
        let mut bounded = std::io::Read::take(&mut file, limit);
        let read = bounded.read_until(b'\n', &mut text);
        read.map_err(|source| BackupFileError::Read { line, source })?;
        if text.is_empty() {
            return reader.end();
        }
        reader.take(&text)?;
    }
}

struct Reader {
    lines: u64,
    digest: Context,
    head: Option<BackupHead>,
    records: Vec<Record>,
    has_ended: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            lines: 0,
            digest: Context::new(&SHA256),
            head: None,
            records: Vec::new(),
            has_ended: false,
        }
    }
}

impl Reader {
    fn take(&mut self, bytes: &[u8]) -> Result<(), BackupFileError> {
        self.lines += 1;
        let line = self.lines;
        let unfit = |what: String| BackupFileError::Line { line, what };
        if self.has_ended {
            return Err(unfit("comes after the last one".to_owned()));
        }
        if line > BACKUP_LINES_MAX {
            return Err(unfit(format!("there are more than {BACKUP_LINES_MAX}")));
        }
        let Line { table, row, .. } = checked(bytes).map_err(unfit)?;
        let row = row.get();
        let words = |error: serde_json::Error| unfit(error.to_string());
        match (table, &self.head) {
            (FIRST, None) => {
                let Format { format } = serde_json::from_str(row).map_err(words)?;
                if format != FORMAT {
                    return Err(BackupFileError::Format { found: format });
                }
                let Head { head, .. } = serde_json::from_str(row).map_err(words)?;
                let counters = [head.revision, head.next_producer_id, head.lease_epoch];
                if counters.iter().any(|counter| *counter > COUNTER_MAX) {
                    return Err(unfit("a counter is beyond what any store has".to_owned()));
                }
                self.head = Some(head);
            }
            (_, None) => return Err(unfit("it is not the first line of a backup".to_owned())),
            (LAST, Some(_)) => {
                let end: End = serde_json::from_str(row).map_err(words)?;
                if end.rows != self.records.len() as u64 {
                    let (found, rows) = (self.records.len(), end.rows);
                    return Err(unfit(format!("{found} rows came before it, not {rows}")));
                }
                if finish(self.digest.clone()) != end.sha256 {
                    return Err(unfit(
                        "the lines before it are not those that were written".to_owned(),
                    ));
                }
                self.has_ended = true;
            }
            (table, Some(_)) => {
                let record = Record::decode(table, row).map_err(unfit)?;
                self.records.push(record);
            }
        }
        self.digest.update(bytes);
        Ok(())
    }

    fn end(self) -> Result<Backup, BackupFileError> {
        match self.head {
            Some(head) if self.has_ended => Ok(Backup::new(head, self.records)),
            _ => Err(BackupFileError::Cut { line: self.lines }),
        }
    }
}

/// Between the line and its checksum.
const SEAM: &str = ",\"crc32c\":\"";
const SEAM_END: &str = "\"}\n";

fn line(table: &str, row: &str) -> String {
    let covered = format!("{{\"table\":\"{table}\",\"row\":{row}");
    let sum = crc32c::crc32c(covered.as_bytes());
    format!("{covered}{SEAM}{sum:08x}{SEAM_END}")
}

/// A line whose checksum is right.
fn checked(bytes: &[u8]) -> Result<Line<'_>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let told = text.strip_suffix(SEAM_END);
    let told = told.and_then(|text| text.split_at_checked(text.len().checked_sub(8)?));
    let parts = told.and_then(|(line, sum)| Some((line.strip_suffix(SEAM)?, sum)));
    let (covered, sum) = parts.ok_or("it does not end with its checksum")?;
    if format!("{:08x}", crc32c::crc32c(covered.as_bytes())) != sum {
        return Err("its checksum does not fit: it was changed".to_owned());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("rows have string keys only")
}

fn finish(digest: Context) -> ChainHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    ChainHash(bytes)
}

#[cfg(test)]
mod tests;
