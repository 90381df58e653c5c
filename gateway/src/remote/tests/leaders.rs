//! Connections that break and leaders that change, in the middle of appends.

use std::sync::atomic::Ordering;

use tidegate_data_plane::partitions::{Appended, Tail};
use tidegate_data_plane::testing::Kept;
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::LeaderEpoch;
use tidegate_proto::private::append::Append;
use tokio::sync::{oneshot, watch};
use tracing::Span;

use super::super::queue::Queued;
use super::wire::{Gate, Gated, Leading, Older, Wire};
use super::*;

const OTHER: SpuId = SpuId(2);

/// A gateway whose way to the unit can be cut, and a unit that answers when it may.
async fn cuttable() -> (Far, Arc<Gated>, Wire) {
    let mut gated = None;
    let far = Far::over(|memory| {
        let made = Gate::before(memory, false);
        gated = Some(Arc::clone(&made));
        made
    });
    let wire = Wire::to(far.unit.port, &far.tasks).await;
    far.memory.enter(SPU, Some(at_port(wire.port)));
    (far, gated.unwrap(), wire)
}

fn start(
    far: &Far,
    key: ReplicaKey,
    request: AppendRequest,
) -> oneshot::Receiver<Result<Appended, Problem>> {
    let (told, outcome) = oneshot::channel();
    let remote = Arc::clone(&far.remote);
    far.tasks
        .spawn(TaskKind::Request, Span::none(), async move {
            let _ = told.send(remote.append(key, request).await);
        });
    outcome
}

