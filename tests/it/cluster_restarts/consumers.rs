//! Those who read everything, each over another transport, and go on from their cursor when they have to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tidegate_tests::deliveries::Read;
use tidegate_tests::doors::{Doors, Mishap, back_off, judge};
use tidegate_tests::http::Connection;
use tidegate_tests::random::Random;
use tidegate_tests::socket::{Event, Socket};
use tidegate_tests::wait::within;

use super::load::{Shared, TOPIC};

/// What one consumer has read, and how it goes on.
struct Consumer {
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    worker: usize,
    who: &'static str,
    read: BTreeMap<u32, Vec<(u64, String)>>,
}

impl Consumer {
    fn new(
        who: &'static str,
        shared: Arc<Shared>,
        doors: Doors,
        random: Random,
        worker: usize,
    ) -> Self {
        Self {
            shared,
            doors,
            random,
            worker,
            who,
            read: BTreeMap::new(),
        }
    }

    fn take(&mut self, records: &Value) {
        for record in records.as_array().expect("a list") {
            let partition = record["partition"].as_u64().expect("a partition");
            let partition = u32::try_from(partition).expect("a partition");
            let offset = record["offset"].as_u64().expect("an offset");
            let value = record["value"].as_str().expect("text").to_owned();
            self.read
                .entry(partition)
                .or_default()
                .push((offset, value));
        }
        self.shared.did(self.worker);
    }

    /// Whether everything has been read that there will ever be.
    fn has_all(&self) -> bool {
        self.shared.ends.get().is_some_and(|ends| {
            ends.iter().all(|(partition, end)| {
                let read = self.read.get(partition).and_then(|records| records.last());
                read.map_or(0, |(offset, _)| offset + 1) >= *end
            })
        })
    }

    async fn met(&mut self, mishap: Mishap, words: String) {
        self.shared.met(self.who, mishap, words);
        back_off(&mut self.random).await;
    }

    fn end(self) -> Vec<Read> {
        let records = self.read.into_iter();
        records
            .map(|(partition, records)| Read {
                consumer: self.who.to_owned(),
                partition,
                records,
            })
            .collect()
    }
}

/// Long polls, one page after the other.
pub(crate) async fn follow_pages(
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    worker: usize,
) -> Vec<Read> {
    let mut consumer = Consumer::new("pages", shared, doors, random, worker);
    let mut position = "from=earliest".to_owned();
    while !consumer.has_all() {
        let path = format!("/v1/topics/{TOPIC}/records?{position}&wait_ms=1000");
        let nothing = Bytes::new();
        let attempt = consumer.doors.attempt(&Method::GET, &path, &[], &nothing);
        match judge(attempt.await) {
            Ok(answer) => {
                assert!(answer.status.is_success(), "{}", answer.text());
                let cursor = answer.header("tidegate-cursor").expect("a cursor");
                position = format!("cursor={cursor}");
                if answer.status == 200 {
                    consumer.take(&answer.json()["records"]);
                }
            }
            Err((mishap, words)) => consumer.met(mishap, words).await,
        }
    }
    consumer.end()
}

/// A WebSocket, opened again where the last one ended.
pub(crate) async fn follow_socket(
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    worker: usize,
) -> Vec<Read> {
    let mut consumer = Consumer::new("socket", shared, doors, random, worker);
    // The one for all partitions, and the newest of each.
    let mut cursors: BTreeMap<Option<u64>, String> = BTreeMap::new();
    while !consumer.has_all() {
        let position = match cursors.is_empty() {
            true => "from=earliest".to_owned(),
            false => cursors
                .values()
                .map(|cursor| format!("cursor={cursor}"))
                .collect::<Vec<_>>()
                .join("&"),
        };
        let path = format!("/v1/topics/{TOPIC}/ws?{position}");
        let opened = within("a socket", Socket::open(consumer.doors.target(), &path)).await;
        match opened {
            Ok(mut socket) => {
                if let Some((mishap, words)) =
                    read_socket(&mut consumer, &mut socket, &mut cursors).await
                {
                    consumer.met(mishap, words).await;
                }
            }
            Err(error) => consumer.met(Mishap::NotSent, format!("{error:#}")).await,
        }
        consumer.doors.leave();
    }
    consumer.end()
}

/// Reads until the socket ends, and why when that was not in order.
async fn read_socket(
    consumer: &mut Consumer,
    socket: &mut Socket,
    cursors: &mut BTreeMap<Option<u64>, String>,
) -> Option<(Mishap, String)> {
    let cursor = |frame: &Value| frame["cursor"].as_str().expect("a cursor").to_owned();
    while !consumer.has_all() {
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
                cursors.insert(frame["partition"].as_u64(), cursor(&frame));
                consumer.take(&frame["records"]);
            }
            Some("error") => return Some((Mishap::Refused, text.to_string())),
            // Partitions may be without a leader for a moment; what matters is that their records come.
            Some("ping" | "caught_up" | "drain" | "away" | "back") => {}
            _ => panic!("what is {text}"),
        }
    }
    None
}

/// Server-sent events, with `Last-Event-ID`.
pub(crate) async fn follow_events(
    shared: Arc<Shared>,
    doors: Doors,
    random: Random,
    worker: usize,
) -> Vec<Read> {
    let mut consumer = Consumer::new("events", shared, doors, random, worker);
    let mut last = String::new();
    while !consumer.has_all() {
        match read_events(&mut consumer, &mut last).await {
            Ok(()) => {}
            Err((mishap, words)) => consumer.met(mishap, words).await,
        }
        consumer.doors.leave();
    }
    consumer.end()
}

async fn read_events(consumer: &mut Consumer, last: &mut String) -> Result<(), (Mishap, String)> {
    let failed = |mishap| move |error: anyhow::Error| (mishap, format!("{error:#}"));
    let path = format!("/v1/topics/{TOPIC}/events?from=earliest");
    let opened = within("a connection", Connection::open(consumer.doors.target())).await;
    let mut connection = opened.map_err(failed(Mishap::NotSent))?;
    let header = [("last-event-id", last.as_str())];
    let headers = if last.is_empty() {
        &header[..0]
    } else {
        &header
    };
    let answer = within("a head", connection.stream(&path, headers)).await;
    let answer = answer.map_err(failed(Mishap::Lost))?;
    if !answer.status().is_success() {
        return Err((Mishap::Refused, answer.status().to_string()));
    }
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while !consumer.has_all() {
        let frame = match within("an event", body.frame()).await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Err((Mishap::Lost, error.to_string())),
            None => return Err((Mishap::Lost, "no word of an end".to_owned())),
        };
        text.extend_from_slice(&frame);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let event = String::from_utf8(event).expect("text");
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let Some(id) = field("id: ") {
                id.clone_into(last);
            }
            match field("event: ") {
                Some("records") => {
                    let data = field("data: ").expect("data");
                    let data: Value = serde_json::from_str(data).expect("JSON");
                    consumer.take(&data["records"]);
                }
                Some("drain") => return Ok(()),
                Some("error") => return Err((Mishap::Refused, event)),
                _ => {}
            }
        }
    }
    Ok(())
}
