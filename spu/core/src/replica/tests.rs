//! Scenarios and random histories of one leader, against a world that checks every effect.
//!
//! The world plays the journal: it holds what was submitted, and decides how much of it is durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Durability, IsrMember};
use tidegate_proto::id::{Incarnation, PartitionId, ProducerId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::produce::{Acks, Durable};
use tidegate_proto::record::{Datum, RecordRef};

use super::*;
use crate::effect::Acknowledged;
use crate::input::{ReplicaConfig, RequestId};
use crate::ledger::BatchFacts;

const OWN: SpuId = SpuId(1);

type Outcome = Result<Acknowledged, Refusal>;

struct World {
    replica: Replica,
    now: Now,
    epoch: u64,
    /// All that was submitted, and how many of these batches are durable.
    log: Vec<Batch>,
    durable: usize,
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
        intact: true,
        last_append_ms: None,
        snapshot_as_of: None,
        ledger,
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
    }
}

fn row(epoch: u64, leader: Option<SpuId>) -> Assignment {
    Assignment {
        leader,
        leader_epoch: LeaderEpoch(epoch),
        version: epoch,
        recovery_gen: 0,
        replica_gen: ReplicaGen::from_bytes([1; 16]),
        isr: vec![IsrMember {
            spu: OWN,
            incarnation: Incarnation(epoch),
        }],
        min_isr: 1,
    }
}

fn batch(producer: Option<(u64, u16, u32)>, count: u32, key: Option<[u8; 16]>) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch, seq)) = producer {
        builder = builder.producer(ProducerStamp {
            id: ProducerId(id),
            epoch,
            seq,
            unordered: false,
        });
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
        Self {
            replica: Replica::new(facts),
            now: Now {
                wall_ms: 1_000_000,
                monotonic_ms: 0,
            },
            epoch: 1,
            log: Vec::new(),
            durable: 0,
            snapshot: None,
            replies: BTreeMap::new(),
            wanted: BTreeMap::new(),
            placed: BTreeMap::new(),
            high_watermark: Offset::ZERO,
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
        self.log[..self.durable]
            .last()
            .map_or(Offset::ZERO, Batch::next_offset)
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
            }
        }
        let status = self.replica.status();
        invariant::high_watermark_is_monotone(self.high_watermark, status.high_watermark);
        let visible = if self.interval {
            status.end
        } else {
            self.durable_end()
        };
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
            && !self.interval
            && !answer.duplicate
        {
            assert!(
                answer.base_offset.plus(answer.count) <= self.durable_end(),
                "early ack"
            );
        }
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
        self.step(Input::Durable {
            round: 0,
            end: self.durable_end(),
        });
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

    /// kill -9: what is not durable is gone.
    fn crash(&mut self) {
        let ledger = self.recovered();
        self.log.truncate(self.durable);
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

#[test]
fn an_epoch_is_durable_before_anything_happens_in_it() {
    let mut world = World::asleep(facts(1, Offset::ZERO, Ledger::default(), false), false);
    let early = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.outcome(early), Some(Err(Refusal::NotReady)));
    let effects = world.step(Input::Assigned(row(1, Some(OWN))));
    assert!(matches!(effects[0], Effect::Persist(meta) if meta.leader_epoch == LeaderEpoch(1)));
    let opening = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.outcome(opening), Some(Err(Refusal::NotReady)));
    world.step(Input::Persisted {
        epoch: LeaderEpoch(1),
    });
    let served = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.base(served), (0, false));
}

#[test]
fn the_marker_of_an_epoch_comes_before_its_first_batch_and_takes_no_offset() {
    let mut world = World::new(false);
    assert!(world.log.is_empty());
    world.one((1, 0, 0), 2);
    world.one((1, 0, 2), 2);
    let shape: Vec<_> = world
        .log
        .iter()
        .map(|b| (b.placement.base_offset.get(), b.client.is_control()))
        .collect();
    assert_eq!(shape, [(0, true), (0, false), (2, false)]);
}

#[test]
fn answers_wait_for_what_they_promise() {
    let mut world = World::new(false);
    let none = world.append(vec![batch(None, 1, None)], Acks::None, None);
    let leader = world.append(vec![batch(None, 1, None)], Acks::Leader, None);
    let quorum = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    assert_eq!(world.base(none), (0, false));
    assert_eq!((world.outcome(leader), world.outcome(quorum)), (None, None));
    world.sync();
    assert_eq!(world.replies[&leader].unwrap().durable, Durable::Leader);
    assert_eq!(world.replies[&quorum].unwrap().durable, Durable::Quorum);
    assert_eq!(world.base(quorum), (2, false));
}

