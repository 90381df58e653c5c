//! Streams as a peer that misbehaves meets them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidegate_data_plane::partitions::{AppendRequest, Partitions};
use tidegate_data_plane::testing::MemoryPartitions;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::frames::{Arrived, FrameReader, Keep};
use tidegate_kit::memory::Memory;
use tidegate_kit::outlet::{Outlet, OutletBody};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::batch::{BatchBuilder, ClientBatch};
use tidegate_proto::compression::Codec;
use tidegate_proto::error::ErrorCode;
use tidegate_proto::id::{ClusterId, PartitionId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::private::append::{Answer, Append};
use tidegate_proto::private::tail::{BATCHES, TailEvent, TailWish, decode_batches};
use tidegate_proto::private::{APPEND_PATH, Pieces, TAIL_PATH, VERSION_HEADER};
use tidegate_proto::produce::Acks;
use tidegate_proto::record::{Datum, RecordRef};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::append::AppendStream;
use super::tail::TailStream;
use super::{PrivateConfig, service};
use crate::limits::{STREAM_QUEUED_BYTES_MAX, TAIL_PUSH_BYTES};

const LONG: Duration = Duration::from_secs(20);

fn batch(value_len: usize) -> ClientBatch {
    let value = "x".repeat(value_len);
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 1,
        key: Datum::Absent,
        value: Datum::Utf8(&value),
        headers: &[],
    };
    builder.push(&record).unwrap();
    builder.finish().unwrap()
}

fn append(id: u64, key: ReplicaKey, value_len: usize) -> Append {
    Append {
        id,
        key,
        leader_epoch: LeaderEpoch(1),
        acks: Acks::Quorum,
        timeout_ms: 1_000,
        expected_end: None,
        batches: vec![batch(value_len)],
    }
}

fn bytes_of(encode: impl FnOnce(&mut Pieces)) -> Bytes {
    let mut pieces = Pieces::default();
    encode(&mut pieces);
    let mut all = Vec::new();
    while let Some(piece) = pieces.take() {
        all.extend_from_slice(&piece);
    }
    Bytes::from(all)
}

/// A body of these bytes that does not end.
fn open_body(bytes: Bytes) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(bytes)]);
    Body::from_stream(first.chain(stream::pending()))
}

fn partition() -> (Arc<MemoryPartitions>, ReplicaKey) {
    let memory = MemoryPartitions::new();
    let key = memory.create_topic("t", 1).key(PartitionId(0));
    (memory, key)
}

fn append_stream(
    partitions: Arc<MemoryPartitions>,
    bodies: usize,
    stop: &CancellationToken,
) -> (AppendStream, FrameReader<OutletBody<Pieces>>) {
    let (outlet, answers) = Outlet::new(Pieces::default());
    let stream = AppendStream {
        partitions,
        bodies: ByteBudget::new(bodies),
        outlet,
        stop: stop.clone(),
        age_max: LONG * 100,
    };
    (stream, FrameReader::new(answers))
}

async fn frame(reader: &mut FrameReader<OutletBody<Pieces>>) -> Option<Arrived> {
    let next = reader.next(|_| Ok(Keep::Shared));
    tokio::time::timeout(LONG, next).await.unwrap().unwrap()
}

