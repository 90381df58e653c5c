//! Who steps the shard, over a log whose rounds are written when the test says so.

use std::path::Path;
use std::pin::Pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tidegate_data_plane::partitions::{AppendRequest, Appended};
use tidegate_kit::budget::ByteBudget;
use tidegate_log::testing::MemVfs;
use tidegate_log::{Log, LogConfig, SegmentConfig};
use tidegate_proto::batch::{BatchBuilder, ClientBatch};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Durability, IsrMember, ReplicaSpec};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::limits::REPLICA_LAG_MS_DEFAULT;
use tidegate_proto::position::LeaderEpoch;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_spu_core::{Assignment, ReplicaConfig};
use tokio::sync::oneshot;

use super::super::directory::Directory;
use super::super::handle::{PartitionHandle, ShardHandle};
use super::super::hosted::Retention;
use super::super::message::Uptime;
use super::super::permit::AppendPermit;
use super::super::reader::Service;
use super::super::task::ShardParts;
use super::*;
use crate::calendar::Calendar;
use crate::limits::PARTITION_APPEND_BYTES_MAX;
use crate::storage::{self, OpenPlan};

/// A future that is polled by hand, and whether it was woken since.
struct Polled<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn polled<F: Future>(future: F) -> Polled<F> {
    Polled {
        future: Box::pin(future),
        woken: Arc::default(),
    }
}

impl<F: Future> Polled<F> {
    fn poll(&mut self) -> Poll<F::Output> {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }
}

struct Bench {
    seat: Arc<Seat>,
    log: Log,
    partition: Arc<PartitionHandle>,
}

fn bench() -> Bench {
    let seat = Seat::new();
    let listener = Arc::new(Listener::new(vec![Arc::clone(&seat)]));
    let vfs = Arc::new(MemVfs::new());
    let log = Log::open(vfs, Path::new("data"), LogConfig::default(), listener);
    let log = log.unwrap().log;
    let uptime = Uptime::start();
    seat.install(Shard::new(ShardParts {
        number: 0,
        traffic: Arc::default(),
        log: log.clone(),
        directory: Directory::new(),
        uptime,
        calendar: Arc::new(Calendar::new(None, 0, 0)),
        peers: Arc::new(super::super::peers::NoPeers),
    }));
    let (_, hosted) = storage::open_all(&log, vec![plan()]).remove(0);
    let hosted = hosted.unwrap();
    let reader = Arc::clone(&hosted.reader);
    assert!(seat.tell(Message::Open(Box::new(hosted))));
    assert!(log.run_round().unwrap());
    let shard = ShardHandle::new(Arc::clone(&seat), ByteBudget::new(1 << 20), uptime);
    let partition = Arc::new(PartitionHandle::new(reader, shard));
    Bench {
        seat,
        log,
        partition,
    }
}

fn plan() -> OpenPlan {
    let (own, incarnation) = (SpuId(1), Incarnation(1));
    OpenPlan {
        key: ReplicaKey {
            topic_id: TopicId::from_bytes([7; 16]),
            partition: PartitionId(0),
        },
        own,
        incarnation,
        intact: true,
        assignment: Assignment {
            leader: Some(own),
            leader_epoch: LeaderEpoch(1),
            version: 1,
            recovery_gen: 0,
            replica_gen: ReplicaGen::from_bytes([1; 16]),
            replicas: vec![ReplicaSpec {
                spu: own,
                replica_gen: ReplicaGen::from_bytes([1; 16]),
            }],
            isr: vec![IsrMember {
                spu: own,
                incarnation,
            }],
            min_isr: 1,
            begins_at: Offset::ZERO,
        },
        config: ReplicaConfig {
            durability: Durability::Ack,
            append_timestamps: false,
            replica_lag_ms: REPLICA_LAG_MS_DEFAULT,
        },
        segment: SegmentConfig {
            segment_bytes: 1 << 20,
            segment_ms: 1 << 40,
        },
        compaction: None,
        retention: Retention {
            age_ms: None,
            bytes: None,
            before: Offset::ZERO,
        },
    }
}

fn batch() -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 5,
        key: Datum::Absent,
        value: Datum::Utf8("a record"),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.finish().unwrap()
}

impl Bench {
    fn append(&self) -> Polled<impl Future<Output = Result<Appended, Problem>> + use<>> {
        let partition = Arc::clone(&self.partition);
        let request = AppendRequest {
            batches: vec![batch()],
            acks: Acks::Quorum,
            expected_end: None,
            leader_epoch_min: None,
            may_stamp: false,
            timeout: Duration::from_secs(60),
        };
        polled(async move { partition.append(request).await })
    }
}