#[test]
fn readers_are_told_before_the_producer_is() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    world.durable = world.log.len();
    let effects = world.step(Input::Durable {
        round: 1,
        end: world.durable_end(),
    });
    assert!(
        matches!(effects[..], [Effect::Publish, Effect::Reply { .. }]),
        "{effects:?}"
    );
}

#[test]
fn an_interval_topic_does_not_wait_for_the_disk_and_says_so() {
    let mut world = World::new(true);
    let request = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    assert_eq!(world.replies[&request].unwrap().durable, Durable::Memory);
    assert_eq!(world.replica.status().high_watermark, Offset::new(1));
}

#[test]
fn a_duplicate_waits_like_the_first_and_gets_its_offset() {
    let mut world = World::new(false);
    let first = world.one((1, 0, 0), 3);
    let again = world.one((1, 0, 0), 3);
    assert_eq!(world.outcome(again), None);
    world.sync();
    assert_eq!(
        (world.base(first), world.base(again)),
        ((0, false), (0, true))
    );
    let late = world.one((1, 0, 1), 1);
    assert_eq!(world.base(late), (1, true));
}

#[test]
fn an_early_request_waits_for_the_gap_to_close() {
    let mut world = World::new(false);
    let third = world.one((1, 0, 2), 1);
    let second = world.one((1, 0, 1), 1);
    assert!(world.replies.is_empty());
    let first = world.one((1, 0, 0), 1);
    world.sync();
    let bases = [first, second, third].map(|request| world.base(request));
    assert_eq!(bases, [(0, false), (1, false), (2, false)]);
}

#[test]
fn a_gap_that_stays_is_refused_with_both_numbers() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 1);
    world.sync();
    let early = world.one((1, 0, 5), 1);
    let stranger = world.one((2, 0, 5), 1);
    world.now.monotonic_ms += 999;
    world.step(Input::Tick);
    assert_eq!(world.outcome(early), None);
    world.now.monotonic_ms += 1;
    world.step(Input::Tick);
    let gap = Refusal::OutOfOrder {
        expected: 1,
        received: 5,
    };
    assert_eq!(world.outcome(early), Some(Err(gap)));
    let unknown = Refusal::UnknownProducer {
        producer: ProducerId(2),
    };
    assert_eq!(world.outcome(stranger), Some(Err(unknown)));
}

#[test]
fn an_older_epoch_of_a_producer_is_fenced() {
    let mut world = World::new(false);
    world.one((1, 4, 0), 1);
    let old = world.one((1, 3, 0), 1);
    assert_eq!(
        world.outcome(old),
        Some(Err(Refusal::Fenced { current: 4 }))
    );
    let newer = world.one((1, 5, 0), 1);
    world.sync();
    assert_eq!(world.base(newer), (1, false));
}

#[test]
fn of_a_request_seen_in_part_only_the_rest_is_appended() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 2);
    let whole = vec![
        batch(Some((1, 0, 0)), 2, None),
        batch(Some((1, 0, 2)), 3, None),
    ];
    let request = world.append(whole, Acks::Quorum, Some(0));
    world.sync();
    assert_eq!(
        (world.base(request), world.replica.status().end),
        ((0, false), Offset::new(5))
    );
}

#[test]
fn an_append_that_expects_another_end_changes_nothing() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 2, None)], Acks::Quorum, Some(0));
    let late = world.append(vec![batch(None, 2, None)], Acks::Quorum, Some(0));
    let refusal = Refusal::PreconditionFailed {
        end: Offset::new(2),
    };
    assert_eq!(world.outcome(late), Some(Err(refusal)));
    assert_eq!(world.replica.status().end, Offset::new(2));
}

