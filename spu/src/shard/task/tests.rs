//! A shard stepped by hand, over a log whose rounds are written when the test says so.

use std::path::Path;

use tidegate_kit::budget::ByteBudget;
use tidegate_log::testing::{MemVfs, Operation};
use tidegate_log::{Entry, LogConfig, SegmentConfig, Submission};
use tidegate_proto::batch::{BatchBuilder, ClientBatch};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Durability, IsrMember, ReplicaSpec};
use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::limits::REPLICA_LAG_MS_DEFAULT;
use tidegate_proto::position::LeaderEpoch;
use tidegate_proto::produce::{Acks, Durable};
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_spu_core::{Assignment, Refusal, ReplicaConfig};

use super::super::directory::Directory;
use super::super::hosted::Retention;
use super::super::permit::AppendPermit;
use super::super::reader::Reader;
use super::super::replies::{Outcome, Pending};
use super::super::seat::{Listener, Seat};
use super::*;
use crate::storage::{self, OpenPlan};

const OWN: SpuId = SpuId(1);

/// One shard, its log and what stands around them. Its seat stays empty, so that what the log tells
/// waits in the inbox until the test has it stepped.
struct Bench {
    shard: Shard,
    seat: Arc<Seat>,
    log: Log,
    disk: MemVfs,
    budget: ByteBudget,
    /// Of what was opened last.
    reader: Option<Arc<Reader>>,
    durability: Durability,
    retention_ms: Option<u64>,
}

fn key() -> ReplicaKey {
    ReplicaKey {
        topic_id: TopicId::from_bytes([7; 16]),
        partition: PartitionId(0),
    }
}

fn row(epoch: u64, replica_gen: u8) -> Assignment {
    let incarnation = Incarnation(1);
    Assignment {
        leader: Some(OWN),
        leader_epoch: LeaderEpoch(epoch),
        version: epoch,
        recovery_gen: 0,
        replica_gen: ReplicaGen::from_bytes([replica_gen; 16]),
        replicas: vec![ReplicaSpec {
            spu: OWN,
            replica_gen: ReplicaGen::from_bytes([replica_gen; 16]),
        }],
        isr: vec![IsrMember {
            spu: OWN,
            incarnation,
        }],
        min_isr: 1,
        begins_at: Offset::ZERO,
    }
}

fn batch(text: &str) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 5,
        key: Datum::Absent,
        value: Datum::Utf8(text),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.finish().unwrap()
}

impl Bench {
    fn new(durability: Durability) -> Self {
        let seat = Seat::new();
        let listener = Arc::new(Listener::new(vec![Arc::clone(&seat)]));
        let disk = MemVfs::new();
        let vfs = Arc::new(disk.clone());
        let opened = Log::open(vfs, Path::new("data"), LogConfig::default(), listener).unwrap();
        let shard = Shard::new(ShardParts {
            number: 0,
            traffic: Arc::default(),
            log: opened.log.clone(),
            directory: Directory::new(),
            uptime: Uptime::start(),
            calendar: Arc::new(Calendar::new(None, clock::now_ms(), 0)),
            peers: Arc::new(super::super::peers::NoPeers),
        });
        Self {
            shard,
            seat,
            log: opened.log,
            disk,
            budget: ByteBudget::new(1 << 20),
            reader: None,
            durability,
            retention_ms: None,
        }
    }

    /// Opens the partition as `row` names it; the row is stepped, and nothing is written yet.
    fn open(&mut self, row: Assignment) -> Arc<Reader> {
        self.open_partitions(0..1, row).remove(0)
    }

    fn open_partitions(
        &mut self,
        numbers: std::ops::Range<u32>,
        row: Assignment,
    ) -> Vec<Arc<Reader>> {
        let plan = |number| OpenPlan {
            key: ReplicaKey {
                partition: PartitionId(number),
                ..key()
            },
            own: OWN,
            incarnation: Incarnation(1),
            intact: true,
            assignment: row.clone(),
            config: ReplicaConfig {
                durability: self.durability,
                append_timestamps: false,
                replica_lag_ms: REPLICA_LAG_MS_DEFAULT,
            },
            segment: SegmentConfig {
                segment_bytes: 1 << 20,
                segment_ms: 1 << 40,
            },
            compaction: None,
            retention: Retention {
                age_ms: self.retention_ms,
                bytes: None,
                before: Offset::ZERO,
            },
        };
        let mut readers = Vec::new();
        for (_, hosted) in storage::open_all(&self.log, numbers.map(plan).collect()) {
            let hosted = hosted.unwrap();
            readers.push(Arc::clone(&hosted.reader));
            self.reader = Some(Arc::clone(&hosted.reader));
            self.take(Message::Open(Box::new(hosted)));
        }
        readers
    }