async fn taken(gated: &Gated, count: usize) {
    let wait = async {
        while gated.keeper.appends.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_connection_breaks_is_told_as_unknown() {
    let (far, gated, wire) = cuttable().await;
    let key = far.partition();
    let outcome = start(&far, key, request(batch(&["a"], None)));
    taken(&gated, 1).await;
    wire.cut();
    let problem = outcome.await.unwrap().unwrap_err();
    assert_eq!(problem.code(), ErrorCode::OutcomeUnknown, "{problem}");
    assert!(!problem.is_definite());
    // It was not sent again.
    gated.keeper.may_answer.send_replace(true);
    far.remote
        .append(key, request(batch(&["b"], None)))
        .await
        .unwrap();
    assert_eq!(all_values(&*far.remote, key).await, ["a", "b"]);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_unit_that_stalls_is_paid_for_until_its_caller_leaves_and_gone_then() {
    let far = Far::new();
    // It takes connections and says nothing.
    let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stalled.local_addr().unwrap().port();
    far.memory.enter(SPU, Some(at_port(port)));
    let key = far.partition();
    let appends = &far.remote.memory.appends;
    let all = appends.available();
    let short = |timeout| AppendRequest {
        timeout: Duration::from_millis(timeout),
        ..request(batch(&["a"], None))
    };
    let given_up = far.remote.append(key, short(20_000));
    let given_up = tokio::time::timeout(Duration::from_millis(50), given_up);
    let (given_up, late) = tokio::join!(given_up, far.remote.append(key, short(100)));
    assert!(given_up.is_err() && late.is_err());
    // The permit is in the queue beside the batches: it is back only when they are gone.
    assert_eq!(appends.available(), all);
    let (fate, told) = oneshot::channel();
    let append = Append {
        id: 0,
        key,
        leader_epoch: LeaderEpoch(1),
        acks: Acks::Quorum,
        timeout_ms: 0,
        expected_end: None,
        batches: vec![batch(&["a"], None)],
    };
    let unit = far.remote.units.unit(SPU);
    assert!(unit.lane(key).submit(Queued {
        append,
        deadline: clock::monotonic() + LONG,
        is_sent: Arc::default(),
        fate,
        _permit: Arc::new(appends.try_acquire(10).unwrap()),
    }));
    assert_eq!(appends.available(), all - 10);
    drop(told);
    unit.lane(key).left();
    assert_eq!(appends.available(), all);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_append_whose_connection_breaks_is_sent_again_and_is_there_once() {
    let (far, gated, wire) = cuttable().await;
    let key = far.partition();
    let outcome = start(&far, key, request(batch(&["a"], Some(stamp(0)))));
    taken(&gated, 1).await;
    wire.cut();
    taken(&gated, 2).await;
    gated.keeper.may_answer.send_replace(true);
    let appended = outcome.await.unwrap().unwrap();
    assert_eq!(
        (appended.base_offset, appended.duplicate),
        (Offset::ZERO, true)
    );
    assert_eq!(all_values(&*far.remote, key).await, ["a"]);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_append_whose_answer_was_lost_is_sent_again_and_is_there_once() {
    let (far, gated, wire) = cuttable().await;
    far.lease().await;
    let key = far.partition();
    let outcome = start(&far, key, plain(&["a", "b"]));
    taken(&gated, 1).await;
    wire.cut();
    taken(&gated, 2).await;
    gated.keeper.may_answer.send_replace(true);
    let appended = outcome.await.unwrap().unwrap();
    // For the client it is the first time.
    assert_eq!(
        (appended.base_offset, appended.count, appended.duplicate),
        (Offset::ZERO, 2, false)
    );
    far.remote.append(key, plain(&["c"])).await.unwrap();
    assert_eq!(all_values(&*far.remote, key).await, ["a", "b", "c"]);
    far.end().await;
}

/// A second unit over the same memory, which serves what it leads.
fn second(far: &Far) -> Unit {
    let inner = Arc::clone(&far.memory);
    let unit = far.cluster.unit(OTHER, Kept::new(inner, Leading(OTHER)));
    far.memory.enter(OTHER, Some(at_port(unit.port)));
    unit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_appends_under_way_at_a_leader_that_hangs_are_done_by_the_next_and_are_there_once() {
    let (far, gated, _wire) = cuttable().await;
    far.lease().await;
    let second = second(&far);
    let topic = far.memory.create_topic("t", 1);
    let key = topic.key(PartitionId(0));
    let mut outcomes = Vec::new();
    for value in ["a", "b", "c"] {
        outcomes.push(start(&far, key, plain(&[value])));
        taken(&gated, outcomes.len()).await;
    }
    far.memory
        .lead(&topic, PartitionId(0), OTHER, LeaderEpoch(2));
    for (outcome, at) in outcomes.into_iter().zip(0..) {
        let appended = outcome.await.unwrap().unwrap();
        let expected = (Offset::new(at), false);
        assert_eq!((appended.base_offset, appended.duplicate), expected);
    }
    assert_eq!(all_values(&*far.remote, key).await, ["a", "b", "c"]);
    gated.keeper.may_answer.send_replace(true);
    second.tasks.shutdown(LONG).await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_copies_are_still_to_find_it_is_asked_again() {
    let (far, gated, _wire) = cuttable().await;
    gated.keeper.may_answer.send_replace(true);
    let key = far.partition();
    let few = Problem::new(ErrorCode::NotEnoughReplicas, "1 of 2");
    far.memory.fail_appends(key, Some(few));
    let outcome = start(&far, key, request(batch(&["a"], None)));
    taken(&gated, 2).await;
    far.memory.fail_appends(key, None);
    assert_eq!(outcome.await.unwrap().unwrap().base_offset, Offset::ZERO);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_stamps_of_gateways_are_not_known_plain_appends_go_without() {
    let far = Far::over(|inner| Kept::new(inner, Older));
    far.lease().await;
    let key = far.partition();
    let appended = far.remote.append(key, plain(&["a"])).await.unwrap();
    assert_eq!(appended.base_offset, Offset::ZERO);
    let chunk = far.memory.read(key, Offset::ZERO, 1).await.unwrap();
    assert_eq!(chunk.batches[0].client.producer(), None);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_stops_answers_what_it_took_and_what_it_did_not_take_goes_to_the_next() {
    let (far, gated, _wire) = cuttable().await;
    let key = far.partition();
    let under_way = start(&far, key, request(batch(&["a"], None)));
    taken(&gated, 1).await;
    // The next unit is there before this one stops.
    let next = far
        .cluster
        .unit(SPU, Arc::clone(&far.memory) as Arc<dyn Partitions>);
    far.memory.enter(SPU, Some(at_port(next.port)));
    far.unit.tasks.cancel();
    let mut later = Vec::new();
    for number in 0..50 {
        later.push(start(
            &far,
            key,
            request(batch(&[&number.to_string()], None)),
        ));
    }
    for outcome in later {
        outcome.await.unwrap().unwrap();
    }
    gated.keeper.may_answer.send_replace(true);
    assert_eq!(under_way.await.unwrap().unwrap().base_offset, Offset::ZERO);
    assert_eq!(all_values(&*far.remote, key).await.len(), 51);
    next.tasks.shutdown(LONG).await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_notice_nothing_when_the_leader_changes_under_load() {
    let far = Far::over(|inner| Kept::new(inner, Leading(SPU)));
    let second = second(&far);
    let topic = far.memory.create_topic("t", 1);
    let key = topic.key(PartitionId(0));
    let mut tail = far.remote.tail(key).await.unwrap();

    let count = 600_u64;
    let (done, mut finished) = watch::channel(0);
    let remote = Arc::clone(&far.remote);
    far.tasks
        .spawn(TaskKind::Request, Span::none(), async move {
            for number in 0..count {
                let value = number.to_string();
                let appended = remote.append(key, request(batch(&[&value], None))).await;
                assert_eq!(appended.unwrap().base_offset, Offset::new(number));
                done.send_replace(number + 1);
            }
        });
    for epoch in 2..8 {
        let step = (epoch - 1) * 80;
        let reached = tokio::time::timeout(LONG, finished.wait_for(|at| *at >= step)).await;
        reached.unwrap().unwrap();
        let leader = if epoch % 2 == 0 { OTHER } else { SPU };
        far.memory
            .lead(&topic, PartitionId(0), leader, LeaderEpoch(epoch));
    }
    let all = tokio::time::timeout(LONG, finished.wait_for(|at| *at == count)).await;
    all.unwrap().unwrap();
    let all = |tail: &Tail| tail.high_watermark == Offset::new(count);
    let seen = tokio::time::timeout(LONG, tail.wait_for(all)).await;
    assert_eq!(seen.unwrap().unwrap().leader_epoch, LeaderEpoch(7));
    assert_eq!(all_values(&*far.remote, key).await.len() as u64, count);
    second.tasks.shutdown(LONG).await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_is_not_as_far_as_the_topology_takes_nothing() {
    let far = Far::new();
    let topic = far.memory.create_topic("t", 1);
    let key = topic.key(PartitionId(0));
    far.memory.lead(&topic, PartitionId(0), SPU, LeaderEpoch(3));
    far.remote
        .append(key, request(batch(&["a"], None)))
        .await
        .unwrap();
    // The memory's own replica stays in epoch 3, the topology goes on.
    far.memory
        .announce(&topic, PartitionId(0), SPU, LeaderEpoch(4));
    let short = AppendRequest {
        timeout: Duration::from_millis(300),
        ..request(batch(&["b"], None))
    };
    let problem = far.remote.append(key, short).await.unwrap_err();
    assert_eq!(problem.code(), ErrorCode::NotLeader, "{problem}");
    far.memory.lead(&topic, PartitionId(0), SPU, LeaderEpoch(4));
    far.remote
        .append(key, request(batch(&["c"], None)))
        .await
        .unwrap();
    assert_eq!(all_values(&*far.remote, key).await, ["a", "c"]);
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_copy_that_is_in_sync_answers_and_those_that_cannot_are_passed_over() {
    let far = Far::new();
    let topic = far.memory.create_topic("t", 1);
    let key = topic.key(PartitionId(0));
    far.memory.append(key, plain(&["a"])).await.unwrap();
    far.memory.copy(key);
    far.memory.append(key, plain(&["b"])).await.unwrap();
    // Nobody is known to be in sync: the leader answers.
    let read = async || {
        let chunk = far.remote.read_copy(key, Offset::ZERO, 1 << 20).await;
        values(&chunk.unwrap().batches)
    };
    assert_eq!(read().await, ["a", "b"]);
    let gone = SpuId(9);
    far.memory.enter(gone, Some(at_port(1)));
    far.memory.in_sync(&topic, PartitionId(0), &[gone, SPU]);
    for _ in 0..4 {
        assert_eq!(read().await, ["a"]);
    }
    let status = far.remote.copy_offsets(key).await.unwrap();
    assert_eq!(status.high_watermark, Offset::new(1));
    assert_eq!(all_values(&*far.remote, key).await, ["a", "b"]);
    far.end().await;
}
