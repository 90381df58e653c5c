//! What the trait promises, asked of partitions in memory and of the same ones far away.

use std::time::Duration;

use tidegate_data_plane::partitions::{AppendRequest, Partitions};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::{Acks, Durable};
use uuid::Uuid;

use super::*;

/// Runs the same questions at both doors, on a topic of its own each, and compares what they say.
async fn at_both<T: PartialEq + std::fmt::Debug>(
    ask: impl AsyncFn(Arc<dyn Partitions>, ReplicaKey, &MemoryPartitions) -> T,
) -> T {
    let far = Far::new();
    let near: Arc<dyn Partitions> = Arc::clone(&far.memory) as _;
    let near_key = far.memory.create_topic("near", 1).key(PartitionId(0));
    let far_key = far.memory.create_topic("far", 1).key(PartitionId(0));
    let expected = ask(near, near_key, &far.memory).await;
    let remote: Arc<dyn Partitions> = Arc::clone(&far.remote) as _;
    let found = ask(remote, far_key, &far.memory).await;
    assert_eq!(found, expected);
    far.end().await;
    found
}

fn told(problem: &Problem) -> (ErrorCode, Option<u64>, Option<u64>) {
    let number = |name| problem.extra(name).and_then(|value| value.as_u64());
    (problem.code(), number("log_start"), number("end"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_say_where_the_records_are_and_reads_find_them_there() {
    let found = at_both(async |partitions, key, _| {
        let one = partitions
            .append(key, request(batch(&["a", "b"], None)))
            .await;
        let large = "x".repeat(300_000);
        let two = AppendRequest {
            batches: vec![batch(&["c"], None), batch(&[large.as_str(), "d"], None)],
            acks: Acks::Leader,
            ..request(batch(&["c"], None))
        };
        let two = partitions.append(key, two).await;
        let all = all_values(&*partitions, key).await;
        let chunk = partitions.read(key, Offset::new(1), 1).await.unwrap();
        let part = (values(&chunk.batches), chunk.next, chunk.high_watermark);
        let status = partitions.offsets(key).await.unwrap();
        (one, two, all, part, status)
    })
    .await;
    let two = found.1.unwrap();
    assert_eq!(
        (two.base_offset, two.count, two.durable),
        (Offset::new(2), 3, Durable::Leader)
    );
    assert_eq!(found.2.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told_with_their_numbers() {
    let found = at_both(async |partitions, key, memory| {
        partitions
            .append(key, request(batch(&["a"], Some(stamp(0)))))
            .await
            .unwrap();
        let again = partitions
            .append(key, request(batch(&["a"], Some(stamp(0)))))
            .await
            .unwrap();
        let gap = partitions
            .append(key, request(batch(&["c"], Some(stamp(9)))))
            .await
            .unwrap_err();
        let wrong_end = AppendRequest {
            expected_end: Some(Offset::new(7)),
            ..request(batch(&["x"], None))
        };
        let wrong_end = partitions.append(key, wrong_end).await.unwrap_err();
        let beyond = partitions.read(key, Offset::new(5), 100).await.unwrap_err();
        memory.trim(key, Offset::new(1));
        let before = partitions.read(key, Offset::ZERO, 100).await.unwrap_err();
        memory.fail_appends(
            key,
            Some(Problem::new(ErrorCode::DiskFull, "full").retry_after(10)),
        );
        let full = partitions
            .append(key, request(batch(&["y"], None)))
            .await
            .unwrap_err();
        let stranger = ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            ..key
        };
        let no_topic = partitions
            .append(stranger, request(batch(&["y"], None)))
            .await
            .unwrap_err();
        (
            (again.duplicate, again.base_offset),
            told(&gap),
            told(&wrong_end),
            told(&beyond),
            told(&before),
            (told(&full), full.retry_after_s()),
            no_topic.status(),
        )
    })
    .await;
    assert_eq!(found.0, (true, Offset::ZERO));
    assert_eq!(found.2.2, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_and_sealed_ends_are_found() {
    let found = at_both(async |partitions, key, memory| {
        for (now_ms, value) in [(5, "a"), (9, "b")] {
            memory.set_now_ms(now_ms);
            partitions
                .append(key, request(batch(&[value], None)))
                .await
                .unwrap();
        }
        let at = partitions.offset_at(key, 1_700_000_000_000).await;
        let after = partitions.offset_at(key, 1_700_000_000_001).await;
        (at, after, partitions.sealed_end(key).await)
    })
    .await;
    assert_eq!(
        found,
        (Ok(Offset::ZERO), Ok(Offset::new(2)), Ok(Offset::new(2)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_shows_where_the_partition_stands_moves_with_it_and_ends_with_it() {
    at_both(async |partitions, key, memory| {
        let wait = async |tail: &mut tokio::sync::watch::Receiver<_>, end| {
            let reached = |tail: &tidegate_data_plane::partitions::Tail| {
                tail.high_watermark >= Offset::new(end)
            };
            let reached = tokio::time::timeout(LONG, tail.wait_for(reached)).await;
            *reached.unwrap().unwrap()
        };
        partitions
            .append(key, request(batch(&["a"], None)))
            .await
            .unwrap();
        let mut tail = partitions.tail(key).await.unwrap();
        let first = *tail.borrow();
        partitions
            .append(key, request(batch(&["b", "c"], None)))
            .await
            .unwrap();
        let second = wait(&mut tail, 3).await;
        // Whoever asks for bounds and follows then never sees older ones.
        partitions
            .append(key, request(batch(&["d"], None)))
            .await
            .unwrap();
        let status = partitions.offsets(key).await.unwrap();
        let late = *partitions.tail(key).await.unwrap().borrow();
        assert_eq!(late.high_watermark, status.high_watermark);
        let topology = partitions.topology();
        let name = topology
            .borrow()
            .topic_by_id(key.topic_id)
            .unwrap()
            .name
            .clone();
        memory.delete_topic(name.as_str());
        let ended = tokio::time::timeout(LONG, async { while tail.changed().await.is_ok() {} });
        (first, second, ended.await.is_ok())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_without_batches_are_answered_while_large_reads_hold_all_there_is() {
    let far = Far::new();
    let key = far.partition();
    let reads = &far.remote.memory.reads;
    let _all = reads.try_acquire(reads.available()).unwrap();
    let status = tokio::time::timeout(LONG, far.remote.offsets(key)).await;
    assert_eq!(status.unwrap().unwrap().end, Offset::ZERO);
    assert_eq!(far.remote.sealed_end(key).await, Ok(Offset::ZERO));
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_leader_ends_with_its_deadline_and_had_no_effect() {
    let far = Far::new();
    let key = far.partition();
    far.memory.enter(SPU, None);
    let short = AppendRequest {
        timeout: Duration::from_millis(300),
        ..request(batch(&["a"], None))
    };
    let problem = far.remote.append(key, short).await.unwrap_err();
    assert_eq!(problem.status(), 503, "{problem}");
    assert!(problem.is_definite());
    assert_eq!(all_values(&*far.memory, key).await, Vec::<String>::new());
    far.end().await;
}
