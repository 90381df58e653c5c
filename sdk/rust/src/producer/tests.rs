//! The producer against a server that misbehaves: it refuses, answers late or loses its answers, and
//! keeps sequence numbers as the real one does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::ErrorCode;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::{Datum, RecordRef};

use super::*;
use crate::ClientConfig;
use crate::testing::{self, Reply};

/// What happens to one produce request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Stored,
    /// Stored, but the connection breaks before the answer.
    Lost,
    Refused(ErrorCode),
}

#[derive(Debug, Default)]
struct Store {
    fates: VecDeque<Fate>,
    leases: u64,
    /// Of the producer that wrote last.
    producer: u64,
    next_seq: u32,
    values: Vec<Vec<u8>>,
}

impl Store {
    fn handle(&mut self, path: &str, body: Bytes) -> Reply {
        if path == "/v1/producers" {
            self.leases += 1;
            let id = self.leases;
            return Reply::ok(format!(r#"{{"producer_id":{id},"producer_epoch":0}}"#));
        }
        if path == "/v1/topics/t" {
            let id = uuid::Uuid::nil();
            return Reply::ok(format!(r#"{{"id":"{id}","partitions":1}}"#));
        }
        match self.fates.pop_front().unwrap_or(Fate::Stored) {
            Fate::Stored => self.append(body),
            Fate::Lost => {
                self.append(body);
                Reply::Broken
            }
            Fate::Refused(code) => Reply::refusal(code),
        }
    }

    /// As the real one: in sequence, or known already, or refused; all of a request or none. What
    /// has no producer is stored as often as it comes.
    fn append(&mut self, mut body: Bytes) -> Reply {
        let mut batches = Vec::new();
        while !body.is_empty() {
            batches.push(ClientBatch::take_from(&mut body).unwrap());
        }
        let base_offset = self.values.len();
        let is_new = match batches[0].producer() {
            None => true,
            Some(stamp) => {
                if stamp.id.0 != self.producer {
                    (self.producer, self.next_seq) = (stamp.id.0, 0);
                }
                if stamp.seq > self.next_seq {
                    return Reply::refusal(ErrorCode::OutOfOrder);
                }
                stamp.seq == self.next_seq
            }
        };
        for batch in batches.iter().filter(|_| is_new) {
            if let Some(stamp) = batch.producer() {
                assert_eq!(stamp.seq, self.next_seq);
            }
            self.next_seq += batch.record_count();
            for record in batch.records().unwrap().iter() {
                let value = record.unwrap().value.as_bytes().unwrap().to_vec();
                self.values.push(value);
            }
        }
        let placed =
            format!(r#"{{"partition":0,"base_offset":{base_offset},"count":1,"timestamp":1}}"#);
        Reply::ok(format!(r#"{{"partitions":[{placed}],"durable":"quorum"}}"#))
    }
}

/// A running server; ends when dropped.
struct Server {
    url: String,
    store: Arc<Mutex<Store>>,
    tasks: JoinSet<()>,
}

async fn start(fates: &[Fate]) -> Server {
    let store = Arc::new(Mutex::new(Store {
        fates: fates.iter().copied().collect(),
        ..Store::default()
    }));
    let shared = store.clone();
    let handle = move |uri: &http::Uri, body| shared.lock().unwrap().handle(uri.path(), body);
    let testing::Server { url, tasks } = testing::serve(handle).await;
    Server { url, store, tasks }
}

async fn open(server: &Server) -> Producer {
    open_with(server, None).await
}

async fn open_with(server: &Server, acks: Option<Acks>) -> Producer {
    let client = Client::new(ClientConfig::new(server.url.clone())).unwrap();
    let config = ProducerConfig {
        acks,
        batch_records: 10,
        linger: Duration::from_millis(1),
        in_flight: 5,
        delivery_timeout: Duration::from_secs(10),
        ..ProducerConfig::default()
    };
    Producer::open(client, "t".parse().unwrap(), config)
        .await
        .unwrap()
}

async fn send(producer: &Producer, values: std::ops::Range<u32>) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        let text = value.to_string();
        let value = Datum::Utf8(&text);
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        deliveries.push(producer.send(&record, None).await.unwrap());
    }
    deliveries
}

fn stored(server: &Server) -> Vec<u32> {
    let store = server.store.lock().unwrap();
    let number = |value: &Vec<u8>| std::str::from_utf8(value).unwrap().parse().unwrap();
    store.values.iter().map(number).collect()
}

#[tokio::test]
async fn records_are_stored_once_and_in_order_whatever_gets_lost() {
    let server = start(&[
        Fate::Lost,
        Fate::Stored,
        Fate::Refused(ErrorCode::Overloaded),
        Fate::Lost,
        Fate::Refused(ErrorCode::OutcomeUnknown),
        Fate::Stored,
        Fate::Lost,
    ])
    .await;
    let producer = open(&server).await;
    send(&producer, 0..500).await;
    producer.flush().await.unwrap();
    assert_eq!(stored(&server), (0..500).collect::<Vec<_>>());
    let progress = *producer.progress().borrow();
    assert_eq!(
        (progress.delivered_records, progress.failed_records),
        (500, 0)
    );
    assert!(progress.repeats >= 3, "{progress:?}");
}

#[tokio::test]
async fn without_acknowledgement_a_lost_answer_makes_no_duplicates_either() {
    let server = start(&[
        Fate::Lost,
        Fate::Stored,
        Fate::Lost,
        Fate::Refused(ErrorCode::Overloaded),
    ])
    .await;
    let producer = open_with(&server, Some(Acks::None)).await;
    for first in [0, 50, 100, 150] {
        send(&producer, first..first + 50).await;
        producer.flush().await.unwrap();
    }
    assert_eq!(stored(&server), (0..200).collect::<Vec<_>>());
    assert!(producer.progress().borrow().repeats >= 2);
}

#[tokio::test]
async fn a_partition_whose_task_is_gone_is_not_taken_for_flushed() {
    let server = start(&[]).await;
    let producer = open(&server).await;
    send(&producer, 0..1).await;
    producer.tasks.lock().unwrap().abort_all();
    let flushed = producer.flush().await;
    assert!(matches!(flushed, Err(Error::Closed)), "{flushed:?}");
}

#[tokio::test]
async fn deliveries_tell_the_offset_of_each_record() {
    let server = start(&[]).await;
    let producer = open(&server).await;
    for (offset, delivery) in (0..).zip(send(&producer, 0..25).await) {
        let delivered = delivery.wait().await.unwrap();
        assert_eq!(delivered.offset.map(|found| found.get()), Some(offset));
    }
}

#[tokio::test]
async fn a_refusal_fails_what_follows_and_later_records_start_afresh() {
    let server = start(&[Fate::Refused(ErrorCode::Forbidden)]).await;
    let producer = open(&server).await;
    let first = send(&producer, 0..1).await.remove(0);
    let error = first.wait().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden));
    assert!(producer.flush().await.is_err());
    send(&producer, 1..20).await;
    producer.flush().await.unwrap();
    assert_eq!(stored(&server), (1..20).collect::<Vec<_>>());
    assert_eq!(
        server.store.lock().unwrap().leases,
        2,
        "a new identity after a gap"
    );
}

#[tokio::test]
async fn a_server_that_stays_away_fails_the_records_at_the_deadline() {
    let mut server = start(&[]).await;
    let client = Client::new(ClientConfig::new(server.url.clone())).unwrap();
    let config = ProducerConfig {
        delivery_timeout: Duration::from_millis(200),
        ..ProducerConfig::default()
    };
    let producer = Producer::open(client, "t".parse().unwrap(), config)
        .await
        .unwrap();
    server.tasks.shutdown().await;
    send(&producer, 0..3).await;
    let error = producer.flush().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(producer.progress().borrow().failed_records, 3);
    assert!(stored(&server).is_empty());
}
