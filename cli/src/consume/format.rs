//! How a record is written to standard output. Pure, but for the writer given.
//!
//! `value` and `key-value` write the stored bytes exactly and a line feed after each record; an
//! absent value is an empty line. `json` writes one object a line in the shape of the HTTP API.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde_json::Value;
use tidegate_client::{Datum, Received};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The value's bytes.
    Value,
    /// One JSON object per record: partition, offset, timestamp, key, value, headers.
    Json,
    /// The key, a separator, the value.
    KeyValue,
}

/// Writes one record and its line feed.
pub(crate) fn write(
    out: &mut impl Write,
    received: &Received<'_>,
    format: OutputFormat,
    separator: &str,
) -> io::Result<()> {
    match format {
        OutputFormat::Value => out.write_all(bytes(received.record.value))?,
        OutputFormat::KeyValue => {
            out.write_all(bytes(received.record.key))?;
            out.write_all(separator.as_bytes())?;
            out.write_all(bytes(received.record.value))?;
        }
        OutputFormat::Json => write_json(out, received)?,
    }
    out.write_all(b"\n")
}

fn bytes(datum: Datum<'_>) -> &[u8] {
    datum.as_bytes().unwrap_or_default()
}

fn write_json(out: &mut impl Write, received: &Received<'_>) -> io::Result<()> {
    let (partition, offset) = (received.partition, received.offset.get());
    write!(out, r#"{{"partition":{partition},"offset":{offset}"#)?;
    write!(out, r#","timestamp":{}"#, received.timestamp_ms)?;
    write_datum(out, "key", received.record.key)?;
    write_datum(out, "value", received.record.value)?;
    write_headers(out, received)?;
    out.write_all(b"}")
}

fn write_datum(out: &mut impl Write, name: &str, datum: Datum<'_>) -> io::Result<()> {
    match datum {
        Datum::Absent => write!(out, r#","{name}":null"#),
        Datum::Json(text) => {
            write!(out, r#","{name}":"#)?;
            write_on_one_line(out, text)
        }
        Datum::Utf8(text) => write!(out, r#","{name}":{}"#, Value::from(text)),
        Datum::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write!(out, r#","{name}":{}"#, Value::from(text)),
            Err(_) => write!(out, r#","{name}_base64":"{}""#, STANDARD.encode(bytes)),
        },
    }
}

/// Line ends inside JSON text can only be white space between tokens.
fn write_on_one_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    for (index, piece) in text.split(['\r', '\n']).enumerate() {
        if index > 0 {
            out.write_all(b" ")?;
        }
        out.write_all(piece.as_bytes())?;
    }
    Ok(())
}

fn write_headers(out: &mut impl Write, received: &Received<'_>) -> io::Result<()> {
    let mut texts = serde_json::Map::new();
    let mut binaries = serde_json::Map::new();
    for (name, value) in received.record.headers.iter() {
        match std::str::from_utf8(value) {
            Ok(text) => texts.insert(name.to_owned(), Value::from(text)),
            Err(_) => binaries.insert(name.to_owned(), Value::from(STANDARD.encode(value))),
        };
    }
    write!(out, r#","headers":{}"#, Value::Object(texts))?;
    if !binaries.is_empty() {
        write!(out, r#","headers_base64":{}"#, Value::Object(binaries))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_client::{Codec, Offset, PartitionId, RecordRef};
    use tidegate_proto::batch::BatchBuilder;

    fn text(record: &RecordRef<'_>, format: OutputFormat) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(record).unwrap();
        let records = builder.finish().unwrap().records().unwrap();
        let mut out = Vec::new();
        for record in records.iter() {
            let received = Received {
                partition: PartitionId(1),
                offset: Offset::new(7),
                timestamp_ms: 42,
                record: record.unwrap(),
            };
            write(&mut out, &received, format, "\t").unwrap();
        }
        out
    }

    fn record<'a>(key: Datum<'a>, value: Datum<'a>) -> RecordRef<'a> {
        RecordRef {
            timestamp_ms: 42,
            key,
            value,
            headers: &[],
        }
    }

    #[test]
    fn values_are_written_byte_for_byte() {
        let value = Datum::Bytes(b"\x00\xff\r");
        assert_eq!(
            text(&record(Datum::Absent, value), OutputFormat::Value),
            b"\x00\xff\r\n"
        );
        let pair = record(Datum::Utf8("k"), Datum::Json("{ }"));
        assert_eq!(text(&pair, OutputFormat::KeyValue), b"k\t{ }\n");
        assert_eq!(
            text(
                &record(Datum::Utf8("k"), Datum::Absent),
                OutputFormat::Value
            ),
            b"\n"
        );
    }

    #[test]
    fn json_keeps_json_and_escapes_text() {
        let line = text(
            &record(Datum::Utf8("a\"b"), Datum::Json("{\"n\":\n1.0}")),
            OutputFormat::Json,
        );
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"partition\":1,\"offset\":7,\"timestamp\":42,\"key\":\"a\\\"b\",\
             \"value\":{\"n\": 1.0},\"headers\":{}}\n"
        );
    }

    #[test]
    fn what_is_no_text_is_written_in_base64() {
        let headers: &[(&str, &[u8])] = &[("a", b"x"), ("b", b"\xff")];
        let with_headers = RecordRef {
            headers,
            ..record(Datum::Absent, Datum::Bytes(b"\xff\xfe"))
        };
        let line = String::from_utf8(text(&with_headers, OutputFormat::Json)).unwrap();
        assert!(
            line.contains(r#""key":null,"value_base64":"//4=""#),
            "{line}"
        );
        assert!(
            line.contains(r#""headers":{"a":"x"},"headers_base64":{"b":"/w=="}"#),
            "{line}"
        );
    }
}
