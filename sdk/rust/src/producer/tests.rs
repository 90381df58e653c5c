//! The producer against a server that misbehaves: it refuses, answers late or loses its answers, and
//! keeps sequence numbers as the real one does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::record::{Datum, RecordRef};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::ClientConfig;

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

type Answer = (StatusCode, String);

impl Store {
    fn handle(&mut self, path: &str, body: Bytes) -> Option<Answer> {
        if path == "/v1/producers" {
            self.leases += 1;
            let id = self.leases;
            let text = format!(r#"{{"producer_id":{id},"producer_epoch":0}}"#);
            return Some((StatusCode::OK, text));
        }
        if path == "/v1/topics/t" {
            let id = uuid::Uuid::nil();
            return Some((StatusCode::OK, format!(r#"{{"id":"{id}","partitions":1}}"#)));
        }
        let fate = self.fates.pop_front().unwrap_or(Fate::Stored);
        if let Fate::Refused(code) = fate {
            return Some(refusal(code));
        }
        let answer = self.append(body);
        (!matches!(fate, Fate::Lost)).then_some(answer)
    }

    /// As the real one: in sequence, or known already, or refused; all of a request or none.
    fn append(&mut self, mut body: Bytes) -> Answer {
        let mut batches = Vec::new();
        while !body.is_empty() {
            batches.push(ClientBatch::take_from(&mut body).unwrap());
        }
        let stamp = batches[0].producer().unwrap();
        if stamp.id.0 != self.producer {
            (self.producer, self.next_seq) = (stamp.id.0, 0);
        }
        let base_offset = self.values.len();
        if stamp.seq > self.next_seq {
            return refusal(ErrorCode::OutOfOrder);
        }
        if stamp.seq == self.next_seq {
            for batch in &batches {
                assert_eq!(batch.producer().unwrap().seq, self.next_seq);
                self.next_seq += batch.record_count();
                for record in batch.records().unwrap().iter() {
                    self.values
                        .push(record.unwrap().value.as_bytes().unwrap().to_vec());
                }
            }
        }
        let placed =
            format!(r#"{{"partition":0,"base_offset":{base_offset},"count":1,"timestamp":1}}"#);
        (
            StatusCode::OK,
            format!(r#"{{"partitions":[{placed}],"durable":"quorum"}}"#),
        )
    }
}

fn refusal(code: ErrorCode) -> Answer {
    let text = serde_json::to_string(&Problem::new(code, "no")).unwrap();
    (StatusCode::from_u16(code.status()).unwrap(), text)
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shared = store.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let store = shared.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| answer(store.clone(), request));
                let io = TokioIo::new(stream);
                let connection = hyper::server::conn::http1::Builder::new();
                // A connection that is broken on purpose ends with an error.
                let _ = connection.serve_connection(io, service).await;
            });
        }
    });
    Server { url, store, tasks }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct LostAnswer;

async fn answer(
    store: Arc<Mutex<Store>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, LostAnswer> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(|_| LostAnswer)?
        .to_bytes();
    let answer = store.lock().unwrap().handle(&path, body);
    let (status, text) = answer.ok_or(LostAnswer)?;
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

async fn open(server: &Server) -> Producer {
    let client = Client::new(ClientConfig::new(server.url.clone())).unwrap();
    let config = ProducerConfig {
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