fn offset(answer: Poll<Result<Appended, Problem>>) -> Offset {
    match answer {
        Poll::Ready(Ok(appended)) => appended.base_offset,
        other => panic!("{other:?} is no good answer"),
    }
}

#[test]
fn a_request_steps_the_shard_itself_and_the_round_answers_it() {
    let bench = bench();
    let mut append = bench.append();
    assert!(append.poll().is_pending());
    assert!(bench.log.run_round().unwrap(), "it was submitted at once");
    assert!(append.is_woken(), "by the thread that ran the round");
    assert_eq!(offset(append.poll()), Offset::ZERO);
}

#[test]
fn what_comes_while_somebody_is_at_the_seat_is_stepped_when_they_leave() {
    let bench = bench();
    let held = bench.seat.lock();
    let (mut first, mut second) = (bench.append(), bench.append());
    assert!(first.poll().is_pending());
    assert!(second.poll().is_pending());
    assert!(!bench.log.run_round().unwrap(), "nobody stepped them");
    bench.seat.leave(held);
    bench.seat.step_for(1);
    assert!(bench.log.run_round().unwrap());
    assert_eq!(offset(first.poll()), Offset::ZERO);
    assert_eq!(offset(second.poll()), Offset::new(1));
}

#[test]
fn who_is_sent_away_by_a_mere_look_at_the_shard_is_not_left_to_the_next_tick() {
    let bench = bench();
    let mut append = bench.append();
    bench.seat.visit(|_| assert!(append.poll().is_pending()));
    assert!(
        bench.log.run_round().unwrap(),
        "it was stepped by who looked"
    );
    assert_eq!(offset(append.poll()), Offset::ZERO);
}

#[test]
fn a_round_that_ends_while_somebody_is_at_the_seat_is_not_waited_for_nor_forgotten() {
    let bench = bench();
    let mut append = bench.append();
    assert!(append.poll().is_pending());
    let held = bench.seat.lock();
    assert!(bench.log.run_round().unwrap());
    assert!(append.poll().is_pending());
    bench.seat.leave(held);
    bench.seat.step_for(1);
    assert_eq!(offset(append.poll()), Offset::ZERO);
}

#[test]
fn more_appends_than_the_inbox_holds_are_refused_not_kept() {
    let bench = bench();
    let held = bench.seat.lock();
    let mut waiting: Vec<_> = (0..MAILBOX_MAX).map(|_| bench.append()).collect();
    assert!(waiting.iter_mut().all(|append| append.poll().is_pending()));
    let Poll::Ready(Err(refused)) = bench.append().poll() else {
        panic!("it found room");
    };
    assert_eq!(refused.code(), ErrorCode::Overloaded);
    drop(held);
    bench.seat.step_for(1);
    while bench.log.run_round().unwrap() {}
    for (number, append) in (0..).zip(&mut waiting) {
        assert_eq!(offset(append.poll()), Offset::new(number));
    }
}

#[test]
fn a_partition_holds_no_more_than_its_part_of_what_the_node_has() {
    let bench = bench();
    let reader = &bench.partition.reader;
    let node = ByteBudget::new(PARTITION_APPEND_BYTES_MAX + 100);
    let most = AppendPermit::take(&node, reader, PARTITION_APPEND_BYTES_MAX).unwrap();
    assert!(AppendPermit::take(&node, reader, 1).is_none());
    assert_eq!(node.held(), PARTITION_APPEND_BYTES_MAX);
    drop(most);
    // What the node refuses is not counted at the partition.
    let elsewhere = node.try_acquire(101).unwrap();
    assert!(AppendPermit::take(&node, reader, PARTITION_APPEND_BYTES_MAX).is_none());
    drop(elsewhere);
    assert!(AppendPermit::take(&node, reader, PARTITION_APPEND_BYTES_MAX).is_some());
    assert_eq!(node.held(), 0);
}

