//! kill -9 during produce, fifty times: every acknowledged record is there afterwards, at its offset,
//! once, also of a topic whose acknowledgements do not wait for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tidegate_tests::http::{Connection, Target};
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;
use tokio::task::JoinSet;

const KILLS: u64 = 50;
const PRODUCERS: u64 = 6;
const PARTITIONS: u32 = 3;

/// Waits for the disk, and waits for the write only.
const TOPICS: [(&str, &str); 2] = [("survivors", "ack"), ("hasty", "interval")];

/// Acknowledged values by topic, partition and offset.
type Acked = BTreeMap<(&'static str, u32, u64), String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_record_survives_fifty_kills() {
    let mut server = Server::start_dev();
    for (topic, durability) in TOPICS {
        let config = format!(r#"{{"durability":"{durability}"}}"#);
        server.create_topic_with(topic, PARTITIONS, &config).await;
    }
    let mut acked = Acked::new();
    for round in 0..KILLS {
        if round > 0 {
            server.launch();
        }
        let acks = Arc::new(AtomicU64::new(0));
        let mut producers = JoinSet::new();
        for producer in 0..PRODUCERS {
            // Every other round nobody waits for the disk, whose syncs would take the others along.
            let topic = TOPICS[if round % 2 == 0 {
                1
            } else {
                producer as usize % 2
            }];
            let acks = Arc::clone(&acks);
            producers.spawn(produce(server.target(), topic, round, producer, acks));
        }
        // Each round is cut at another point of the stream.
        let enough = 5 + round * 37 % 160;
        wait_for("acknowledgements", async || {
            (acks.load(Ordering::SeqCst) >= enough).then_some(())
        })
        .await;
        server.kill();
        while let Some(of_one) = producers.join_next().await {
            for (place, value) in of_one.expect("no producer panics") {
                let before = acked.insert(place, value);
                assert_eq!(before, None, "one offset was given twice: {place:?}");
            }
        }
    }
    assert!(
        acked.len() as u64 >= KILLS * 5,
        "only {} acknowledged",
        acked.len()
    );
    server.launch();
    check(&server, &acked).await;
}

/// Sends until the connection dies; gives what was acknowledged.
async fn produce(
    target: Target,
    (topic, durability): (&'static str, &str),
    round: u64,
    producer: u64,
    acks: Arc<AtomicU64>,
) -> Acked {
    let mut acked = Acked::new();
    let Ok(mut connection) = Connection::open(&target).await else {
        return acked;
    };
    for request in 0.. {
        let values: Vec<String> = (0..=request % 4)
            .map(|n| {
                format!(r#"{{"round":{round},"producer":{producer},"request":{request},"n":{n}}}"#)
            })
            .collect();
        let partition = (producer + request) % u64::from(PARTITIONS);
        let path = format!("/v1/topics/{topic}/partitions/{partition}/records");
        let answer = if values.len() == 1 {
            connection
                .post(&path, "application/x-ndjson", values[0].clone())
                .await
        } else {
            let records: Vec<String> = values
                .iter()
                .map(|value| format!(r#"{{"value":{value}}}"#))
                .collect();
            let body = format!(r#"{{"records":[{}]}}"#, records.join(","));
            connection.post(&path, "application/json", body).await
        };
        let Ok(answer) = answer else { return acked };
        if answer.status != 200 {
            return acked;
        }
        let answer = answer.json();
        let placed = &answer["partitions"][0];
        let durable = if durability == "ack" {
            "quorum"
        } else {
            "memory"
        };
        assert_eq!(answer["durable"], durable);
        let base = placed["base_offset"].as_u64().expect("an offset");
        let partition = u32::try_from(partition).expect("small");
        for (offset, value) in (base..).zip(values) {
            acked.insert((topic, partition, offset), value);
        }
        acks.fetch_add(1, Ordering::SeqCst);
    }
    acked
}

async fn check(server: &Server, acked: &Acked) {
    let mut connection = server.connect().await.expect("a connection");
    let mut seen = BTreeMap::new();
    let mut stored = Acked::new();
    let partitions = TOPICS
        .iter()
        .flat_map(|(topic, _)| (0..PARTITIONS).map(move |partition| (*topic, partition)));
    for (topic, partition) in partitions {
        for record in read_all(&mut connection, topic, partition, 0)
            .await
            .expect("dense offsets")
        {
            let value = String::from_utf8(value_text(&record).to_vec()).expect("UTF-8");
            let json: Value = serde_json::from_str(&value).expect("whole values only");
            assert!(json["round"].is_u64(), "a value that nobody sent: {value}");
            let place = (topic, partition, record.offset);
            if let Some(first) = seen.insert(value.clone(), place) {
                panic!("{value} stands at {first:?} and at {place:?}");
            }
            stored.insert(place, value);
        }
    }
    for (place, value) in acked {
        assert_eq!(
            stored.get(place),
            Some(value),
            "the acknowledged record at {place:?}"
        );
    }
}