#[test]
fn a_request_key_finds_its_first_answer_also_after_a_crash() {
    let mut world = World::new(false);
    let keyed = |count| {
        vec![
            batch(None, count, Some([9; 16])),
            batch(None, 1, Some([9; 16])),
        ]
    };
    let first = world.append(keyed(2), Acks::Quorum, None);
    let again = world.append(keyed(2), Acks::Quorum, None);
    world.sync();
    assert_eq!(
        (world.base(first), world.base(again)),
        ((0, false), (0, true))
    );
    world.crash();
    let later = world.append(keyed(2), Acks::Quorum, None);
    assert_eq!(world.base(later), (0, true));
    let other = world.append(keyed(3), Acks::Quorum, None);
    assert_eq!(world.outcome(other), Some(Err(Refusal::KeyReused)));
}

#[test]
fn a_higher_epoch_ends_what_waits_as_unknown() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    let parked = world.one((1, 0, 7), 1);
    world.step(Input::Assigned(row(2, Some(SpuId(2)))));
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let elsewhere = Refusal::NotLeader {
        leader: Some(SpuId(2)),
    };
    assert_eq!(world.outcome(parked), Some(Err(elsewhere)));
    let late = world.one((1, 0, 1), 1);
    assert_eq!(world.outcome(late), Some(Err(elsewhere)));
}

#[test]
fn a_row_of_an_older_epoch_is_ignored_and_two_leaders_in_one_epoch_stop_the_replica() {
    let mut world = World::new(false);
    world.lead(5);
    world.step(Input::Assigned(row(4, Some(SpuId(2)))));
    assert_eq!(world.replica.role(), RoleName::Leading);
    let effects = world.step(Input::Assigned(row(5, Some(SpuId(2)))));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alarm(_)))
    );
    assert_eq!(world.replica.role(), RoleName::Idle);
}

#[test]
fn with_too_few_in_sync_quorum_appends_are_refused_and_others_go_on() {
    let mut world = World::new(false);
    let mut lonely = row(2, Some(OWN));
    lonely.min_isr = 2;
    world.epoch = 2;
    world.step(Input::Assigned(lonely));
    world.step(Input::Persisted {
        epoch: LeaderEpoch(2),
    });
    let quorum = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    let refusal = Refusal::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(world.outcome(quorum), Some(Err(refusal)));
    world.replica.standing.incarnation = Incarnation(2);
    let leader = world.append(vec![batch(None, 1, None)], Acks::Leader, None);
    world.sync();
    assert_eq!(world.base(leader), (0, false));
    assert_eq!(world.replica.status().high_watermark, Offset::ZERO);
}

#[test]
fn a_failed_log_ends_what_waits_and_refuses_the_rest() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    world.step(Input::LogFailed { no_space: true });
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let late = world.one((1, 0, 1), 1);
    assert_eq!(
        world.outcome(late),
        Some(Err(Refusal::LogFailed { no_space: true }))
    );
}

#[test]
fn a_deadline_is_definite_before_the_append_and_unknown_after() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    world.now.monotonic_ms += 10_000;
    world.step(Input::Tick);
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let request = RequestId(77);
    world.wanted.insert(request, Acks::Quorum);
    let deadline_ms = world.now.monotonic_ms;
    let batches = vec![batch(None, 1, None)];
    let append = Append {
        request,
        batches,
        acks: Acks::Quorum,
        expected_end: None,
        deadline_ms,
    };
    world.step(Input::Append(append));
    assert_eq!(world.outcome(request), Some(Err(Refusal::DeadlinePassed)));
}

#[test]
fn retention_keeps_the_producers_of_what_it_takes() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 4);
    world.sync();
    let effects = world.step(Input::Retain { to: Offset::new(3) });
    let shape = matches!(
        effects[..],
        [
            Effect::Snapshot { .. },
            Effect::Trim { .. },
            Effect::Publish
        ]
    );
    assert!(shape, "{effects:?}");
    assert_eq!(world.replica.status().log_start, Offset::new(3));
    let again = world.one((1, 0, 0), 4);
    assert_eq!(world.base(again), (0, true));
    world.step(Input::Retain {
        to: Offset::new(99),
    });
    assert_eq!(
        world.replica.status().log_start,
        Offset::new(4),
        "never beyond what is committed"
    );
}

#[test]
fn a_damaged_replica_is_read_and_never_leads() {
    let mut facts = facts(1, Offset::new(5), Ledger::default(), false);
    (facts.intact, facts.high_watermark) = (false, Offset::new(4));
    let mut world = World::asleep(facts, false);
    let effects = world
        .replica
        .step(world.now, Input::Assigned(row(1, Some(OWN))));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alarm(_)))
    );
    assert_eq!(world.replica.role(), RoleName::Following);
    assert_eq!(world.replica.status().high_watermark, Offset::new(4));
}

