//! What a line of input means as a record. Pure.
//!
//! Values are kept byte for byte: nothing is parsed and written again. In `lines` every byte
//! between two line feeds belongs to the record; in `ndjson` a carriage return before the line feed
//! and empty lines do not.

use std::borrow::Cow;
use std::collections::HashMap;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_client::Datum;
use tidegate_proto::json::check_json;
use tidegate_proto::limits::JSON_DEPTH_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Each line is one value, whatever it is.
    Lines,
    /// Each line is one JSON value; empty lines are skipped.
    Ndjson,
}

/// How lines become records.
#[derive(Clone, Debug)]
pub(crate) struct LineRule {
    pub(crate) format: InputFormat,
    /// Text between key and value, for `lines`.
    pub(crate) separator: Option<String>,
    /// Place of the key in the value, for `ndjson`, as tokens.
    pub(crate) pointer: Option<Vec<String>>,
}

/// A record in the making.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) value: Datum<'a>,
}

impl LineRule {
    /// `None` for a line that is no record.
    pub(crate) fn parse<'a>(&self, line: &'a [u8]) -> Result<Option<Parsed<'a>>, String> {
        match self.format {
            InputFormat::Lines => self.plain(line).map(Some),
            InputFormat::Ndjson => self.json(line),
        }
    }

    fn plain<'a>(&self, line: &'a [u8]) -> Result<Parsed<'a>, String> {
        let Some(separator) = &self.separator else {
            return Ok(Parsed {
                key: None,
                value: Datum::Bytes(line),
            });
        };
        let wanted = separator.as_bytes();
        let at = line
            .windows(wanted.len())
            .position(|window| window == wanted)
            .ok_or_else(|| format!("there is no {separator:?} between a key and a value"))?;
        let (key, value) = (&line[..at], &line[at + wanted.len()..]);
        Ok(Parsed {
            key: Some(Cow::Borrowed(key)),
            value: Datum::Bytes(value),
        })
    }

    fn json<'a>(&self, line: &'a [u8]) -> Result<Option<Parsed<'a>>, String> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
        check_json(text, JSON_DEPTH_MAX).map_err(|error| format!("not one JSON value: {error}"))?;
        let key = self
            .pointer
            .as_ref()
            .map(|pointer| key_at(text, pointer))
            .transpose()?;
        // As everywhere: null says that there is no value (any more) for the key.
        let value = match text.trim_ascii() {
            "null" => Datum::Absent,
            _ => Datum::Json(text),
        };
        Ok(Some(Parsed {
            key: key.flatten(),
            value,
        }))
    }
}

/// Splits a JSON pointer (RFC 6901) into its tokens.
pub(crate) fn pointer_tokens(pointer: &str) -> Result<Vec<String>, String> {
    let tokens = pointer
        .strip_prefix('/')
        .ok_or("a JSON pointer begins with a slash, such as /id or /user/name")?;
    Ok(tokens
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// The key that the pointer finds: a string's text, other JSON verbatim, none for null.
fn key_at<'a>(text: &'a str, pointer: &[String]) -> Result<Option<Cow<'a, [u8]>>, String> {
    let mut here = text.trim();
    for token in pointer {
        here = step(here, token)
            .ok_or_else(|| format!("there is nothing at /{} for a key", pointer.join("/")))?;
    }
    if here == "null" {
        return Ok(None);
    }
    if here.starts_with('"') {
        let Quoted(text) =
            serde_json::from_str(here).map_err(|error| format!("the key is no text: {error}"))?;
        return Ok(Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }));
    }
    Ok(Some(Cow::Borrowed(here.as_bytes())))
}

#[derive(Deserialize)]
struct Quoted<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Members<'a>(#[serde(borrow)] HashMap<Cow<'a, str>, &'a RawValue>);

#[derive(Deserialize)]
struct Items<'a>(#[serde(borrow)] Vec<&'a RawValue>);

fn step<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    if text.starts_with('{') {
        let Members(members) = serde_json::from_str(text).ok()?;
        return members.get(token).map(|value| value.get());
    }
    if text.starts_with('[') {
        let Items(items) = serde_json::from_str(text).ok()?;
        return items
            .get(token.parse::<usize>().ok()?)
            .map(|value| value.get());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(separator: Option<&str>) -> LineRule {
        LineRule {
            format: InputFormat::Lines,
            separator: separator.map(str::to_owned),
            pointer: None,
        }
    }

    fn json(pointer: Option<&str>) -> LineRule {
        LineRule {
            format: InputFormat::Ndjson,
            separator: None,
            pointer: pointer.map(|pointer| pointer_tokens(pointer).unwrap()),
        }
    }

    fn key(rule: &LineRule, line: &str) -> Option<String> {
        let parsed = rule.parse(line.as_bytes()).unwrap().unwrap();
        parsed
            .key
            .map(|key| String::from_utf8(key.into_owned()).unwrap())
    }

    #[test]
    fn plain_lines_keep_every_byte() {
        let parsed = plain(None).parse(b" \xff a\r").unwrap().unwrap();
        assert_eq!(parsed.value.as_bytes(), Some(&b" \xff a\r"[..]));
        assert!(parsed.key.is_none());
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let parsed = plain(Some("::")).parse(b"k::v::w").unwrap().unwrap();
        assert_eq!(parsed.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(parsed.value.as_bytes(), Some(&b"v::w"[..]));
        let empty = plain(Some(":")).parse(b":").unwrap().unwrap();
        assert_eq!(empty.key.as_deref(), Some(&b""[..]));
        assert!(plain(Some(":")).parse(b"no separator").is_err());
    }

    #[test]
    fn json_lines_are_checked_and_kept_verbatim() {
        let parsed = json(None).parse(b" {\"a\": 1.0e3}\r").unwrap().unwrap();
        assert_eq!(parsed.value.as_bytes(), Some(&b" {\"a\": 1.0e3}"[..]));
        assert!(json(None).parse(b"\r").unwrap().is_none());
        assert!(json(None).parse(b"{\"a\":").is_err());
        assert!(json(None).parse(b"1 2").is_err());
        assert!(json(None).parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_line_that_is_null_is_a_tombstone() {
        for line in ["null", " null\t", "null\r"] {
            let parsed = json(None).parse(line.as_bytes()).unwrap().unwrap();
            assert_eq!(parsed.value, Datum::Absent, "{line:?}");
        }
        for line in ["\"null\"", "[null]"] {
            let parsed = json(None).parse(line.as_bytes()).unwrap().unwrap();
            assert_eq!(parsed.value, Datum::Json(line));
        }
        let text = plain(None).parse(b"null").unwrap().unwrap();
        assert_eq!(text.value, Datum::Bytes(b"null"));
    }

    #[test]
    fn keys_are_taken_as_the_server_takes_them() {
        assert_eq!(
            key(&json(Some("/id")), r#"{"id":"a\u0041"}"#).as_deref(),
            Some("aA")
        );
        assert_eq!(
            key(&json(Some("/id")), r#"{"id":1.50}"#).as_deref(),
            Some("1.50")
        );
        assert_eq!(
            key(&json(Some("/a/1/b")), r#"{"a":[0,{"b":"x"}]}"#).as_deref(),
            Some("x")
        );
        assert_eq!(
            key(&json(Some("/a~1b")), r#"{"a/b":"x"}"#).as_deref(),
            Some("x")
        );
        assert_eq!(key(&json(Some("/id")), r#"{"id":null}"#), None);
        assert!(json(Some("/id")).parse(b"{}").is_err());
        assert!(pointer_tokens("id").is_err());
    }
}