async fn answer(reader: &mut FrameReader<OutletBody<Pieces>>) -> Answer {
    let arrived = frame(reader).await.unwrap();
    Answer::decode(arrived.kind, &arrived.payload).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_told_to_stop_answers_what_it_took_and_says_where_it_stopped() {
    let (memory, key) = partition();
    let stop = CancellationToken::new();
    let (stream, mut answers) = append_stream(Arc::clone(&memory), 1 << 20, &stop);
    let sent = bytes_of(|out| {
        append(4, key, 10).encode(out);
        append(5, key, 10).encode(out);
    });
    let told = async {
        for id in [4, 5] {
            assert!(matches!(answer(&mut answers).await, Answer::Taken(taken) if taken.id == id));
        }
        stop.cancel();
        let Answer::Goodbye(goodbye) = answer(&mut answers).await else {
            panic!("it says something else");
        };
        assert_eq!(goodbye.first_untaken, 6);
        assert!(frame(&mut answers).await.is_none());
    };
    tokio::join!(stream.run(open_body(sent)), told);
}

#[tokio::test]
async fn an_append_that_is_damaged_or_too_large_is_refused_and_the_next_is_taken() {
    let (memory, key) = partition();
    let stop = CancellationToken::new();
    let (stream, mut answers) = append_stream(memory, 2_000, &stop);
    let mut damaged = bytes_of(|out| append(0, key, 100).encode(out)).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    damaged.extend(bytes_of(|out| {
        append(1, key, 5_000).encode(out);
        append(2, key, 100).encode(out);
    }));
    let told = async {
        for (id, expected) in [(0, ErrorCode::CorruptBatch), (1, ErrorCode::TooLarge)] {
            let Answer::Refused(refused) = answer(&mut answers).await else {
                panic!("it was taken");
            };
            assert_eq!((refused.id, refused.problem.code()), (id, expected));
        }
        assert!(matches!(answer(&mut answers).await, Answer::Taken(taken) if taken.id == 2));
        stop.cancel();
        while frame(&mut answers).await.is_some() {}
    };
    tokio::join!(stream.run(open_body(Bytes::from(damaged))), told);
}

#[tokio::test]
async fn a_peer_that_reads_no_answers_is_not_served_on_and_holds_little() {
    let (memory, key) = partition();
    let stop = CancellationToken::new();
    let (stream, answers) = append_stream(Arc::clone(&memory), 64 << 20, &stop);
    let outlet = stream.outlet.clone();
    let count = 60_000;
    let sent = bytes_of(|out| (0..count).for_each(|id| append(id, key, 1).encode(out)));
    let mut running = Box::pin(stream.run(open_body(sent)));
    let mut before = usize::MAX;
    loop {
        assert!((&mut running).now_or_never().is_none());
        let queued = outlet.look(|pieces| pieces.len());
        if queued == before {
            break;
        }
        before = queued;
        tokio::task::yield_now().await;
    }
    let bound = STREAM_QUEUED_BYTES_MAX..STREAM_QUEUED_BYTES_MAX + 64 * 1024;
    assert!(bound.contains(&before), "{before}");
    let end = memory.offsets(key).await.unwrap().end;
    assert!(end < Offset::new(count), "all were taken");
    drop(answers);
    running.await;
}

async fn push(memory: &MemoryPartitions, key: ReplicaKey, value_len: usize) {
    let request = AppendRequest {
        batches: vec![batch(value_len)],
        acks: Acks::Quorum,
        expected_end: None,
        leader_epoch_min: None,
        may_stamp: false,
        timeout: LONG,
    };
    memory.append(key, request).await.unwrap();
}

fn follow(key: ReplicaKey, batches_from: Option<Offset>) -> TailWish {
    TailWish::Follow {
        handle: 3,
        key,
        leader_epoch: LeaderEpoch(1),
        batches_from,
    }
}

#[tokio::test]
async fn batches_come_before_the_move_while_there_is_credit_and_moves_come_without() {
    let (memory, key) = partition();
    let (outlet, events) = Outlet::new(Pieces::default());
    let stream = TailStream::new(Arc::clone(&memory) as Arc<dyn Partitions>, outlet);
    let stop = CancellationToken::new();
    let wishes = bytes_of(|out| {
        TailWish::Credit { bytes: 100 }.encode(out);
        follow(key, Some(Offset::ZERO)).encode(out);
    });
    let mut events = FrameReader::new(events);
    let told = async {
        let moved = |arrived: &Arrived| match TailEvent::decode(arrived.kind, &arrived.payload) {
            Ok(TailEvent::Moved { bounds, .. }) => bounds.high_watermark.get(),
            other => panic!("{other:?}"),
        };
        assert_eq!(moved(&frame(&mut events).await.unwrap()), 0);
        push(&memory, key, 500).await;
        let first = frame(&mut events).await.unwrap();
        assert_eq!(first.kind, BATCHES);
        assert_eq!(decode_batches(first.payload).unwrap().1.len(), 1);
        assert_eq!(moved(&frame(&mut events).await.unwrap()), 1);
        // That was more than the credit.
        push(&memory, key, 500).await;
        let skipped = frame(&mut events).await.unwrap();
        let skipped = TailEvent::decode(skipped.kind, &skipped.payload).unwrap();
        let to = Offset::new(2);
        assert_eq!(skipped, TailEvent::Skipped { handle: 3, to });
        assert_eq!(moved(&frame(&mut events).await.unwrap()), 2);
        stop.cancel();
        assert!(frame(&mut events).await.is_none());
    };
    tokio::join!(
        stream.run(open_body(wishes), stop.clone(), LONG * 100),
        told
    );
}

#[tokio::test]
async fn what_is_not_in_memory_is_left_out_of_the_tail_and_nothing_reads_it_for_that() {
    let (memory, key) = partition();
    for _ in 0..3 {
        push(&memory, key, 10).await;
    }
    memory.cool(key, Offset::new(3));
    let (outlet, events) = Outlet::new(Pieces::default());
    let stream = TailStream::new(Arc::clone(&memory) as Arc<dyn Partitions>, outlet);
    let stop = CancellationToken::new();
    let wishes = bytes_of(|out| {
        TailWish::Credit { bytes: 1 << 20 }.encode(out);
        follow(key, Some(Offset::ZERO)).encode(out);
    });
    let mut events = FrameReader::new(events);
    let told = async {
        let skipped = frame(&mut events).await.unwrap();
        let skipped = TailEvent::decode(skipped.kind, &skipped.payload).unwrap();
        let to = Offset::new(3);
        assert_eq!(skipped, TailEvent::Skipped { handle: 3, to });
        frame(&mut events).await.unwrap();
        push(&memory, key, 10).await;
        assert_eq!(frame(&mut events).await.unwrap().kind, BATCHES);
        stop.cancel();
        while frame(&mut events).await.is_some() {}
    };
    tokio::join!(
        stream.run(open_body(wishes), stop.clone(), LONG * 100),
        told
    );
    assert_eq!(memory.cold_reads(), 0);
}

#[tokio::test]
async fn a_gateway_that_takes_nothing_is_sent_little_however_much_comes() {
    let (memory, key) = partition();
    let (outlet, events) = Outlet::new(Pieces::default());
    let stream = TailStream::new(Arc::clone(&memory) as Arc<dyn Partitions>, outlet.clone());
    let wishes = bytes_of(|out| {
        TailWish::Credit { bytes: u32::MAX }.encode(out);
        follow(key, Some(Offset::ZERO)).encode(out);
    });
    let stop = CancellationToken::new();
    let mut running = Box::pin(stream.run(open_body(wishes), stop, LONG * 100));
    for _ in 0..200 {
        push(&memory, key, 100_000).await;
        for _ in 0..4 {
            assert!((&mut running).now_or_never().is_none());
        }
    }
    let queued = outlet.look(|pieces| pieces.len());
    assert!(
        queued < STREAM_QUEUED_BYTES_MAX + 2 * TAIL_PUSH_BYTES,
        "{queued}"
    );
    drop(events);
    running.await;
}

#[tokio::test]
async fn a_stream_of_something_else_ends() {
    let (memory, _) = partition();
    let stop = CancellationToken::new();
    let (stream, mut answers) = append_stream(memory, 1 << 20, &stop);
    let wrong = Bytes::from_static(&[1, 0, 0, 0, 99, 7]);
    let told = async { while frame(&mut answers).await.is_some() {} };
    tokio::join!(stream.run(open_body(wrong)), told);
}

#[tokio::test]
async fn only_nodes_that_may_and_that_speak_a_known_version_are_let_in() {
    let (memory, _) = partition();
    let routes = service(PrivateConfig {
        followers: None,
        partitions: memory,
        memory: Memory::default(),
        tasks: Tasks::new(),
    });
    let cluster = ClusterId(Uuid::nil());
    let node = |role, name| {
        let name = NodeName::parse(name).unwrap();
        PeerIdentity(NodeIdentity::new(cluster, role, name).unwrap())
    };
    let gateway = || Some(node(NodeRole::Gateway, "gateway-a"));
    for (peer, versions, status) in [
        (None, "1-1", 401),
        (Some(node(NodeRole::Sc, "sc-a")), "1-1", 403),
        (gateway(), "2-3", 501),
        (gateway(), "", 501),
        (Some(node(NodeRole::Spu, "spu-7")), "1-9", 200),
        (gateway(), "1-1", 200),
    ] {
        for path in [APPEND_PATH, TAIL_PATH] {
            let mut request = http::Request::post(path)
                .header(VERSION_HEADER, versions)
                .body(Body::empty())
                .unwrap();
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{peer:?} {versions} {path}");
        }
    }
}
