//! The part of a script about compaction: records with keys, commits, and passes.
//!
//! A pass is no submission, so it gets an entry of the history of its own, acknowledged before it
//! begins: what it may take out from then on.

use bytes::Bytes;
use tidegate_proto::batch::BatchBuilder;
use tidegate_proto::compression::Codec;
use tidegate_proto::position::Offset;
use tidegate_proto::record::{Datum, RecordRef};

use super::Script;
use crate::Entry;
use crate::images::setting::{COMPACTION, key};

/// How long a tombstone stays.
const TOMBSTONE_MS: i64 = COMPACTION.delete_retention_ms as i64;

/// Key, and whether there is a value; without a key compaction leaves a record alone.
pub type Keyed = (Option<u8>, bool);

impl Script {
    /// Appends one batch of records with keys.
    pub fn append_keyed(&mut self, partition: u32, records: &[Keyed], bytes: usize) {
        let mut builder = BatchBuilder::new(Codec::None);
        for (number, (key, has_value)) in (0..).zip(records) {
            let (key, value) = (key.map(|key| [b'k', key]), self.noise(bytes));
            let record = RecordRef {
                timestamp_ms: self.time_ms + number,
                key: key.as_ref().map_or(Datum::Absent, |key| Datum::Bytes(key)),
                value: match has_value {
                    true => Datum::Bytes(&value),
                    false => Datum::Absent,
                },
                headers: &[],
            };
            builder.push(&record).expect("the record is small");
        }
        let client = builder.finish().expect("the batch is small");
        let end = self.expected(partition).end;
        let batch = self.place(partition, client, end);
        self.submit(vec![Entry::Batch(batch)]);
    }

    /// Commits everything, with a producer snapshot of it, into synced segments.
    pub fn commit_all(&mut self, partition: u32) {
        let (key, end) = (key(partition), self.expected(partition).end);
        let bytes: Bytes = self.noise(20).into();
        let snapshot = Entry::Snapshot {
            key,
            as_of: end,
            bytes,
        };
        self.submit(vec![Entry::HighWatermark { key, offset: end }, snapshot]);
        self.settle();
        self.checkpoint();
    }

    /// Closes the segment that is written to, by age.
    pub fn roll(&mut self, partition: u32) {
        self.round();
        self.checkpoint();
        self.tick(2_000_000);
        self.append_keyed(partition, &[(None, true)], 10);
        self.settle();
    }

    /// Lets compaction do so many steps of work on a replica, or all there is. An exchange ends a step.
    /// Everything submitted must be acknowledged.
    pub fn compact(&mut self, partition: u32, steps: usize) {
        let replica = self.log.replica(key(partition)).expect("it is there");
        replica.set_compaction(Some(COMPACTION));
        let now_ms = self.time_ms;
        let is_over = |(_, at_ms): &&(Offset, i64)| at_ms + TOMBSTONE_MS <= now_ms;
        let over = self.passes.iter().filter(is_over);
        let tombstones = over.map(|(end, _)| *end).max().unwrap_or_default();
        let limit = self.now.compact(key(partition), tombstones);
        self.passes.push((limit, now_ms));
        self.submitted();
        self.acknowledged();
        for _ in 0..steps {
            let step = self.log.run_compaction_step(now_ms);
            if step.expect("the disk does not fail").is_idle {
                break;
            }
        }
        replica.set_compaction(None);
    }

    /// Cuts at an offset, where a batch begins that was appended.
    pub fn cut_to(&mut self, partition: u32, to: Offset) {
        let key = key(partition);
        self.submit(vec![Entry::Cut { key, to }]);
    }
}
