//! What an opened log shows of itself through its public functions, gathered so that it can be held
//! against a model: bounds, metadata, every batch, by offset and by time, and the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::model::{Model, ReplicaModel};
use super::surviving;
use crate::{BatchHeader, Log, ReadError, Replica, ReplicaFacts};

/// Bytes of one read: less than most batches, so that every border is met.
const READ_BYTES: usize = 700;

/// An opened log.
#[derive(Debug)]
pub(super) struct Found {
    replicas: BTreeMap<ReplicaKey, FoundReplica>,
}

#[derive(Debug)]
struct FoundReplica {
    facts: ReplicaFacts,
    replica: Arc<Replica>,
    /// Those with records.
    batches: Vec<Batch>,
    headers: Vec<BatchHeader>,
    snapshot: Option<(Offset, Bytes)>,
}

impl Found {
    /// Reads all there is; an error when something cannot be read or is out of place.
    pub(super) fn read(log: &Log, facts: &[ReplicaFacts]) -> Result<Self, String> {
        let mut replicas = BTreeMap::new();
        for facts in facts {
            let key = facts.key;
            let replica = log
                .replica(key)
                .ok_or_else(|| format!("{key} is reported and not served"))?;
            let read = FoundReplica::read(facts, replica).map_err(|what| format!("{key}: {what}"));
            replicas.insert(key, read?);
        }
        Ok(Self { replicas })
    }

    /// What differs from a model, in words; nothing when it is the same.
    pub(super) fn difference(&self, model: &Model) -> Result<(), String> {
        if !self.replicas.keys().eq(model.replicas.keys()) {
            let found: Vec<String> = self.replicas.keys().map(ToString::to_string).collect();
            return Err(format!("the replicas are {}", found.join(", ")));
        }
        for (key, found) in &self.replicas {
            let differs = |what| format!("{key}: {what}");
            found.difference(&model.replicas[key]).map_err(differs)?;
        }
        Ok(())
    }
}

impl FoundReplica {
    fn read(facts: &ReplicaFacts, replica: Arc<Replica>) -> Result<Self, String> {
        let (start, end) = (replica.log_start(), replica.end());
        let mut batches: Vec<Batch> = Vec::new();
        let mut from = start;
        while from < end {
            let chunk = replica
                .read(from, end, READ_BYTES)
                .map_err(|error| format!("it cannot be read at {from}: {error}"))?;
            let next = chunk.last().map_or(from, Batch::next_offset);
            if next <= from {
                return Err(format!(
                    "a read at {from} below the end {end} gives nothing"
                ));
            }
            let has_records = |batch: &Batch| batch.client.record_count() > 0;
            batches.extend(chunk.into_iter().filter(has_records));
            from = next;
        }
        let beyond = replica.read(end.plus(1), end.plus(2), READ_BYTES);
        if !matches!(beyond, Err(ReadError::BeyondEnd { .. })) {
            return Err(format!("a read beyond the end {end} gives {beyond:?}"));
        }
        let mut headers = Vec::new();
        replica
            .batch_headers(start, |header| headers.push(*header))
            .map_err(|error| format!("its headers cannot be read: {error}"))?;
        // Without it the replica is not called intact.
        let snapshot = replica.snapshot().ok().flatten();
        if snapshot != facts.snapshot {
            return Err(format!(
                "the snapshot as of {:?} is served, the one as of {:?} reported",
                snapshot.map(|(as_of, _)| as_of),
                facts.snapshot.as_ref().map(|(as_of, _)| *as_of)
            ));
        }
        Ok(Self {
            facts: facts.clone(),
            replica,
            batches,
            headers,
            snapshot,
        })
    }

    fn difference(&self, model: &ReplicaModel) -> Result<(), String> {
        let facts = &self.facts;
        let same = |what: &str, found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{what} is {found}, not {wanted}"))
            }
        };
        same("the end", &facts.end, &model.end)?;
        same("the start", &facts.log_start, &model.log_start)?;
        same("the metadata", &self.replica.meta(), &model.meta)?;
        same(
            "the high watermark",
            &facts.high_watermark,
            &model.high_watermark,
        )?;
        let start = model.log_start;
        let with_records = model
            .batches
            .iter()
            .filter(|batch| batch.client.record_count() > 0);
        same("the snapshot", &self.snapshot, &model.snapshot)?;
        if let Some(removable) = &model.removable {
            surviving::compare(&self.batches, &self.headers, model, removable)?;
            return self.by_time(model, |time_ms, found| {
                surviving::check_offset_at(&self.batches, model, time_ms, found)
            });
        }
        if !self.batches.iter().eq(with_records) {
            let found: Vec<_> = self
                .batches
                .iter()
                .map(|b| b.placement.base_offset)
                .collect();
            return Err(format!(
                "other batches are read than were written: at {found:?}"
            ));
        }
        let headers = self.headers.iter().map(|h| (h.base_offset, h.payload_crc));
        let batches = model.batches.iter();
        if !headers.eq(batches.map(|b| (b.placement.base_offset, b.client.crc()))) {
            let found: Vec<_> = self.headers.iter().map(|h| h.base_offset).collect();
            return Err(format!(
                "other batch headers than were written: at {found:?}"
            ));
        }
        self.by_time(model, |time_ms, found| {
            let wanted = offset_at(model, start, time_ms);
            same("the offset by time", &found, &wanted)
        })
    }

    /// Hands out some times, and what is found by them.
    fn by_time(
        &self,
        model: &ReplicaModel,
        check: impl Fn(i64, Option<Offset>) -> Result<(), String>,
    ) -> Result<(), String> {
        for batch in model.batches.iter().take(1).chain(model.batches.last()) {
            let time_ms = batch.max_timestamp_ms();
            let found = self.replica.offset_at(time_ms, model.end);
            let found = found.map_err(|error| format!("it cannot be read by time: {error}"))?;
            check(time_ms, found)?;
        }
        Ok(())
    }
}

/// First offset whose record has this time or a later one.
fn offset_at(model: &ReplicaModel, start: Offset, time_ms: i64) -> Option<Offset> {
    for batch in &model.batches {
        let records = batch.client.records().ok()?;
        for (number, record) in (0..).zip(records.iter()) {
            let offset = batch.placement.base_offset.plus(number);
            if offset >= start && batch.timestamp_of(&record.ok()?) >= time_ms {
                return Some(offset);
            }
        }
    }
    None
}
