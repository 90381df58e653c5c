//! What `log dump` shows, one JSON object a line; for people the same as words.
//!
//! Strings are always written as JSON writes them, so that no stored byte reaches a terminal as a
//! control character.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tidegate_log::Entry;
use tidegate_log::inspect::{CheckpointFacts, Journaled, Overview, ReplicaFigures, Stored};
use tidegate_proto::batch::Batch;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordView};

/// A replica as its directory is called.
pub(crate) fn name(key: ReplicaKey, replica_gen: ReplicaGen) -> String {
    format!("{}-{}-{}", key.topic_id.0, key.partition.0, replica_gen.0)
}

/// An object as words: its kind, then `name=value`.
pub(crate) fn text(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return value.to_string();
    };
    let mut words = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("kind", Value::String(kind)) => words.insert(0, format!("{kind:<10}")),
            (_, Value::Null) => {}
            // Ids need no quotes.
            (_, Value::String(text)) if text.bytes().all(is_plain) => {
                words.push(format!("{name}={text}"));
            }
            _ => words.push(format!("{name}={value}")),
        }
    }
    words.join(" ")
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Identity, checkpoint, journal files and replicas.
pub(crate) fn overview(overview: &Overview) -> Vec<Value> {
    let mut lines = vec![match &overview.identity {
        Ok(Some(identity)) => json!({
            "kind": "identity",
            "storage_id": identity.storage_id.0.to_string(),
            "last_incarnation": identity.last_incarnation.map(|incarnation| incarnation.0),
            "clean_checkpoint": identity.clean_checkpoint,
        }),
        Ok(None) => json!({ "kind": "identity", "fault": "there is none" }),
        Err(fault) => json!({ "kind": "identity", "fault": fault }),
    }];
    let mut known = Vec::new();
    match &overview.checkpoint {
        Ok(Some(checkpoint)) => {
            lines.push(self::checkpoint(checkpoint));
            for figures in &checkpoint.replicas {
                known.push((figures.key, figures.meta.replica_gen));
                lines.push(replica(figures));
            }
        }
        Ok(None) => lines.push(json!({ "kind": "checkpoint", "fault": "there is none" })),
        Err(fault) => lines.push(json!({ "kind": "checkpoint", "fault": fault })),
    }
    for (file_seq, bytes) in &overview.journal {
        lines.push(json!({ "kind": "journal", "file": file_seq, "bytes": bytes }));
    }
    known.sort_unstable();
    let found = &overview.replicas;
    for (key, replica_gen) in found.iter().filter(|id| known.binary_search(id).is_err()) {
        let fault = "not in the checkpoint: made after it, or unknown";
        lines.push(
            json!({ "kind": "replica", "replica": name(*key, *replica_gen), "fault": fault }),
        );
    }
    lines
}

fn checkpoint(checkpoint: &CheckpointFacts) -> Value {
    let (file, at, round) = checkpoint.position;
    json!({
        "kind": "checkpoint",
        "storage_id": checkpoint.storage_id.0.to_string(),
        "generation": checkpoint.generation,
        "journal_file": file,
        "journal_byte": at,
        "next_round": round,
        "replicas": checkpoint.replicas.len(),
    })
}

fn replica(figures: &ReplicaFigures) -> Value {
    json!({
        "kind": "replica",
        "replica": name(figures.key, figures.meta.replica_gen),
        "log_start": figures.log_start.get(),
        "high_watermark": figures.high_watermark.get(),
        "end": figures.end.get(),
        "leader_epoch": figures.meta.leader_epoch.0,
        "version": figures.meta.version,
        "recovery_gen": figures.meta.recovery_gen,
        "last_segment": figures.tail_base.get(),
        "last_segment_bytes": figures.tail_len,
        "last_append_ms": figures.last_append_ms,
        "intact": figures.intact,
    })
}

/// What stands in a segment.
pub(crate) fn stored(stored: &Stored<'_>) -> Value {
    match stored {
        Stored::Batch {
            segment,
            position,
            batch,
        } => {
            let mut value = self::batch(batch);
            if let Value::Object(fields) = &mut value {
                fields.insert("segment".to_owned(), segment.get().into());
                fields.insert("at".to_owned(), (*position).into());
            }
            value
        }
        Stored::Bad {
            segment,
            bytes,
            from,
            what,
        } => json!({
            "kind": "bad",
            "segment": segment.get(),
            "at": bytes.start,
            "to": bytes.end,
            "offset": from.get(),
            "fault": what,
        }),
    }
}

