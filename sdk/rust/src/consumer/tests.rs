//! The consumer against a server that reads cursors as the real one does: partitions that a request
//! is for and its cursor leaves out start at their first record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use tidegate_proto::batch::{Batch, BatchBuilder, Placement};
use tidegate_proto::compression::Codec;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::ErrorCode;
use tidegate_proto::id::TopicId;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use tokio::sync::watch;
use uuid::Uuid;

mod sockets;

use super::*;
use crate::ClientConfig;
use crate::testing::{Reply, Server, serve};

/// How often the server was asked for a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    answered: u32,
    held: u32,
}

/// Batches of one record in each partition, by offset.
struct Log {
    lengths: Vec<u64>,
    asked: watch::Sender<Asked>,
    /// Partitions of each page that was asked for.
    wanted: Mutex<Vec<Vec<u32>>>,
    /// What those who ask for a socket get, one after the other.
    sockets: Mutex<VecDeque<Reply>>,
    /// Where those sockets were to begin.
    cursors: Mutex<Vec<Cursor>>,
}

impl Log {
    fn handle(&self, uri: &Uri) -> Reply {
        let query: BTreeMap<&str, &str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        match uri.path().strip_prefix("/v1/topics/t").unwrap() {
            "" => {
                let partitions = self.lengths.len();
                let id = Uuid::nil();
                Reply::ok(format!(r#"{{"id":"{id}","partitions":{partitions}}}"#))
            }
            "/records" => self.page(&query),
            "/ws" => match self.sockets.lock().unwrap().pop_front() {
                Some(socket) => {
                    self.cursors
                        .lock()
                        .unwrap()
                        .push(Cursor::parse(query["cursor"]).unwrap());
                    socket
                }
                // As behind a proxy that knows no sockets.
                None => Reply::refusal(ErrorCode::NotSupported),
            },
            path => {
                let partition: usize = path.split('/').nth(2).unwrap().parse().unwrap();
                let end = self.lengths[partition];
                Reply::ok(format!(
                    r#"{{"log_start":0,"high_watermark":{end},"end":{end},"leader_epoch":1}}"#
                ))
            }
        }
    }

    /// One batch of each partition that has more.
    fn page(&self, query: &BTreeMap<&str, &str>) -> Reply {
        let cursor = Cursor::parse(query["cursor"]).unwrap();
        let wanted: Vec<u32> = match query.get("partitions") {
            Some(list) => list.split(',').map(|text| text.parse().unwrap()).collect(),
            None => (0..).take(self.lengths.len()).collect(),
        };
        let mut body = Vec::new();
        for partition in &wanted {
            let at = cursor.positions.get(&PartitionId(*partition));
            let offset = at.map_or(Offset::ZERO, |position| position.offset);
            if offset.get() < self.lengths[*partition as usize] {
                batch(*partition, offset).encode_into(&mut body);
            }
        }
        self.wanted.lock().unwrap().push(wanted);
        let is_held = body.is_empty();
        self.asked.send_modify(|asked| match is_held {
            true => asked.held += 1,
            false => asked.answered += 1,
        });
        if is_held {
            return Reply::Held;
        }
        Reply::Answer(StatusCode::OK, body.into())
    }
}

fn batch(partition: u32, base_offset: Offset) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 1,
        key: Datum::Absent,
        value: Datum::Utf8("x"),
        headers: &[],
    };
    builder.push(&record).unwrap();
    let placement = Placement {
        key: ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(partition),
        },
        base_offset,
        leader_epoch: LeaderEpoch(1),
        high_watermark: base_offset,
        append_time_ms: 1,
        append_timestamps: false,
    };
    Batch {
        placement,
        client: builder.finish().unwrap(),
    }
}

async fn start(lengths: &[u64]) -> (Server, Arc<Log>) {
    let log = Arc::new(Log {
        lengths: lengths.to_vec(),
        asked: watch::Sender::default(),
        wanted: Mutex::default(),
        sockets: Mutex::default(),
        cursors: Mutex::default(),
    });
    let shared = log.clone();
    let server = serve(move |uri: &Uri, _body: Bytes| shared.handle(uri)).await;
    (server, log)
}

async fn open(server: &Server, config: ConsumerConfig) -> Result<Consumer, Error> {
    let client = Client::new(ClientConfig::new(server.url.clone()))?;
    Consumer::open(client, "t".parse().unwrap(), config).await
}

async fn count_to_end(consumer: &mut Consumer) -> u64 {
    let mut records = 0;
    while let Some(page) = consumer.next_page().await.unwrap() {
        records += page.len();
    }
    records
}

#[tokio::test]
async fn a_follower_of_one_partition_at_its_end_makes_only_long_polls() {
    let (server, log) = start(&[3, 2, 3]).await;
    let config = ConsumerConfig {
        partitions: Some(vec![PartitionId(1)]),
        ..ConsumerConfig::default()
    };
    let _consumer = open(&server, config).await.unwrap();
    let mut asked = log.asked.subscribe();
    let first = asked.wait_for(|asked| *asked != Asked::default()).await;
    let only_held = Asked {
        answered: 0,
        held: 1,
    };
    assert_eq!(*first.unwrap(), only_held);
}

#[tokio::test]
async fn partitions_read_to_their_end_are_not_asked_for_again() {
    let (server, log) = start(&[1, 4, 2, 9]).await;
    let config = ConsumerConfig {
        from: StartPosition::Earliest,
        partitions: Some((0..3).map(PartitionId).collect()),
        follow: false,
        ..ConsumerConfig::default()
    };
    let mut consumer = open(&server, config).await.unwrap();
    assert_eq!(count_to_end(&mut consumer).await, 7);
    assert_eq!(
        *log.wanted.lock().unwrap(),
        [vec![0, 1, 2], vec![1, 2], vec![1], vec![1]]
    );
    assert!(
        consumer.next_page().await.unwrap().is_none(),
        "it stays at the end"
    );
}

#[tokio::test]
async fn a_task_that_is_gone_is_not_taken_for_the_end() {
    let (server, _log) = start(&[0]).await;
    let mut consumer = open(&server, ConsumerConfig::default()).await.unwrap();
    consumer._task.abort_all();
    let next = consumer.next_page().await;
    assert!(matches!(next, Err(Error::Closed)), "{next:?}");
}

#[tokio::test]
async fn an_offset_beyond_the_end_is_an_error_with_or_without_following() {
    let (server, log) = start(&[5]).await;
    for follow in [true, false] {
        let config = |offset| ConsumerConfig {
            from: StartPosition::Offset(Offset::new(offset)),
            follow,
            wait: Duration::from_secs(1),
            ..ConsumerConfig::default()
        };
        let error = open(&server, config(6)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
        assert!(open(&server, config(5)).await.is_ok(), "the end is a place");
    }
    assert_eq!(log.asked.borrow().answered, 0);
}
