//! Small texts that are kept for an operator: a heading, then `name: value`, one a line. Pure.
//!
//! Invariant: whatever a value holds, it stays on its line.

/// Longest value kept.
const TEXT_MAX: usize = 1024;

/// A value without line ends, and not without end.
pub(crate) fn line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TEXT_MAX).collect()
}

/// The value of that name.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    text.lines().find_map(value)
}
