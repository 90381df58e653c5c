//! One partition in memory.
//!
//! Judges appends in the order that the leader does: producer or request key, then the expected end.

use std::collections::HashMap;

use tidegate_proto::batch::{Batch, ClientBatch, Placement};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::ProducerId;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tokio::sync::watch;

use super::EPOCH;
use crate::partitions::{AppendRequest, Appended, Chunk, Held, Tail};

pub(super) struct Replica {
    pub(super) batches: Vec<Batch>,
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    append_timestamps: bool,
    pub(super) tail: watch::Sender<Tail>,
    producers: HashMap<ProducerId, Producer>,
    unordered: HashMap<(ProducerId, u32), Appended>,
    request_keys: HashMap<[u8; 16], Appended>,
    pub(super) failure: Option<Problem>,
    pub(super) away: Option<Problem>,
    pub(super) epoch: LeaderEpoch,
    pub(super) cold_before: Offset,
}

struct Producer {
    epoch: u16,
    next_seq: u32,
    last: (u32, Appended),
}

impl Replica {
    pub(super) fn new(append_timestamps: bool) -> Self {
        let tail = Tail {
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            leader_epoch: EPOCH,
        };
        Self {
            batches: Vec::new(),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            append_timestamps,
            tail: watch::Sender::new(tail),
            producers: HashMap::new(),
            unordered: HashMap::new(),
            request_keys: HashMap::new(),
            failure: None,
            away: None,
            epoch: EPOCH,
            cold_before: Offset::ZERO,
        }
    }

    /// Another one with the same records.
    pub(super) fn copy(&self) -> Self {
        let mut copy = Self::new(self.append_timestamps);
        copy.batches.clone_from(&self.batches);
        (copy.log_start, copy.end) = (self.log_start, self.end);
        copy.epoch = self.epoch;
        copy.publish();
        copy
    }

    pub(super) fn publish(&self) {
        self.tail.send_replace(Tail {
            log_start: self.log_start,
            high_watermark: self.end,
            leader_epoch: self.epoch,
        });
    }

    pub(super) fn append(
        &mut self,
        key: ReplicaKey,
        request: AppendRequest,
        now_ms: i64,
    ) -> Result<Appended, Problem> {
        if let Some(problem) = &self.failure {
            return Err(problem.clone());
        }
        if request.leader_epoch_min.is_some_and(|min| self.epoch < min) {
            return Err(Problem::new(ErrorCode::NotLeader, "an older epoch"));
        }
        let Some(first) = request.batches.first() else {
            return Err(Problem::new(
                ErrorCode::Internal,
                "an append without batches",
            ));
        };
        if let Some(known) = self.known(first)? {
            return Ok(Appended {
                duplicate: true,
                ..known
            });
        }
        if let Some(expected) = request.expected_end
            && expected != self.end
        {
            return Err(
                Problem::new(ErrorCode::PreconditionFailed, "the end has moved")
                    .with("end", self.end.get()),
            );
        }
        let appended = Appended {
            base_offset: self.end,
            count: request
                .batches
                .iter()
                .map(|batch| u64::from(batch.record_count()))
                .sum(),
            timestamp_ms: now_ms,
            durable: request.acks.durable(),
            duplicate: false,
        };
        for batch in request.batches {
            self.remember(&batch, appended);
            self.push(key, batch, now_ms);
        }
        self.publish();
        Ok(appended)
    }

    fn push(&mut self, key: ReplicaKey, client: ClientBatch, now_ms: i64) {
        let placement = Placement {
            key,
            base_offset: self.end,
            leader_epoch: self.epoch,
            high_watermark: self.end,
            append_time_ms: now_ms,
            append_timestamps: self.append_timestamps,
        };
        let batch = Batch { placement, client };
        self.end = batch.next_offset();
        self.batches.push(batch);
    }

    /// The first answer, when this batch has been seen.
    fn known(&self, batch: &ClientBatch) -> Result<Option<Appended>, Problem> {
        if let Some(key) = batch.request_key() {
            return Ok(self.request_keys.get(&key).copied());
        }
        let Some(stamp) = batch.producer() else {
            return Ok(None);
        };
        if stamp.unordered {
            return Ok(self.unordered.get(&(stamp.id, stamp.seq)).copied());
        }
        let Some(producer) = self.producers.get(&stamp.id) else {
            return Ok(None);
        };
        if stamp.epoch < producer.epoch {
            return Err(
                Problem::new(ErrorCode::ProducerFenced, "a newer producer took over")
                    .with("current_epoch", producer.epoch),
            );
        }
        if stamp.epoch > producer.epoch || stamp.seq == producer.next_seq {
            return Ok(None);
        }
        if stamp.seq == producer.last.0 {
            return Ok(Some(producer.last.1));
        }
        Err(
            Problem::new(ErrorCode::OutOfOrder, "a sequence number is missing")
                .with("expected", producer.next_seq)
                .with("received", stamp.seq),
        )
    }

    fn remember(&mut self, batch: &ClientBatch, appended: Appended) {
        if let Some(key) = batch.request_key() {
            self.request_keys.insert(key, appended);
        }
        if let Some(stamp) = batch.producer().filter(|stamp| stamp.unordered) {
            self.unordered.insert((stamp.id, stamp.seq), appended);
        } else if let Some(stamp) = batch.producer() {
            let next_seq = stamp.seq.wrapping_add(batch.record_count());
            let producer = Producer {
                epoch: stamp.epoch,
                next_seq,
                last: (stamp.seq, appended),
            };
            self.producers.insert(stamp.id, producer);
        }
    }

    pub(super) fn read(&self, from: Offset, bytes_max: usize) -> Result<Chunk, Problem> {
        if from < self.log_start || from > self.end {
            return Err(
                Problem::new(ErrorCode::OffsetOutOfRange, "outside of the log")
                    .with("log_start", self.log_start.get())
                    .with("end", self.end.get()),
            );
        }
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for batch in self
            .batches
            .iter()
            .filter(|batch| batch.next_offset() > from)
        {
            bytes += batch.encoded_len();
            if !batches.is_empty() && bytes > bytes_max {
                break;
            }
            batches.push(batch.clone());
        }
        let next = batches.last().map_or(from, Batch::next_offset);
        let tail = *self.tail.borrow();
        Ok(Chunk {
            batches,
            next,
            log_start: tail.log_start,
            high_watermark: tail.high_watermark,
            leader_epoch: tail.leader_epoch,
            held: Held::default(),
        })
    }

    pub(super) fn offset_at(&self, time_ms: i64) -> Offset {
        for batch in &self.batches {
            let records = batch.client.records().expect("appended batches are valid");
            for (index, record) in records.iter().enumerate() {
                let record = record.expect("appended batches are valid");
                if batch.timestamp_of(&record) >= time_ms {
                    return batch.placement.base_offset.plus(index as u64);
                }
            }
        }
        self.end
    }
}
