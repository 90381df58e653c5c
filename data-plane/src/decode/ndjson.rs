//! Lines out of chunks, and a record out of a line.
//!
//! A line that lies within one chunk is not copied. Invariant: what is kept between chunks is at most
//! one line of the allowed length.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::json::check_json;
use tidegate_proto::limits::JSON_DEPTH_MAX;

use super::pointer::Pointer;
use super::record::{Payload, Record};

/// Splits a stream of chunks into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    chunk: Bytes,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    line_bytes_max: usize,
    /// Lines seen, empty ones too.
    number: u64,
}

impl Lines {
    pub(crate) fn new(line_bytes_max: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            partial: Vec::new(),
            line_bytes_max,
            number: 0,
        }
    }

    /// The number of the line last returned, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Takes the next chunk. Every line of the one before must have been taken out.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(
            self.chunk.is_empty(),
            "lines of the last chunk were not taken"
        );
        self.chunk = chunk;
    }

    /// The next whole line without its end, empty lines left out; `None` when more is needed.
    pub(crate) fn next_line(&mut self) -> Result<Option<Bytes>, Problem> {
        while !self.chunk.is_empty() {
            let Some(end) = memchr(b'\n', &self.chunk) else {
                let rest = std::mem::take(&mut self.chunk);
                return self.keep(&rest).map(|()| None);
            };
            let piece = self.chunk.split_to(end + 1).slice(..end);
            let line = if self.partial.is_empty() {
                piece
            } else {
                self.keep(&piece)?;
                Bytes::from(std::mem::take(&mut self.partial))
            };
            self.number += 1;
            if let Some(line) = self.trim(line)? {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// The last line when it has no end.
    pub(crate) fn finish(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.partial.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let line = Bytes::from(std::mem::take(&mut self.partial));
        self.trim(line)
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Problem> {
        // One more for the CR that is dropped.
        if self.partial.len() + piece.len() > self.line_bytes_max + 1 {
            self.number += 1;
            return Err(self.too_long());
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    fn trim(&self, mut line: Bytes) -> Result<Option<Bytes>, Problem> {
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > self.line_bytes_max {
            return Err(self.too_long());
        }
        let is_empty = line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        Ok((!is_empty).then_some(line))
    }

    fn too_long(&self) -> Problem {
        let (number, limit) = (self.number, self.line_bytes_max);
        let detail = format!("line {number} is longer than {limit} bytes");
        Problem::new(ErrorCode::TooLarge, detail).with("limit", limit)
    }
}

/// The record of a line: its value is the line, its key what `key` points at.
pub(crate) fn read_line<'a>(line: &'a [u8], key: Option<&Pointer>) -> Result<Record<'a>, Problem> {
    let malformed = |detail: String| Problem::new(ErrorCode::MalformedJson, detail);
    let text = std::str::from_utf8(line).map_err(|error| malformed(error.to_string()))?;
    check_json(text, JSON_DEPTH_MAX).map_err(|error| malformed(error.to_string()))?;
    let key = match key.and_then(|pointer| pointer.find(text)) {
        None => Payload::Absent,
        Some(json) if json.starts_with('"') => Payload::Utf8(read_string(json)?),
        Some(json) => Payload::Json(Cow::Borrowed(json)),
    };
    let is_null = text.trim_matches([' ', '\t', '\r']) == "null";
    let value = if is_null {
        Payload::Absent
    } else {
        Payload::Json(Cow::Borrowed(text))
    };
    Ok(Record {
        key,
        value,
        ..Record::default()
    })
}

fn read_string(json: &str) -> Result<Cow<'_, str>, Problem> {
    // Without escapes the text between the quotes is the string.
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| memchr(b'\\', inner.as_bytes()).is_none()) {
        return Ok(Cow::Borrowed(inner));
    }
    let owned: Result<String, _> = serde_json::from_str(json);
    owned.map(Cow::Owned).map_err(|_| {
        Problem::new(
            ErrorCode::InvalidParameter,
            "the key is not a Unicode string",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&'static str], max: usize) -> Result<Vec<String>, ErrorCode> {
        let mut lines = Lines::new(max);
        let mut found = Vec::new();
        let mut take = |line: Bytes| found.push(String::from_utf8(line.to_vec()).unwrap());
        for chunk in chunks {
            lines.push(Bytes::from_static(chunk.as_bytes()));
            while let Some(line) = lines.next_line().map_err(|p| p.code())? {
                take(line);
            }
        }
        if let Some(line) = lines.finish().map_err(|p| p.code())? {
            take(line);
        }
        Ok(found)
    }

    #[test]
    fn lines_come_out_whole_wherever_the_chunks_are_cut() {
        let text = "one\r\n\n  \ntwo\nthree\r";
        for cut in 0..=text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(
                lines(&[left, right], 6).unwrap(),
                ["one", "two", "three"],
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(lines(&["1234", "56\r\n"], 6).unwrap(), ["123456"]);
        assert_eq!(lines(&["1234567\n"], 6), Err(ErrorCode::TooLarge));
        assert_eq!(lines(&["1234", "567"], 6), Err(ErrorCode::TooLarge));
        assert_eq!(lines(&["1234", "5678901"], 6), Err(ErrorCode::TooLarge));
    }

    #[test]
    fn a_line_is_the_value_and_its_key_is_pointed_at() {
        let pointer = Pointer::parse("key", "/id").unwrap();
        let record = read_line(br#"{"id":"a\nb", "n":1.0}"#, Some(&pointer)).unwrap();
        assert_eq!(record.key, Payload::Utf8("a\nb".into()));
        assert_eq!(
            record.value,
            Payload::Json(r#"{"id":"a\nb", "n":1.0}"#.into())
        );
        let record = read_line(br#"{"id":[1, 2]}"#, Some(&pointer)).unwrap();
        assert_eq!(record.key, Payload::Json("[1, 2]".into()));
        assert_eq!(read_line(b" null", None).unwrap().value, Payload::Absent);
        for bad in [&b"{"[..], b"\xff", b"1 2", b"nul"] {
            assert_eq!(
                read_line(bad, None).unwrap_err().code(),
                ErrorCode::MalformedJson
            );
        }
    }
}