    fn take(&mut self, message: Message) {
        self.shard.tell(message);
    }

    /// Lets the shard hear what waits for it.
    fn complete(&mut self) {
        self.shard.turn(self.seat.inbox());
    }

    fn append(&mut self, acks: Acks) -> oneshot::Receiver<Outcome> {
        self.append_batch(acks, batch("a record"))
    }

    fn append_batch(&mut self, acks: Acks, batch: ClientBatch) -> oneshot::Receiver<Outcome> {
        let (reply, answer) = oneshot::channel();
        let reader = self.reader.as_ref().unwrap();
        let permit = AppendPermit::take(&self.budget, reader, 100).unwrap();
        let message = AppendMessage {
            key: key(),
            batches: vec![batch],
            acks,
            expected_end: None,
            deadline_ms: u64::MAX,
            pending: Pending { reply, permit },
        };
        self.shard.append(self.shard.now(), message);
        self.shard.flush();
        answer
    }

    fn close(&mut self) {
        let (done, _) = oneshot::channel();
        self.take(Message::Close(key(), done));
    }

    /// Writes what waits, and lets the shard hear of it.
    fn sync(&mut self) {
        self.log.run_round().unwrap();
        self.complete();
    }

    /// Lets the disk end the log; the shard has not heard of it.
    fn kill_log(&mut self) {
        let full = std::io::ErrorKind::StorageFull;
        self.disk.fail(Operation::Sync, 0, full);
        self.log
            .create_replica(
                ReplicaKey {
                    partition: PartitionId(999),
                    ..key()
                },
                ReplicaGen::from_bytes([9; 16]),
                SegmentConfig::default(),
            )
            .unwrap_err();
    }

    fn role(&self) -> RoleName {
        self.shard.hosted[&key()].machine.role()
    }
}

#[test]
fn a_round_that_was_under_way_when_an_epoch_came_does_not_stand_for_it() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open(row(5, 1));
    bench.sync();
    let mut answer = bench.append(Acks::Quorum);
    bench.sync();
    assert!(answer.try_recv().unwrap().is_ok());
    bench.shard.maintain(); // Notes the high watermark.
    bench.log.run_round().unwrap();
    bench.take(Message::Assign(key(), row(6, 1)));
    bench.complete();
    assert_eq!(bench.role(), RoleName::Opening);
    bench.sync();
    assert_eq!(bench.role(), RoleName::Leading);
}

#[test]
fn what_an_earlier_replica_of_the_partition_wrote_does_not_count() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open(row(1, 1));
    bench.sync();
    let _gone = bench.append(Acks::Quorum);
    bench.log.run_round().unwrap();
    bench.close();
    bench.log.retire_replica(key()).unwrap();
    bench.open(row(2, 2));
    bench.complete();
    assert_eq!(bench.role(), RoleName::Opening);
    bench.sync();
    assert_eq!(bench.role(), RoleName::Leading);
    let mut answer = bench.append(Acks::Quorum);
    bench.sync();
    assert_eq!(
        answer.try_recv().unwrap().unwrap().base_offset,
        Offset::ZERO
    );
}

#[test]
fn a_replica_that_is_opened_again_at_once_takes_no_more_for_durable_than_is() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open(row(1, 1));
    bench.sync();
    let _unknown = bench.append(Acks::Quorum);
    bench.log.run_round().unwrap();
    let _unknown = bench.append(Acks::Quorum);
    bench.close();
    let reader = bench.open(row(2, 1));
    bench.complete();
    assert_eq!(
        bench.shard.hosted[&key()].machine.durable_end(),
        Offset::new(1)
    );
    assert_eq!(reader.tail().high_watermark, Offset::ZERO);
    bench.sync();
    let mut answer = bench.append(Acks::Quorum);
    bench.sync();
    assert_eq!(
        answer.try_recv().unwrap().unwrap().base_offset,
        Offset::new(2)
    );
    assert_eq!(reader.tail().high_watermark, Offset::new(3));
}