#[derive(Clone, Debug)]
enum Op {
    /// A producer sends a run: next in line, an old one again, or one from the future.
    Send {
        producer: u64,
        back: u32,
        ahead: u32,
        sizes: Vec<u32>,
        acks: Acks,
    },
    Plain {
        count: u32,
        expect: bool,
    },
    Bump {
        producer: u64,
    },
    Sync {
        part: usize,
    },
    Wait {
        ms: u64,
    },
    Stop,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let acks = prop_oneof![Just(Acks::None), Just(Acks::Leader), Just(Acks::Quorum)];
    let sizes = proptest::collection::vec(1u32..4, 1..4);
    prop_oneof![
        8 => (0u64..3, 0u32..6, 0u32..3, sizes, acks).prop_map(|(producer, back, ahead, sizes, acks)| {
            Op::Send { producer, back: back.saturating_sub(2), ahead: ahead.saturating_sub(1), sizes, acks }
        }),
        2 => (1u32..4, any::<bool>()).prop_map(|(count, expect)| Op::Plain { count, expect }),
        1 => (0u64..3).prop_map(|producer| Op::Bump { producer }),
        4 => (0usize..4).prop_map(|part| Op::Sync { part }),
        1 => (0u64..3_000).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Stop),
        1 => Just(Op::Crash),
    ]
}

/// Producers as they see themselves: epoch and next sequence number.
type Senders = BTreeMap<u64, (u16, u32)>;

fn play(world: &mut World, senders: &mut Senders, op: Op) {
    match op {
        Op::Send {
            producer,
            back,
            ahead,
            sizes,
            acks,
        } => {
            let (epoch, next) = *senders.entry(producer).or_default();
            let mut seq = next.wrapping_sub(back).wrapping_add(ahead);
            let mut batches = Vec::new();
            for count in sizes {
                batches.push(batch(Some((producer, epoch, seq)), count, None));
                seq = seq.wrapping_add(count);
            }
            world.append(batches, acks, None);
            let id = ProducerId(producer);
            let mut line = (0..).map(|n: u32| next.wrapping_add(n));
            let missing = line.find(|seq| !world.placed.contains_key(&(id, epoch, *seq)));
            senders.insert(producer, (epoch, missing.unwrap_or_default()));
        }
        Op::Plain { count, expect } => {
            let end = world.replica.status().end.get();
            world.append(
                vec![batch(None, count, None)],
                Acks::Quorum,
                expect.then_some(end),
            );
        }
        Op::Bump { producer } => {
            let sender = senders.entry(producer).or_default();
            *sender = (sender.0 + 1, 0);
        }
        Op::Sync { part } => {
            world.durable += (world.log.len() - world.durable).div_ceil(part + 1);
            world.step(Input::Durable {
                round: 0,
                end: world.durable_end(),
            });
        }
        Op::Wait { ms } => {
            world.now.monotonic_ms += ms;
            world.now.wall_ms += ms as i64;
            world.step(Input::Tick);
        }
        Op::Stop => {
            world.step(Input::Stop);
            world.sync();
            world.step(Input::Checkpoint);
            crash(world, senders);
        }
        Op::Crash => crash(world, senders),
    }
}

/// Producers go on behind the last record of theirs that survived.
fn crash(world: &mut World, senders: &mut Senders) {
    world.crash();
    senders.clear();
    for (id, epoch, seq) in world.placed.keys() {
        senders.insert(id.0, (*epoch, seq + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The world asserts on every step: dense offsets, no early answer, one answer per request, a
    /// high watermark that only grows and is durable, and one place per sequence number.
    #[test]
    fn random_histories_keep_every_promise(ops in proptest::collection::vec(op(), 1..60), interval: bool) {
        let mut world = World::new(interval);
        let mut senders = Senders::new();
        for op in ops {
            play(&mut world, &mut senders, op);
        }
        world.sync();
        world.now.monotonic_ms += 60_000;
        world.step(Input::Tick);
        prop_assert_eq!(world.replies.len(), world.wanted.len() - world.abandoned, "each request ends");
        prop_assert_eq!(&world.recovered(), world.replica.ledger());
    }
}