fn batch(batch: &Batch) -> Value {
    let (placement, client) = (&batch.placement, &batch.client);
    json!({
        "kind": "batch",
        "offset": placement.base_offset.get(),
        "next": batch.next_offset().get(),
        "bytes": batch.encoded_len(),
        "records": client.record_count(),
        "leader_epoch": placement.leader_epoch.0,
        "high_watermark": placement.high_watermark.get(),
        "append_ms": placement.append_time_ms,
        "max_timestamp_ms": batch.max_timestamp_ms(),
        "codec": format!("{:?}", client.codec()).to_lowercase(),
        "control": client.is_control().then_some(true),
        "producer_id": client.producer().map(|stamp| stamp.id.0),
        "producer_epoch": client.producer().map(|stamp| stamp.epoch),
        "producer_seq": client.producer().map(|stamp| stamp.seq),
        "request_key": client.request_key().map(|key| STANDARD.encode(key)),
        "payload_crc": format!("{:08x}", client.crc()),
    })
}

/// The records of a batch that lie in the range; false when nobody reads on.
pub(crate) fn records(
    batch: &Batch,
    offsets: &Range<Offset>,
    print: &mut dyn FnMut(&Value) -> bool,
) -> bool {
    let fault = |error: &dyn std::fmt::Display| {
        json!({
            "kind": "bad",
            "offset": batch.placement.base_offset.get(),
            "fault": format!("the records cannot be read: {error}"),
        })
    };
    let records = match batch.client.records() {
        Ok(records) => records,
        Err(error) => return print(&fault(&error)),
    };
    for record in records.iter() {
        let going = match record {
            Ok(record) => {
                let offset = batch.offset_of(&record);
                !offsets.contains(&offset) || print(&self::record(batch, offset, &record))
            }
            Err(error) => return print(&fault(&error)),
        };
        if !going {
            return false;
        }
    }
    true
}

fn record(batch: &Batch, offset: Offset, record: &RecordView<'_>) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), "record".into());
    fields.insert("offset".to_owned(), offset.get().into());
    fields.insert("timestamp_ms".to_owned(), batch.timestamp_of(record).into());
    put(&mut fields, "key", record.key);
    put(&mut fields, "value", record.value);
    let headers = record.headers.iter();
    let headers: Vec<Value> = headers
        .map(|(name, value)| match std::str::from_utf8(value) {
            Ok(text) => json!({ "name": name, "value": text }),
            Err(_) => json!({ "name": name, "value_base64": STANDARD.encode(value) }),
        })
        .collect();
    if !headers.is_empty() {
        fields.insert("headers".to_owned(), headers.into());
    }
    Value::Object(fields)
}

fn put(fields: &mut Map<String, Value>, name: &str, datum: Datum<'_>) {
    let text = match datum {
        Datum::Absent => Ok(Value::Null),
        Datum::Json(text) | Datum::Utf8(text) => Ok(text.into()),
        Datum::Bytes(bytes) => std::str::from_utf8(bytes)
            .map(Value::from)
            .map_err(|_| bytes),
    };
    match text {
        Ok(text) => fields.insert(name.to_owned(), text),
        Err(bytes) => fields.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// What stands in the journal.
pub(crate) fn journaled(journaled: &Journaled<'_>) -> Value {
    match journaled {
        Journaled::Round {
            file_seq,
            at,
            bytes,
            round_seq,
            is_covered,
        } => json!({
            "kind": "round",
            "round": round_seq,
            "file": file_seq,
            "at": at,
            "bytes": bytes,
            "checkpointed": is_covered,
        }),
        Journaled::Entry(entry) => self::entry(entry),
        Journaled::Created(key, replica_gen) => {
            json!({ "kind": "created", "replica": name(*key, *replica_gen) })
        }
        Journaled::Retired(key, replica_gen) => {
            json!({ "kind": "retired", "replica": name(*key, *replica_gen) })
        }
        Journaled::Bad { file_seq, at, what } => {
            json!({ "kind": "bad", "file": file_seq, "at": at, "fault": what })
        }
    }
}

fn entry(entry: &Entry) -> Value {
    let key = entry.key();
    let mut value = match entry {
        Entry::Batch(batch) => self::batch(batch),
        Entry::Cut { to, .. } => json!({ "kind": "cut", "to": to.get() }),
        Entry::Trim { to, .. } => json!({ "kind": "trim", "to": to.get() }),
        Entry::Meta { meta, .. } => json!({
            "kind": "meta",
            "replica_gen": meta.replica_gen.0.to_string(),
            "leader_epoch": meta.leader_epoch.0,
            "version": meta.version,
            "recovery_gen": meta.recovery_gen,
        }),
        Entry::Snapshot { as_of, bytes, .. } => {
            json!({ "kind": "snapshot", "as_of": as_of.get(), "bytes": bytes.len() })
        }
        Entry::HighWatermark { offset, .. } => {
            json!({ "kind": "watermark", "offset": offset.get() })
        }
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("topic_id".to_owned(), key.topic_id.0.to_string().into());
        fields.insert("partition".to_owned(), key.partition.0.into());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_the_object_says_and_hide_no_control_character() {
        let value = json!({ "kind": "record", "offset": 7, "key": null, "value": "a\u{1b}[2J b" });
        assert_eq!(text(&value), "record     offset=7 value=\"a\\u001b[2J b\"");
    }
}