#[test]
fn what_a_dead_log_did_not_take_is_not_shown() {
    let mut bench = Bench::new(Durability::Interval);
    let reader = bench.open(row(1, 1));
    bench.sync();
    let mut taken = bench.append(Acks::Leader);
    bench.sync();
    assert!(taken.try_recv().unwrap().is_ok());
    assert_eq!(reader.tail().high_watermark, Offset::new(1));
    bench.kill_log();
    let mut refused = bench.append(Acks::None);
    let no_space = true;
    assert_eq!(
        refused.try_recv().unwrap(),
        Err(Refusal::LogFailed { no_space })
    );
    assert_eq!(reader.tail().high_watermark, Offset::new(1));
}

#[test]
fn a_request_whose_time_is_up_as_the_log_dies_stays_unknown() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open(row(1, 1));
    bench.sync();
    let mut expired = bench.append(Acks::Quorum);
    bench.log.run_round().unwrap();
    bench.kill_log();
    // Its round is on the disk; the next submission meets the end before the shard hears of it.
    let hosted = bench.shard.hosted.get_mut(&key()).unwrap();
    let now = Now {
        wall_ms: 0,
        monotonic_ms: u64::MAX,
    };
    let (outbox, replies) = (&mut bench.shard.outbox, &mut bench.shard.replies);
    outbox.step(hosted, replies, now, Input::Tick);
    let mut refused = bench.append(Acks::None);
    assert_eq!(expired.try_recv().unwrap(), Err(Refusal::OutcomeUnknown));
    assert!(matches!(
        refused.try_recv().unwrap(),
        Err(Refusal::LogFailed { .. })
    ));
}

#[test]
fn an_interval_topic_answers_and_shows_what_is_written_before_it_is_synced() {
    let mut bench = Bench::new(Durability::Interval);
    let reader = bench.open(row(1, 1));
    bench.sync();
    let mut answer = bench.append(Acks::Quorum);
    assert!(
        answer.try_recv().is_err(),
        "memory of the process is not enough"
    );
    assert_eq!(reader.tail().high_watermark, Offset::ZERO);
    bench.sync();
    let acknowledged = answer.try_recv().unwrap().unwrap();
    assert_eq!(acknowledged.durable, Durable::Memory);
    assert_eq!(reader.tail().high_watermark, Offset::new(1));
    assert_eq!(reader.log.durable_end(), Offset::ZERO);
    assert!(
        bench.budget.held() > 0,
        "its bytes are held until they are durable"
    );
    bench.log.run_sync().unwrap();
    bench.complete();
    assert_eq!(reader.log.durable_end(), Offset::new(1));
    assert_eq!(bench.budget.held(), 0);
}

#[test]
fn an_interval_topic_whose_log_is_not_written_answers_nobody() {
    let mut bench = Bench::new(Durability::Interval);
    let reader = bench.open(row(1, 1));
    bench.sync();
    let mut answer = bench.append(Acks::Quorum);
    bench
        .disk
        .fail(Operation::Write, 0, std::io::ErrorKind::Other);
    bench.log.run_round().unwrap_err();
    bench.complete();
    assert_eq!(answer.try_recv().unwrap(), Err(Refusal::OutcomeUnknown));
    assert_eq!(reader.tail().high_watermark, Offset::ZERO);
}

#[test]
fn a_stop_spares_the_next_start_what_this_one_had_to_read() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open(row(1, 1));
    bench.sync();
    let _unknown = bench.append_batch(Acks::Quorum, batch(&"x".repeat(300_000)));
    bench.sync();
    bench.close();
    let reader = bench.open(row(2, 1));
    bench.sync();
    let (done, _stopped) = oneshot::channel();
    bench.take(Message::Stop(done));
    bench.sync();
    while bench.log.run_writer_step().unwrap() {}
    let snapshot = reader.log.snapshot().unwrap().map(|(as_of, _)| as_of);
    assert_eq!(snapshot, Some(Offset::new(1)));
}

