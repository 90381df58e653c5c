//! The page on the wire format, taken apart, and a batch described the way the page does.
//!
//! Decides nothing: what is compared with what stands in the tests that use it.

use serde_json::{Value, json};
use tidegate_proto::batch::Batch;
use tidegate_proto::record::{Datum, RecordView};

pub(crate) const PAGE: &str = include_str!("../../../docs/wire-format.md");

/// The text of the fenced block in language `language` that follows `heading`.
pub(crate) fn block<'a>(heading: &str, language: &str) -> &'a str {
    let (_, section) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"));
    let end = section.find("\n#").unwrap_or(section.len());
    let (_, rest) = section[..end]
        .split_once(&format!("```{language}\n"))
        .unwrap_or_else(|| panic!("no {language} block under {heading:?}"));
    rest.split_once("```").expect("the block is closed").0
}

/// Rows of the first table after `heading`, without its head; backticks taken off.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| line.trim_matches('|').split('|').map(cell).collect();
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(row)
        .collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16);
    digits
        .chunks(2)
        .map(byte)
        .collect::<Result<_, _>>()
        .expect("only hex digits")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn hex_lines(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex(line) + "\n").collect()
}

pub(crate) fn datum_json(datum: Datum<'_>) -> Value {
    match datum {
        Datum::Absent => Value::Null,
        Datum::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Datum::Utf8(text) => json!({ "utf8": text }),
        Datum::Json(text) => json!({ "json": text }),
    }
}

pub(crate) fn record_json(view: &RecordView<'_>) -> Value {
    let headers = view
        .headers
        .iter()
        .map(|(name, value)| json!([name, hex(value)]));
    json!({
        "timestamp_ms": view.timestamp_ms,
        "key": datum_json(view.key),
        "value": datum_json(view.value),
        "headers": headers.collect::<Value>(),
    })
}

pub(crate) fn batch_json(batch: &Batch) -> Value {
    let (placement, client) = (&batch.placement, &batch.client);
    let records = client.records().expect("a vector decompresses");
    let records = records.iter().map(|view| {
        let view = view.expect("a vector's record reads");
        let mut shown = record_json(&view);
        if client.is_sparse() {
            shown["offset"] = json!(batch.offset_of(&view));
        }
        shown
    });
    let mut shown = json!({
        "topic_id": placement.key.topic_id,
        "partition": placement.key.partition,
        "base_offset": placement.base_offset,
        "leader_epoch": placement.leader_epoch,
        "high_watermark": placement.high_watermark,
        "append_time_ms": placement.append_time_ms,
        "append_timestamps": placement.append_timestamps,
        "payload_crc": format!("{:08x}", client.crc()),
        "codec": client.codec(),
        "control": client.is_control(),
        "producer": client.producer().map(|stamp| json!({
            "id": stamp.id, "epoch": stamp.epoch, "seq": stamp.seq, "unordered": stamp.unordered,
        })),
        "request_key": client.request_key().map(|key| hex(&key)),
        "base_timestamp_ms": client.base_timestamp_ms(),
        "max_timestamp_ms": client.max_timestamp_ms(),
        "records": records.collect::<Value>(),
    });
    if client.is_sparse() {
        shown["span"] = json!(client.span());
    }
    shown
}
