//! One client that changes topics, remembers what it was told, and now and then hangs up before it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tidegate_tests::changes::{Ask, Ending, Operation};
use tidegate_tests::doors::{Doors, Mishap, back_off, judge};
use tidegate_tests::http::{Answer, Target};
use tidegate_tests::random::Random;

/// Marks are retention times, which have to be told from those of others.
pub(crate) const MARKS_FROM: u64 = 1_000_000_000;
/// Few, so that clients meet.
const TOPICS: u64 = 10;
/// Attempts that are hung up on, of a hundred.
const HANG_UPS: u64 = 10;
/// After at most so many milliseconds: some before the change is made, some after.
const HANG_UP_MS: u64 = 30;
/// Changes with an `Idempotency-Key`, of a hundred. The others are not repeated when their answer is lost.
const KEYED: u64 = 75;

/// What clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    wanted: usize,
    made: AtomicUsize,
    marks: AtomicU64,
    clock: AtomicU64,
}

impl Shared {
    pub(crate) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            made: AtomicUsize::new(0),
            marks: AtomicU64::new(MARKS_FROM),
            clock: AtomicU64::new(1),
        }
    }

    /// Operations that have come to an end.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

pub(crate) struct Client {
    doors: Doors,
    random: Random,
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) const fn new(doors: Vec<Target>, random: Random, shared: Arc<Shared>) -> Self {
        let doors = Doors::new(doors, 0);
        Self {
            doors,
            random,
            shared,
        }
    }

    /// Works until all clients together have done what is wanted.
    pub(crate) async fn work(mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        while self.shared.made() < self.shared.wanted {
            operations.push(self.change().await);
            self.shared.made.fetch_add(1, Ordering::SeqCst);
        }
        operations
    }

    async fn change(&mut self) -> Operation {
        let topic = format!("t{}", self.random.below(TOPICS));
        let ask = self.choose(&topic).await;
        let mark = self.shared.marks.fetch_add(1, Ordering::SeqCst);
        let key = format!("key-{mark}");
        let key = self.random.chance(KEYED).then_some(key.as_str());
        let began = self.shared.tick();
        let ending = self.carry_out(&topic, ask, mark, key).await;
        let ended = match ending {
            Ending::Unknown => u64::MAX,
            _ => self.shared.tick(),
        };
        Operation {
            mark,
            topic,
            ask,
            began,
            ended,
            ending,
        }
    }

    async fn choose(&mut self, topic: &str) -> Ask {
        let if_match = match self.random.below(100) {
            0..20 => return Ask::Create,
            20..30 => return Ask::Ensure { if_match: None },
            30..35 => return Ask::Delete { if_match: None },
            35..45 => self.version(topic).await.map(|version| Ask::Delete {
                if_match: Some(version),
            }),
            _ => self.version(topic).await.map(|version| Ask::Ensure {
                if_match: Some(version),
            }),
        };
        if_match.unwrap_or(Ask::Create)
    }

    /// The version of a topic as some controller knows it.
    async fn version(&mut self, topic: &str) -> Option<u64> {
        let path = format!("/v1/topics/{topic}");
        let nothing = Bytes::new();
        loop {
            let attempt = self.doors.attempt(&Method::GET, &path, &[], &nothing);
            match judge(attempt.await) {
                Ok(answer) if answer.status == 200 => return answer.json()["version"].as_u64(),
                Ok(answer) => {
                    assert_eq!(answer.code().as_deref(), Some("topic_not_found"));
                    return None;
                }
                Err(_) => back_off(&mut self.random).await,
            }
        }
    }

    async fn carry_out(&mut self, topic: &str, ask: Ask, mark: u64, key: Option<&str>) -> Ending {
        let settings = format!(r#""replication_factor":1,"config":{{"retention_ms":{mark}}}"#);
        let (method, path, body, version) = match ask {
            Ask::Create => {
                let body = format!(r#"{{"name":"{topic}",{settings}}}"#);
                (Method::POST, "/v1/topics".to_owned(), body, None)
            }
            Ask::Ensure { if_match } => {
                let path = format!("/v1/topics/{topic}");
                (Method::PUT, path, format!("{{{settings}}}"), if_match)
            }
            Ask::Delete { if_match } => {
                let path = format!("/v1/topics/{topic}");
                (Method::DELETE, path, String::new(), if_match)
            }
        };
        let version = version.map(|version| format!("\"{version}\""));
        let mut headers = Vec::new();
        if method != Method::DELETE {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(version.as_deref().map(|version| ("if-match", version)));
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = Bytes::from(body);
        loop {
            let attempt = if self.random.chance(HANG_UPS) {
                let patience = Duration::from_millis(self.random.below(HANG_UP_MS));
                let doors = &mut self.doors;
                doors
                    .attempt_and_hang_up(&method, &path, &headers, &body, patience)
                    .await
            } else {
                self.doors.attempt(&method, &path, &headers, &body).await
            };
            match judge(attempt) {
                Ok(answer) => return ending(&answer),
                Err((Mishap::Lost | Mishap::Unknown, _)) if key.is_none() => {
                    return Ending::Unknown;
                }
                Err(_) => back_off(&mut self.random).await,
            }
        }
    }
}

fn ending(answer: &Answer) -> Ending {
    match answer.status.as_u16() {
        200 | 201 => {
            let topic = answer.json();
            Ending::Put {
                created: answer.status == 201,
                id: topic["id"].as_str().expect("an id").to_owned(),
                version: topic["version"].as_u64().expect("a version"),
            }
        }
        204 => Ending::Deleted,
        _ => Ending::Refused(answer.code().unwrap_or_else(|| answer.text())),
    }
}
