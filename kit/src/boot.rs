//! The first things a process does: a runtime and a log.
//!
//! Log lines go to stderr, as text for people or JSON for machines. Invariant: no control character
//! reaches a terminal through a log line, whatever a stranger put into a header or a name.

use std::io::{self, Write};

use thiserror::Error;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{BLOCKING_THREAD_REST, BLOCKING_THREADS_MAX};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line of text per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not valid: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging is already set up in this process.
    #[error("logging is already set up")]
    AlreadySet,
}

/// A multi-threaded runtime with `worker_threads` threads (`None`: one per core).
pub fn runtime(worker_threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(count) = worker_threads {
        builder.worker_threads(count.max(1));
    }
    builder
        .enable_all()
        .thread_name("tidegate")
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_REST)
        .build()
}

/// Sets up logging for the process. `filter` is a tracing filter such as `info,tidegate_log=debug`.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(EscapedStderr);
    let set = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| LogError::AlreadySet)
}

/// Writes to stderr with every control character but the line's own end made visible.
#[derive(Debug, Clone, Copy)]
struct EscapedStderr;

struct EscapedLine<W>(W);

impl<'a> MakeWriter<'a> for EscapedStderr {
    type Writer = EscapedLine<io::StderrLock<'a>>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedLine(io::stderr().lock())
    }
}

impl<W: Write> Write for EscapedLine<W> {
    // The formatter hands over one whole event per call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match escaped(line) {
            Some(clean) => self.0.write_all(&clean)?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

// `None` when nothing had to be changed, which is nearly always.
fn escaped(line: &[u8]) -> Option<Vec<u8>> {
    let (body, end) = match line.split_last() {
        Some((b'\n', body)) => (body, &b"\n"[..]),
        _ => (line, &b""[..]),
    };
    // C1 controls are two bytes in UTF-8: 0xc2 and 0x80..=0x9f.
    let is_bad = |at: usize| {
        let byte = body[at];
        byte < 0x20
            || byte == 0x7f
            || ((0x80..0xa0).contains(&byte) && at > 0 && body[at - 1] == 0xc2)
    };
    (0..body.len()).any(is_bad).then(|| {
        let mut clean = Vec::with_capacity(line.len() + 16);
        for (at, byte) in body.iter().enumerate() {
            if !is_bad(at) {
                clean.push(*byte);
                continue;
            }
            if *byte >= 0x80 {
                clean.pop();
            }
            let _ = write!(clean, "\\x{byte:02x}");
        }
        clean.extend_from_slice(end);
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        let cases: [(&str, &str); 5] = [
            ("a\x1b[31mred\n", "a\\x1b[31mred\n"),
            ("two\r\nlines\n", "two\\x0d\\x0alines\n"),
            ("nul\0bell\x07del\x7f", "nul\\x00bell\\x07del\\x7f"),
            ("csi\u{9b}31m\n", "csi\\x9b31m\n"),
            ("tab\there\n", "tab\\x09here\n"),
        ];
        for (raw, clean) in cases {
            let found = escaped(raw.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), clean);
        }
    }

    #[test]
    fn clean_lines_are_passed_as_they_are() {
        for line in ["plain\n", "grüße über\u{a0}alles 日本\n", "", "no end"] {
            assert_eq!(escaped(line.as_bytes()), None);
        }
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = init_logging(LogFormat::Text, "a=b=c").unwrap_err();
        assert!(error.to_string().contains("a=b=c"), "{error}");
    }

    #[test]
    fn a_runtime_runs_with_the_threads_asked_for() {
        let runtime = runtime(Some(1)).unwrap();
        assert_eq!(runtime.metrics().num_workers(), 1);
    }
}
