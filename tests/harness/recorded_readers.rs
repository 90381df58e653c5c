//! Those who read and write down what they were given: one over a WebSocket, one by long polls, one who asks
//! where the log ends.
//!
//! They go on until the recorder stops and they have all there is; a new connection or cursor is a new reader
//! that begins where the last one ended.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tidegate_histcheck::What;

use crate::doors::{Doors, Mishap, back_off, judge};
use crate::random::Random;
use crate::recorded::{Recorder, seen};
use crate::socket::{Event, Socket};
use crate::wait::within;

/// Where each partition ends, once nobody writes any more.
pub type Ends = Arc<OnceLock<BTreeMap<u32, u64>>>;

/// Someone who reads.
#[derive(Debug)]
pub struct Follower {
    recorder: Arc<Recorder>,
    doors: Doors,
    random: Random,
    client: u32,
    who: &'static str,
    ends: Ends,
    /// Of each partition, where to go on.
    next: BTreeMap<u32, u64>,
    readers: BTreeMap<u32, u64>,
}

impl Follower {
    #[must_use]
    pub fn new(
        recorder: &Arc<Recorder>,
        doors: Doors,
        random: Random,
        client: u32,
        who: &'static str,
        ends: &Ends,
    ) -> Self {
        Self {
            recorder: recorder.clone(),
            doors,
            random,
            client,
            who,
            ends: ends.clone(),
            next: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    fn has_all_of(&self, partition: u32) -> bool {
        let ends = self.ends.get();
        let end = ends.map(|ends| ends.get(&partition).copied().unwrap_or_default());
        end.is_some_and(|end| self.next_of(partition) >= end)
    }

    fn has_all(&self) -> bool {
        (0..self.recorder.partitions).all(|partition| self.has_all_of(partition))
    }

    fn next_of(&self, partition: u32) -> u64 {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    async fn met(&mut self, mishap: Mishap, words: String) {
        self.recorder.met(self.who, mishap, words);
        back_off(&mut self.random).await;
    }

    /// Notes a new reader of the partition.
    fn begin(&mut self, partition: u32, offset: u64) {
        let reader = self.recorder.next_id();
        self.readers.insert(partition, reader);
        self.next.insert(partition, offset);
        let what = What::ReadFrom {
            reader,
            partition,
            offset,
        };
        self.recorder.note(self.client, what);
    }

    fn take(&mut self, partition: u32, records: &Value, high_watermark: Option<u64>) {
        let all = records.as_array().expect("a list").iter();
        let all = all.map(|record| {
            let offset = record["offset"].as_u64().expect("an offset");
            seen(offset, &record["value"])
        });
        let all: Vec<_> = all.collect();
        let Some(last) = all.last() else { return };
        self.next.insert(partition, last.offset + 1);
        let reader = self.readers[&partition];
        self.recorder.took(self.client, reader, all, high_watermark);
    }

    /// Long polls of one partition.
    ///
    /// # Panics
    /// When an answer cannot be understood.
    pub async fn poll(mut self, partition: u32) {
        self.begin(partition, 0);
        let topic = self.recorder.topic;
        while !self.has_all_of(partition) {
            let from = self.next_of(partition);
            let path = format!(
                "/v1/topics/{topic}/partitions/{partition}/records?from={from}&wait_ms=500"
            );
            let nothing = Bytes::new();
            let attempt = self.doors.attempt(&Method::GET, &path, &[], &nothing);
            match judge(attempt.await) {
                Ok(answer) if answer.status == 200 => {
                    let mark = answer.header("tidegate-high-watermark");
                    let mark = mark.map(|text| text.parse().expect("a number"));
                    self.take(partition, &answer.json()["records"], mark);
                }
                Ok(answer) if answer.status == 204 => {}
                Ok(answer) => {
                    let words = format!("{} {}", answer.status, answer.text());
                    self.met(Mishap::Unknown, words).await;
                }
                Err((mishap, words)) => self.met(mishap, words).await,
            }
        }
    }

    /// One WebSocket for all partitions, opened again where the last one ended.
    ///
    /// # Panics
    /// When a frame cannot be understood.
    pub async fn listen(mut self) {
        // The one for all partitions, and the newest of each.
        let mut cursors: BTreeMap<Option<u64>, String> = BTreeMap::new();
        while !self.has_all() {
            let position = if cursors.is_empty() {
                "from=earliest".to_owned()
            } else {
                let cursors = cursors.values().map(|cursor| format!("cursor={cursor}"));
                cursors.collect::<Vec<_>>().join("&")
            };
            let path = format!("/v1/topics/{}/ws?{position}", self.recorder.topic);
            match within("a socket", Socket::open(self.doors.target(), &path)).await {
                Ok(mut socket) => {
                    for partition in 0..self.recorder.partitions {
                        self.begin(partition, self.next_of(partition));
                    }
                    if let Some((mishap, words)) = self.hear(&mut socket, &mut cursors).await {
                        self.met(mishap, words).await;
                    }
                }
                Err(error) => self.met(Mishap::NotSent, format!("{error:#}")).await,
            }
            self.doors.leave();
        }
    }

    /// Reads until the socket ends, and why when that was not in order.
    async fn hear(
        &mut self,
        socket: &mut Socket,
        cursors: &mut BTreeMap<Option<u64>, String>,
    ) -> Option<(Mishap, String)> {
        let cursor = |frame: &Value| frame["cursor"].as_str().expect("a cursor").to_owned();
        while !self.has_all() {
            let text = match socket.next().await {
                Event::Frame(text) => text,
                Event::Closed(1012, _) => return None,
                Event::Closed(1006, reason) => return Some((Mishap::Lost, reason)),
                Event::Closed(code, reason) => {
                    return Some((Mishap::Refused, format!("{code} {reason}")));
                }
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            match frame["ev"].as_str() {
                Some("subscribed") => drop(cursors.insert(None, cursor(&frame))),
                Some("records") => {
                    let partition = frame["partition"].as_u64();
                    cursors.insert(partition, cursor(&frame));
                    let partition = u32::try_from(partition.expect("a partition"));
                    self.take(partition.expect("a partition"), &frame["records"], None);
                }
                Some("gap") => {
                    let partition = u32::try_from(frame["partition"].as_u64().unwrap_or_default());
                    let to = frame["to"].as_u64().expect("an offset");
                    self.recorder
                        .met("a gap", Mishap::Unknown, text.to_string());
                    self.begin(partition.expect("a partition"), to);
                }
                Some("error") => return Some((Mishap::Refused, text.to_string())),
                // Partitions may be without a leader for a while; what matters is that their records come.
                Some("ping" | "caught_up" | "drain" | "away" | "back") => {}
                _ => panic!("what is {text}"),
            }
        }
        None
    }

    /// Asks where the logs end, until told to stop.
    ///
    /// # Panics
    /// When an answer cannot be understood.
    pub async fn ask_latest(mut self) {
        while !self.recorder.is_stopping() {
            let partition = self.random.below(u64::from(self.recorder.partitions));
            let partition = u32::try_from(partition).expect("a partition");
            let topic = self.recorder.topic;
            let path = format!("/v1/topics/{topic}/partitions/{partition}/offsets");
            let op = self.recorder.next_id();
            let ask = What::AskLatest { op, partition };
            self.recorder.note(self.client, ask);
            let nothing = Bytes::new();
            let attempt = self.doors.attempt(&Method::GET, &path, &[], &nothing);
            match judge(attempt.await) {
                Ok(answer) if answer.status == 200 => {
                    let answer = answer.json();
                    let number = |field: &str| answer[field].as_u64().expect("a number");
                    let what = What::Latest {
                        op,
                        offset: number("high_watermark"),
                        scope: Some(number("leader_epoch")),
                    };
                    self.recorder.note(self.client, what);
                }
                Ok(answer) => {
                    let words = format!("{} {}", answer.status, answer.text());
                    self.met(Mishap::Unknown, words).await;
                }
                Err((mishap, words)) => self.met(mishap, words).await,
            }
            back_off(&mut self.random).await;
        }
    }
}
