//! What must be left of a compacted replica: records, not batches.
//!
//! Invariant: nothing is served that was not written, to the byte and at its offset, in order; what is
//! missing had been superseded, or was a tombstone whose time was up, when compaction was last at work;
//! batches take every offset once, and each offset is of the epoch it was written in.

use std::collections::BTreeSet;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::model::{ReplicaModel, Shown, records};
use crate::BatchHeader;

/// What differs from the model.
pub(super) fn compare(
    found: &[Batch],
    headers: &[BatchHeader],
    model: &ReplicaModel,
    removable: &BTreeSet<Offset>,
) -> Result<(), String> {
    let mut found = records(found, model.log_start)?.into_iter().peekable();
    for written in records(&model.batches, model.log_start)? {
        if found.next_if_eq(&written).is_none() && !removable.contains(&written.offset) {
            let next = found.peek().map(|record| record.offset);
            let offset = written.offset;
            return Err(format!(
                "the record at {offset} is missing, the next one is at {next:?}"
            ));
        }
    }
    if let Some(record) = found.next() {
        let offset = record.offset;
        return Err(format!("the record at {offset} was not written there"));
    }
    compare_headers(headers, model)
}

fn compare_headers(headers: &[BatchHeader], model: &ReplicaModel) -> Result<(), String> {
    let mut reached = model.log_start;
    if let Some(first) = headers.first() {
        reached = reached.min(first.base_offset);
    }
    for header in headers {
        if header.base_offset != reached {
            let base = header.base_offset;
            return Err(format!(
                "a batch begins at {base}, the last ends at {reached}"
            ));
        }
        reached = header.next_offset;
    }
    if reached != model.end {
        return Err(format!("batches end at {reached}, not {}", model.end));
    }
    let control = headers.iter().filter(|header| header.is_control);
    let control = control.map(|header| (header.base_offset, header.payload_crc));
    let markers = model
        .batches
        .iter()
        .filter(|batch| batch.client.is_control());
    if !control.eq(markers.map(|batch| (batch.placement.base_offset, batch.client.crc()))) {
        return Err("other markers than were written".to_owned());
    }
    for batch in &model.batches {
        let base = batch.placement.base_offset.max(model.log_start);
        let number = headers.partition_point(|header| header.next_offset <= base);
        let epoch = headers.get(number).map(|header| header.leader_epoch);
        if batch.next_offset() > base && epoch != Some(batch.placement.leader_epoch) {
            return Err(format!("the offset {base} is of epoch {epoch:?}"));
        }
    }
    Ok(())
}

/// Whether an offset by time is one from which a reader finds the first record of that time.
pub(super) fn check_offset_at(
    found: &[Batch],
    model: &ReplicaModel,
    time_ms: i64,
    answer: Option<Offset>,
) -> Result<(), String> {
    let records = records(found, model.log_start)?;
    let first = records.iter().find(|record| record.timestamp_ms >= time_ms);
    let first = first.map(|record| record.offset);
    let from = answer.unwrap_or(model.end);
    let next = records.iter().find(|record| record.offset >= from);
    if next.map(|record| record.offset) == first {
        Ok(())
    } else {
        Err(format!(
            "the offset by time is {answer:?}, the record at {first:?}"
        ))
    }
}

/// A record that must not be gone and is in none of these batches.
pub(super) fn missing(kept: &[Batch], model: &ReplicaModel) -> Option<Offset> {
    let of_key = |batch: &&Batch| {
        let mut known = model.batches.iter();
        known.any(|other| other.placement.key == batch.placement.key)
    };
    let kept = records(kept.iter().filter(of_key), model.log_start).ok()?;
    let removable = model.removable.as_deref();
    let written = records(&model.batches, model.log_start).ok()?;
    let is_gone = |record: &Shown| {
        let may_go = removable.is_some_and(|removable| removable.contains(&record.offset));
        !may_go && !kept.contains(record)
    };
    written
        .iter()
        .find(|record| is_gone(record))
        .map(|record| record.offset)
}