#[test]
fn requests_of_many_threads_are_all_appended_once_and_in_one_row() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let bench = bench();
    let barrier = Barrier::new(THREADS + 1);
    let mut offsets: Vec<Offset> = std::thread::scope(|scope| {
        let produce = || {
            let mut appends: Vec<_> = (0..EACH).map(|_| bench.append()).collect();
            barrier.wait();
            assert!(appends.iter_mut().all(|append| append.poll().is_pending()));
            barrier.wait();
            appends
                .iter_mut()
                .map(|append| offset(append.poll()))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(produce)).collect();
        barrier.wait();
        // Nobody answers before the barrier below: rounds are written after it was reached by all but
        // this thread, or some append would not be pending.
        while bench.partition.reader.log.end() < Offset::new((THREADS * EACH) as u64) {
            std::thread::yield_now();
        }
        while bench.log.run_round().unwrap() {}
        barrier.wait();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    offsets.sort();
    let all: Vec<Offset> = (0..(THREADS * EACH) as u64).map(Offset::new).collect();
    assert_eq!(offsets, all);
}

#[tokio::test]
async fn a_stop_waits_for_the_round_and_later_requests_are_refused() {
    let bench = bench();
    let cancelled = CancellationToken::new();
    let mut run = polled(Arc::clone(&bench.seat).run(cancelled));
    assert!(run.poll().is_pending());
    let mut append = bench.append();
    assert!(append.poll().is_pending());
    let (done, mut stopped) = oneshot::channel();
    assert!(bench.seat.tell(Message::Stop(done)));
    // It yields between turns; after a few there is nothing left but to wait.
    for _ in 0..8 {
        assert!(run.poll().is_pending());
    }
    assert!(stopped.try_recv().is_err(), "something is not durable yet");
    while bench.log.run_round().unwrap() {}
    assert!(run.is_woken());
    assert_eq!(offset(append.poll()), Offset::ZERO);
    while run.poll().is_pending() {}
    assert!(stopped.try_recv().is_ok());
    let Poll::Ready(Err(refused)) = bench.append().poll() else {
        panic!("nobody refused it");
    };
    assert_eq!(refused.code(), ErrorCode::Unavailable);
}

/// The log no longer knows the replica: the next append is a broken invariant of the shard's.
fn break_it(bench: &Bench) {
    bench.log.retire_replica(plan().key).unwrap();
}

/// The code, and whether it is sure that nothing was done.
fn refused(answer: Poll<Result<Appended, Problem>>) -> (ErrorCode, bool) {
    match answer {
        Poll::Ready(Err(problem)) => (problem.code(), problem.is_definite()),
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_step_that_panics_ends_what_waits_at_once_and_not_whoever_stepped() {
    let bench = bench();
    let mut waiting: Vec<_> = (0..3).map(|_| bench.append()).collect();
    assert!(waiting.iter_mut().all(|append| append.poll().is_pending()));
    break_it(&bench);
    let mut guilty = bench.append();
    let unknown = (ErrorCode::OutcomeUnknown, false);
    assert_eq!(refused(guilty.poll()), unknown);
    for append in &mut waiting {
        assert!(append.is_woken());
        assert_eq!(refused(append.poll()), unknown);
    }
    assert!(bench.seat.is_broken());
    assert_eq!(bench.partition.reader.service(), Service::ReadOnly);
    let later = refused(bench.append().poll());
    assert_eq!(later.0, ErrorCode::Unavailable);
    assert!(!bench.seat.tell(Message::Stop(oneshot::channel().0)));
    while bench.log.run_round().unwrap() {}
    assert!(bench.seat.inbox().is_empty(), "nothing piles up there");
}

#[test]
fn the_journal_thread_outlives_a_step_that_panics() {
    let bench = bench();
    let mut first = bench.append();
    assert!(first.poll().is_pending());
    let held = bench.seat.lock();
    let (mut second, mut third) = (bench.append(), bench.append());
    assert!(second.poll().is_pending() && third.poll().is_pending());
    drop(held);
    break_it(&bench);
    // It steps the shard, which finds the second append.
    while bench.log.run_round().unwrap() {}
    assert!(bench.seat.is_broken() && bench.log.dead().is_none());
    for append in [&mut first, &mut second, &mut third] {
        assert_eq!(refused(append.poll()).0, ErrorCode::OutcomeUnknown);
    }
    bench.log.close().unwrap();
}

#[test]
fn what_nobody_had_looked_at_when_a_step_panicked_is_refused_for_certain() {
    let bench = bench();
    let mut append = None;
    bench.seat.with(|_| {
        let waits = append.insert(bench.append());
        assert!(waits.poll().is_pending());
        panic!("a broken invariant");
    });
    let refused = refused(append.unwrap().poll());
    assert_eq!(refused, (ErrorCode::Unavailable, true));
}

#[tokio::test]
async fn the_task_of_a_shard_that_broke_fails_and_so_ends_the_process() {
    let bench = bench();
    let mut run = polled(Arc::clone(&bench.seat).run(CancellationToken::new()));
    assert!(run.poll().is_pending());
    bench.seat.with(|_| panic!("a broken invariant"));
    assert!(run.is_woken());
    let mut outcome = run.poll();
    while outcome.is_pending() {
        outcome = run.poll();
    }
    assert!(matches!(outcome, Poll::Ready(Err(ShardBroken))));
}
