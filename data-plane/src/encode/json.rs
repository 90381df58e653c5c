//! Records as JSON text, written by hand: payloads that are JSON are copied as they are.
//!
//! The shape is `FetchedRecord` of the protocol crate. Where a record must stay on one line, CR and
//! LF inside JSON text become spaces; they can only stand between tokens there, so the meaning stays.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;
use tidegate_proto::record::{Datum, HeadersView, RecordView};

/// Whether JSON text may keep its line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Byte for byte.
    AsStored,
    /// CR and LF become spaces.
    One,
}

/// Appends one record of `batch` as a JSON object; JSON payloads byte for byte.
pub fn write_record(out: &mut Vec<u8>, batch: &Batch, offset: Offset, record: &RecordView<'_>) {
    write(out, batch, offset, record, Lines::AsStored);
}

/// Appends one record of `batch` as a JSON object without line breaks, and no line end.
pub fn write_record_line(
    out: &mut Vec<u8>,
    batch: &Batch,
    offset: Offset,
    record: &RecordView<'_>,
) {
    write(out, batch, offset, record, Lines::One);
}

fn write(out: &mut Vec<u8>, batch: &Batch, offset: Offset, record: &RecordView<'_>, lines: Lines) {
    out.extend_from_slice(b"{\"partition\":");
    write_number(out, u64::from(batch.placement.key.partition.0));
    out.extend_from_slice(b",\"offset\":");
    write_number(out, offset.get());
    out.extend_from_slice(b",\"timestamp\":");
    write_signed(out, batch.timestamp_of(record));
    write_datum(out, "key", record.key, lines);
    write_datum(out, "value", record.value, lines);
    write_headers(out, &record.headers);
    out.push(b'}');
}

/// Appends a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x20.. => continue,
            _ => b"",
        };
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        if short.is_empty() {
            out.extend_from_slice(b"\\u00");
            out.extend(
                [byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)]),
            );
        } else {
            out.extend_from_slice(short);
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends a number.
pub fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a number that may be below zero.
pub fn write_signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_number(out, number.unsigned_abs());
}

fn write_datum(out: &mut Vec<u8>, name: &str, datum: Datum<'_>, lines: Lines) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    match datum {
        Datum::Absent => out.extend_from_slice(b"\":null"),
        Datum::Json(text) => {
            out.extend_from_slice(b"\":");
            write_json_text(out, text, lines);
        }
        Datum::Utf8(text) => {
            out.extend_from_slice(b"\":");
            write_string(out, text);
        }
        Datum::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.extend_from_slice(b"\":");
                write_string(out, text);
            }
            Err(_) => {
                out.extend_from_slice(b"_base64\":");
                write_base64(out, bytes);
            }
        },
    }
}

fn write_json_text(out: &mut Vec<u8>, text: &str, lines: Lines) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    if lines == Lines::One {
        for byte in &mut out[start..] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("four characters were reserved for every three bytes");
    out.push(b'"');
}

fn write_headers(out: &mut Vec<u8>, headers: &HeadersView<'_>) {
    out.extend_from_slice(b",\"headers\":{");
    let mut is_first = true;
    let mut has_binary = false;
    for (name, value) in headers.iter() {
        let Ok(text) = std::str::from_utf8(value) else {
            has_binary = true;
            continue;
        };
        write_name(out, name, &mut is_first);
        write_string(out, text);
    }
    out.push(b'}');
    if !has_binary {
        return;
    }
    out.extend_from_slice(b",\"headers_base64\":{");
    is_first = true;
    for (name, value) in headers
        .iter()
        .filter(|(_, value)| std::str::from_utf8(value).is_err())
    {
        write_name(out, name, &mut is_first);
        write_base64(out, value);
    }
    out.push(b'}');
}

fn write_name(out: &mut Vec<u8>, name: &str, is_first: &mut bool) {
    if !std::mem::take(is_first) {
        out.push(b',');
    }
    write_string(out, name);
    out.push(b':');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_survive_a_json_reader() {
        let nasty: String = (0..0x300)
            .filter_map(char::from_u32)
            .chain("\u{2028}😀\"\\".chars())
            .collect();
        let text = written(|out| write_string(out, &nasty));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }

    #[test]
    fn numbers_are_written_at_both_ends() {
        assert_eq!(written(|out| write_number(out, 0)), "0");
        assert_eq!(
            written(|out| write_number(out, u64::MAX)),
            u64::MAX.to_string()
        );
        assert_eq!(
            written(|out| write_signed(out, i64::MIN)),
            i64::MIN.to_string()
        );
    }

    #[test]
    fn payloads_come_as_what_they_are() {
        let datum = |datum, lines| written(|out| write_datum(out, "value", datum, lines));
        assert_eq!(
            datum(Datum::Json("{ \"a\":\r\n1.0 }"), Lines::One),
            ",\"value\":{ \"a\":  1.0 }"
        );
        assert_eq!(
            datum(Datum::Json("[\n1]"), Lines::AsStored),
            ",\"value\":[\n1]"
        );
        assert_eq!(
            datum(Datum::Bytes(b"a\"b"), Lines::One),
            ",\"value\":\"a\\\"b\""
        );
        assert_eq!(
            datum(Datum::Bytes(b"\xff\x00\x01\x02"), Lines::One),
            ",\"value_base64\":\"/wABAg==\""
        );
        assert_eq!(datum(Datum::Absent, Lines::One), ",\"value\":null");
    }
}
