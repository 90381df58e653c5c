//! Scenarios and random histories of one leader, against a world that checks every effect.
//!
//! The world plays the journal: it holds what was submitted, and decides how much of it is durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Durability, IsrMember, ReplicaSpec};
use tidegate_proto::id::{Incarnation, PartitionId, ProducerId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::limits::REPLICA_LAG_MS_DEFAULT;
use tidegate_proto::produce::{Acks, Durable};
use tidegate_proto::record::{Datum, RecordRef};

use tidegate_proto::position::LogPosition;

use super::*;
use crate::effect::{Acknowledged, ReplicaMeta, RequestId};
use crate::input::ReplicaConfig;
use crate::invariant;
use crate::ledger::BatchFacts;

mod copies;
mod histories;
mod scenarios;
mod seals;

const OWN: SpuId = SpuId(1);

type Outcome = Result<Acknowledged, Refusal>;

struct World {
    replica: Replica,
    now: Now,
    epoch: u64,
    /// All that was submitted, and how many of these batches are durable.
    log: Vec<Batch>,
    durable: usize,
    /// How many of them are written: what a killed process leaves.
    written: usize,
    snapshot: Option<(Offset, Bytes)>,
    replies: BTreeMap<RequestId, Outcome>,
    wanted: BTreeMap<RequestId, Acks>,
    /// Exactly once: where each (producer, epoch, sequence) was put.
    placed: BTreeMap<(ProducerId, u16, u32), Offset>,
    high_watermark: Offset,
    interval: bool,
    /// Requests that crashes took with them.
    abandoned: usize,
}

fn facts(epoch: u64, end: Offset, ledger: Ledger, interval: bool) -> Facts {
    Facts {
        key: ReplicaKey {
            topic_id: TopicId::from_bytes([7; 16]),
            partition: PartitionId(3),
        },
        own: OWN,
        incarnation: Incarnation(epoch),
        meta: ReplicaMeta {
            replica_gen: ReplicaGen::from_bytes([1; 16]),
            leader_epoch: LeaderEpoch(epoch - 1),
            version: epoch - 1,
            recovery_gen: 0,
        },
        log_start: Offset::ZERO,
        high_watermark: Offset::ZERO,
        end,
        durable_end: end,
        intact: true,
        last_append_ms: None,
        snapshot_as_of: None,
        bytes_since_snapshot: 0,
        ledger,
        attempts_from: 0,
        config: config(interval),
    }
}

fn config(interval: bool) -> ReplicaConfig {
    let durability = if interval {
        Durability::Interval
    } else {
        Durability::Ack
    };
    ReplicaConfig {
        durability,
        append_timestamps: false,
        replica_lag_ms: REPLICA_LAG_MS_DEFAULT,
    }
}

fn row(epoch: u64, leader: Option<SpuId>) -> Assignment {
    Assignment {
        leader,
        leader_epoch: LeaderEpoch(epoch),
        version: epoch,
        recovery_gen: 0,
        replica_gen: ReplicaGen::from_bytes([1; 16]),
        replicas: vec![ReplicaSpec {
            spu: OWN,
            replica_gen: ReplicaGen::from_bytes([1; 16]),
        }],
        isr: vec![IsrMember {
            spu: OWN,
            incarnation: Incarnation(epoch),
        }],
        min_isr: 1,
        begins_at: Offset::ZERO,
    }
}

fn batch(producer: Option<(u64, u16, u32)>, count: u32, key: Option<[u8; 16]>) -> ClientBatch {
    let stamp = producer.map(|(id, epoch, seq)| ProducerStamp {
        id: ProducerId(id),
        epoch,
        seq,
        unordered: false,
    });
    stamped(stamp, count, key)
}

fn unordered_batch(id: u64, seq: u32, count: u32) -> ClientBatch {
    let stamp = ProducerStamp {
        id: ProducerId(id),
        epoch: 0,
        seq,
        unordered: true,
    };
    stamped(Some(stamp), count, None)
}

fn stamped(stamp: Option<ProducerStamp>, count: u32, key: Option<[u8; 16]>) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some(stamp) = stamp {
        builder = builder.producer(stamp);
    }
    if let Some(key) = key {
        builder = builder.request_key(key);
    }
    for n in 0..count {
        let text = format!("record {n} of {count}");
        let value = Datum::Utf8(&text);
        let record = RecordRef {
            timestamp_ms: 5,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

fn at(end: Offset) -> LogPosition {
    LogPosition {
        end,
        last_epoch: None,
    }
}

fn durable(end: Offset) -> Input {
    Input::Durable {
        round: 0,
        position: at(end),
        snapshot_as_of: None,
    }
}

fn written(end: Offset) -> Input {
    Input::Written {
        round: 0,
        position: at(end),
    }
}

fn end_of(log: &[Batch]) -> Offset {
    log.last().map_or(Offset::ZERO, Batch::next_offset)
}

impl World {
    fn new(interval: bool) -> Self {
        let mut world = Self::asleep(
            facts(1, Offset::ZERO, Ledger::default(), interval),
            interval,
        );
        world.lead(1);
        world
    }

    fn asleep(facts: Facts, interval: bool) -> Self {
        let high_watermark = facts.high_watermark;
        Self {
            replica: Replica::new(facts),
            now: Now {
                wall_ms: 1_000_000,
                monotonic_ms: 0,
            },
            epoch: 1,
            log: Vec::new(),
            durable: 0,
            written: 0,
            snapshot: None,
            replies: BTreeMap::new(),
            wanted: BTreeMap::new(),
            placed: BTreeMap::new(),
            high_watermark,
            interval,
            abandoned: 0,
        }
    }

    fn lead(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.step(Input::Assigned(row(epoch, Some(OWN))));
        assert_eq!(self.replica.role(), RoleName::Opening);
        self.step(Input::Persisted {
            epoch: LeaderEpoch(epoch),
        });
        assert_eq!(self.replica.role(), RoleName::Leading);
    }

    fn durable_end(&self) -> Offset {
        end_of(&self.log[..self.durable])
    }

    fn written_end(&self) -> Offset {
        end_of(&self.log[..self.written.max(self.durable)])
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.replica.step(self.now, input);
        for effect in &effects {
            match effect {
                Effect::Submit(batch) => self.submitted(batch),
                Effect::Snapshot { as_of, bytes } => {
                    assert!(*as_of <= self.replica.status().high_watermark);
                    self.snapshot = Some((*as_of, bytes.clone()));
                }
                Effect::Reply { request, outcome } => self.replied(*request, *outcome),
                Effect::Persist(_)
                | Effect::Checkpoint { .. }
                | Effect::Trim { .. }
                | Effect::Publish
                | Effect::Became(_)
                | Effect::Alarm(_) => {}
                Effect::Attached { .. }
                | Effect::Detach { .. }
                | Effect::ProposeIsr(_)
                | Effect::Attach { .. }
                | Effect::Ack { .. }
                | Effect::StopFollowing
                | Effect::Truncate(_) => panic!("a single copy has nobody to talk to: {effect:?}"),
            }
        }
        // A segment that ends in a batch without offsets cannot be closed for its age.
        let last = effects.iter().rev().find_map(|effect| match effect {
            Effect::Submit(batch) => Some(batch),
            _ => None,
        });
        let ends_in_marker = last.is_some_and(|last| last.client.is_control());
        assert!(!ends_in_marker, "a marker goes with the records behind it");
        let status = self.replica.status();
        invariant::high_watermark_is_monotone(self.high_watermark, status.high_watermark);
        let visible = self.promised_end();
        assert!(status.high_watermark <= visible.max(self.high_watermark));
        self.high_watermark = status.high_watermark;
        effects
    }

    fn submitted(&mut self, batch: &Batch) {
        let end = self.log.last().map_or(Offset::ZERO, Batch::next_offset);
        assert_eq!(batch.placement.base_offset, end, "offsets are dense");
        assert_eq!(batch.placement.leader_epoch, LeaderEpoch(self.epoch));
        if let Some(stamp) = batch.client.producer() {
            for n in 0..batch.client.record_count() {
                let place = (stamp.id, stamp.epoch, stamp.seq.wrapping_add(n));
                let before = self.placed.insert(place, end.plus(u64::from(n)));
                assert_eq!(before, None, "{place:?} was appended twice");
            }
        }
        self.log.push(batch.clone());
    }

    fn replied(&mut self, request: RequestId, outcome: Outcome) {
        assert!(
            self.replies.insert(request, outcome).is_none(),
            "{request:?} answered twice"
        );
        let acks = self.wanted[&request];
        if let Ok(answer) = outcome
            && acks != Acks::None
        {
            assert!(answer.end <= self.promised_end(), "early ack");
            assert!(
                answer.end <= self.durable_end() || answer.durable == Durable::Memory,
                "it says that it is on the disk"
            );
        }
    }

    /// What an answer may rest on, and a reader may see.
    fn promised_end(&self) -> Offset {
        if self.interval {
            self.written_end()
        } else {
            self.durable_end()
        }
    }

    /// The journal has so many batches more, unsynced.
    fn write(&mut self, batches: usize) {
        self.written = (self.written.max(self.durable) + batches).min(self.log.len());
        self.step(written(self.written_end()));
    }

    fn configure(&mut self, interval: bool) {
        self.interval = interval;
        self.step(Input::Configure(config(interval)));
    }

    /// kill -9: what is written is there, and durable before it is served.
    fn kill(&mut self) {
        self.durable = self.written.max(self.durable);
        self.crash();
    }

    fn append(&mut self, batches: Vec<ClientBatch>, acks: Acks, at: Option<u64>) -> RequestId {
        let request = RequestId(self.wanted.len() as u64);
        self.wanted.insert(request, acks);
        self.step(Input::Append(Append {
            request,
            batches,
            acks,
            expected_end: at.map(Offset::new),
            deadline_ms: self.now.monotonic_ms + 10_000,
        }));
        request
    }

    fn one(&mut self, producer: (u64, u16, u32), count: u32) -> RequestId {
        self.append(vec![batch(Some(producer), count, None)], Acks::Quorum, None)
    }

    fn sync(&mut self) {
        self.durable = self.log.len();
        self.step(durable(self.durable_end()));
    }

    fn outcome(&self, request: RequestId) -> Option<Outcome> {
        self.replies.get(&request).copied()
    }

    fn base(&self, request: RequestId) -> (u64, bool) {
        let answer = self.replies[&request].expect("the append went well");
        (answer.base_offset.get(), answer.duplicate)
    }

    /// The ledger as a restart finds it: the newest snapshot and the headers behind it.
    fn recovered(&self) -> Ledger {
        let durable_end = self.durable_end();
        let usable = self
            .snapshot
            .as_ref()
            .filter(|(as_of, _)| *as_of <= durable_end);
        let (from, mut ledger) = usable.map_or((Offset::ZERO, Ledger::default()), |(at, bytes)| {
            (*at, Ledger::decode(bytes).unwrap())
        });
        let behind = self.log[..self.durable]
            .iter()
            .filter(|b| b.placement.base_offset >= from);
        behind.for_each(|batch| ledger.observe(&BatchFacts::of(batch)));
        ledger
    }

    /// Power loss: what is not durable is gone.
    fn crash(&mut self) {
        let ledger = self.recovered();
        self.log.truncate(self.durable);
        self.written = self.durable;
        let mut whole = Ledger::default();
        self.log
            .iter()
            .for_each(|batch| whole.observe(&BatchFacts::of(batch)));
        assert_eq!(
            ledger, whole,
            "a snapshot and the headers behind it are the whole log"
        );
        let end = self.durable_end();
        self.placed.retain(|_, offset| *offset < end);
        self.high_watermark = Offset::ZERO;
        self.abandoned = self.wanted.len() - self.replies.len();
        let epoch = self.epoch + 1;
        self.replica = Replica::new(facts(epoch, end, ledger, self.interval));
        self.lead(epoch);
        assert_eq!(
            self.replica.status().high_watermark,
            end,
            "E4: all that is durable is committed"
        );
        self.high_watermark = end;
    }
}
