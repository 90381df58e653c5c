//! Those who write: one producer for each partition, and one who changes settings of a topic.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tidegate_tests::deliveries::{Fate, Sent};
use tidegate_tests::doors::{Doors, Mishap, back_off, judge};
use tidegate_tests::http::Answer;
use tidegate_tests::random::Random;

use super::load::{Shared, Stage, TOPIC};

/// Records of one request, at most.
const RECORDS_MAX: u64 = 3;

/// Follows the documented rule until there is an answer; without identity an open outcome is one.
struct Sender {
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    who: String,
    repeats: bool,
}

impl Sender {
    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
    ) -> Option<Answer> {
        let mut was_lost = false;
        loop {
            let attempt = self.doors.attempt(method, path, headers, body).await;
            let (mishap, words) = match judge(attempt) {
                Ok(answer) => {
                    if was_lost && answer.header("tidegate-duplicate").is_some() {
                        let words = "it was done, and the answer lost".to_owned();
                        self.shared.met(&self.who, Mishap::Unknown, words);
                    }
                    return Some(answer);
                }
                Err(met) => met,
            };
            self.shared.met(&self.who, mishap, words);
            was_lost |= mishap == Mishap::Lost;
            let is_open = matches!(mishap, Mishap::Lost | Mishap::Unknown);
            if is_open && !self.repeats {
                return None;
            }
            back_off(&mut self.random).await;
        }
    }
}

/// Writes to one partition, on even ones with an identity, until it is told to stop.
pub(crate) async fn produce(
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    partition: u32,
) -> Vec<Sent> {
    let has_identity = partition.is_multiple_of(2);
    let kind = if has_identity { "identified" } else { "plain" };
    let mut sender = Sender {
        shared: shared.clone(),
        doors,
        random,
        who: format!("{kind} {partition}"),
        repeats: has_identity,
    };
    let identity = if has_identity {
        Some(identity(&mut sender).await)
    } else {
        None
    };
    let path = format!("/v1/topics/{TOPIC}/partitions/{partition}/records");
    let mut sent: Vec<Sent> = Vec::new();
    while !shared.is_stopping() {
        let count = 1 + sender.random.below(RECORDS_MAX);
        let first = sent.len() as u64;
        let values: Vec<String> = (first..first + count)
            .map(|number| format!("{partition}-{number}"))
            .collect();
        let records = values.iter().map(|value| json!({ "value": value }));
        let body = json!({ "records": records.collect::<Vec<Value>>() }).to_string();
        let sequence = first.to_string();
        let mut headers = vec![("content-type", "application/json")];
        if let Some((id, epoch)) = &identity {
            headers.push(("producer-id", id));
            headers.push(("producer-epoch", epoch));
            headers.push(("producer-seq", &sequence));
        }
        let began = shared.tick();
        let answer = sender
            .send(&Method::POST, &path, &headers, &body.into())
            .await;
        let fates = fates(answer, partition, count);
        let ended = shared.tick();
        sent.extend(values.into_iter().zip(fates).map(|(value, fate)| Sent {
            producer: u64::from(partition),
            value,
            began,
            ended: if fate == Fate::Unknown {
                u64::MAX
            } else {
                ended
            },
            fate,
        }));
        shared.did(partition as usize);
        back_off(&mut sender.random).await;
    }
    sent
}

async fn identity(sender: &mut Sender) -> (String, String) {
    let headers = [("content-type", "application/json")];
    let body = Bytes::from_static(b"{}");
    let answer = sender
        .send(&Method::POST, "/v1/producers", &headers, &body)
        .await;
    let answer = answer.expect("repeated until there is one").json();
    (
        answer["producer_id"].to_string(),
        answer["producer_epoch"].to_string(),
    )
}

fn fates(answer: Option<Answer>, partition: u32, count: u64) -> Vec<Fate> {
    let Some(answer) = answer else {
        return (0..count).map(|_| Fate::Unknown).collect();
    };
    assert_eq!(answer.status, 200, "{}", answer.text());
    let placed = &answer.json()["partitions"][0];
    assert_eq!(placed["partition"], partition, "{placed}");
    assert_eq!(placed["count"], count, "{placed}");
    let base = placed["base_offset"].as_u64().expect("an offset");
    (base..base + count)
        .map(|offset| Fate::Acknowledged((partition, offset)))
        .collect()
}

/// Changes a setting of a topic and reads it, through the gateways, except while there is no database.
pub(crate) async fn change_settings(
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    worker: usize,
) -> Vec<Sent> {
    let mut sender = Sender {
        shared: shared.clone(),
        doors,
        random,
        who: "settings".to_owned(),
        repeats: true,
    };
    let path = "/v1/topics/settings";
    for number in 1_u64.. {
        if shared.is_stopping() {
            break;
        }
        if shared.stage() != Stage::Outage {
            let key = format!("setting-{number}");
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", &key),
            ];
            let config = json!({ "retention_ms": number });
            let body = json!({ "replication_factor": 1, "config": config }).to_string();
            let put = sender
                .send(&Method::PUT, path, &headers, &body.into())
                .await;
            let put = put.expect("repeated until there is one");
            assert!(put.status.is_success(), "{}", put.text());
            let read = sender.send(&Method::GET, path, &[], &Bytes::new()).await;
            let read = read.expect("repeated until there is one");
            assert_eq!(read.status, 200, "{}", read.text());
        }
        shared.did(worker);
        back_off(&mut sender.random).await;
    }
    Vec::new()
}