#[test]
fn a_replica_whose_snapshot_is_of_no_use_takes_nothing_when_its_log_does_not_tell_the_same() {
    for (trimmed, takes) in [(0, true), (1, false)] {
        let mut bench = Bench::new(Durability::Ack);
        bench.open(row(1, 1));
        bench.sync();
        for _ in 0..2 {
            let _unknown = bench.append(Acks::Quorum);
            bench.sync();
        }
        let (key, as_of, to) = (key(), Offset::new(1), Offset::new(trimmed));
        let bytes = "of a version to come".into();
        let snapshot = Entry::Snapshot { key, as_of, bytes };
        let entries = vec![snapshot, Entry::Trim { key, to }];
        bench.log.submit(Submission { shard: 0, entries }).unwrap();
        bench.sync();
        bench.log.checkpoint().unwrap();
        bench.close();
        bench.open(row(2, 1));
        bench.sync();
        let mut answer = bench.append(Acks::Quorum);
        bench.sync();
        let is_taken = answer.try_recv().is_ok_and(|answer| answer.is_ok());
        assert_eq!(is_taken, takes, "{trimmed} records are gone");
    }
}

#[test]
fn a_tick_looks_at_what_happened_and_at_a_few_of_a_thousand_idle_replicas() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open_partitions(0..1_000, row(1, 1));
    bench.sync();
    assert_eq!(bench.shard.maintain(), 1_000, "all were opened just now");
    for _ in 0..20 {
        assert!(bench.shard.maintain() <= crate::limits::TURNS_PER_TICK);
    }
    let mut answer = bench.append(Acks::Quorum);
    bench.sync();
    assert!(answer.try_recv().unwrap().is_ok());
    let before = bench.log.replica(key()).unwrap().high_watermark();
    assert!(bench.shard.maintain() <= 1 + crate::limits::TURNS_PER_TICK);
    let after = bench.log.replica(key()).unwrap().high_watermark();
    assert!(after > before, "what was appended to is looked at at once");
}

#[test]
fn a_request_that_waits_is_seen_to_expire_after_any_number_of_looks() {
    let mut bench = Bench::new(Durability::Ack);
    bench.open_partitions(0..300, row(1, 1));
    bench.sync();
    let mut answer = bench.append(Acks::Quorum);
    for _ in 0..10 {
        bench.shard.maintain();
        bench.shard.tick();
        let stirred: Vec<ReplicaKey> = bench.shard.outbox.rota.stirred().collect();
        assert_eq!(stirred, [key()], "it is looked at as long as it waits");
    }
    assert!(answer.try_recv().is_err());
    bench.sync();
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn followers_see_what_is_published_and_a_partition_without_any_keeps_no_channel() {
    let mut bench = Bench::new(Durability::Ack);
    let reader = bench.open(row(1, 1));
    bench.sync();
    let mut follower = reader.follow();
    let _answer = bench.append(Acks::Quorum);
    bench.sync();
    assert!(follower.has_changed().unwrap());
    assert_eq!(*follower.borrow_and_update(), reader.tail());
    drop(follower);
    let _answer = bench.append(Acks::Quorum);
    bench.sync();
    assert_eq!(reader.follow().borrow().high_watermark, reader.end());
}

#[test]
fn a_clock_that_leaps_years_ahead_deletes_nothing_for_a_day() {
    const HOUR_MS: u64 = 3_600_000;
    let year_ms = 365 * 24 * HOUR_MS as i64;
    let mut bench = Bench::new(Durability::Ack);
    bench.retention_ms = Some(HOUR_MS);
    let reader = bench.open(row(1, 1));
    bench.sync();
    for _ in 0..5 {
        let _answer = bench.append_batch(Acks::Quorum, batch(&"x".repeat(300_000)));
        bench.sync();
    }
    bench.log.checkpoint().unwrap();
    let begun = bench.shard.now();
    let mut look = |uptime_ms: u64, leap_ms: i64| {
        let now = Now {
            wall_ms: begun.wall_ms + uptime_ms as i64 + leap_ms,
            monotonic_ms: begun.monotonic_ms + uptime_ms,
        };
        // Twice: what is there is looked at in turns.
        bench.shard.maintain_at(now);
        bench.shard.maintain_at(now);
        reader.tail().log_start.get()
    };
    assert_eq!(look(1_000, year_ms), 0);
    assert_eq!(look(HOUR_MS / 2, year_ms), 0);
    assert_eq!(look(HOUR_MS / 2 + 1, 0), 0, "it was set right again");
    let later = HOUR_MS / 2 + 1_000;
    assert_eq!(look(later, year_ms), 0);
    assert!(
        look(2 * HOUR_MS, year_ms) > 0,
        "time goes on by the steady clock"
    );
}
