//! Clients who write down what they asked and were told, for `tidegate_histcheck`.
//!
//! Invariant: a batch is noted before its first attempt goes out and its outcome after the last answer came;
//! an outcome is called refused only when no attempt before it was left open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tidegate_histcheck::{Acks, Event, History, Producer, Seen, Send, What};

use crate::doors::{Doors, Mishap, back_off, judge};
use crate::http::Answer;
use crate::random::Random;
use crate::refusals::Refusals;

/// Records of one request in calm times, at most.
const CALM_RECORDS_MAX: u64 = 10;
/// Mishaps that are told in words, of each kind.
const TOLD_MAX: usize = 5;

/// How a producer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With an identity, to its partition; repeated until there is an answer.
    Identified,
    /// Without, to its partition, for every in-sync copy; not repeated when the outcome is open.
    Plain,
    /// The same, for the leader's copy alone.
    LeaderOnly,
    /// One record at a time, whose partition the server chooses by its key.
    Keyed,
}

/// What all clients of one run share.
#[derive(Debug)]
pub struct Recorder {
    pub topic: &'static str,
    pub partitions: u32,
    /// Records of one request while [`Self::burst`].
    pub burst_records: u64,
    history: Mutex<History>,
    values: AtomicU64,
    /// Records acknowledged for every in-sync copy, by partition, and those for a leader's alone.
    acked: Vec<AtomicU64>,
    acked_by_leader: AtomicU64,
    read: AtomicU64,
    under_way: AtomicU64,
    is_bursting: AtomicBool,
    is_stopping: AtomicBool,
    mishaps: Mutex<BTreeMap<(String, Mishap), Vec<String>>>,
    /// What writers were told instead.
    pub refusals: Refusals,
}

impl Recorder {
    #[must_use]
    pub fn new(topic: &'static str, partitions: u32, burst_records: u64) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partitions,
            burst_records,
            history: Mutex::new(History::new()),
            values: AtomicU64::new(0),
            acked: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            acked_by_leader: AtomicU64::new(0),
            read: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            is_bursting: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            mishaps: Mutex::default(),
            refusals: Refusals::default(),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        // Who panicked has told why.
        act(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that it happened now.
    pub fn note(&self, client: u32, what: What) {
        self.with(|history| history.note(client, what));
    }

    /// A new id.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.with(History::next_id)
    }

    /// What was noted so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.with(|history| history.events().to_vec())
    }

    /// Large requests one after the other, or small ones with pauses.
    pub fn burst(&self, is_bursting: bool) {
        self.is_bursting.store(is_bursting, Ordering::SeqCst);
    }

    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Records that were acknowledged for every in-sync copy, of each partition.
    #[must_use]
    pub fn acked(&self) -> Vec<u64> {
        let each = self.acked.iter();
        each.map(|acked| acked.load(Ordering::SeqCst)).collect()
    }

    /// Records that were acknowledged for a leader's copy alone.
    #[must_use]
    pub fn acked_by_leader(&self) -> u64 {
        self.acked_by_leader.load(Ordering::SeqCst)
    }

    /// Records that readers got.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }

    /// Records that are sent and not answered.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Something that a client had to do again, or could not find out.
    pub fn met(&self, who: &str, mishap: Mishap, words: String) {
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = mishaps.entry((who.to_owned(), mishap)).or_default();
        if of_kind.len() < TOLD_MAX {
            of_kind.push(words);
        } else {
            of_kind.push(String::new());
        }
    }

    /// What clients met, counted, with some of the words.
    #[must_use]
    pub fn mishaps(&self) -> String {
        let mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = mishaps.iter().map(|((who, mishap), words)| {
            let first: String = words[0].chars().take(160).collect();
            format!("{who} {mishap:?} {} times, as: {first}\n", words.len())
        });
        lines.collect()
    }

    /// Notes what a reader got of one partition.
    pub fn took(&self, client: u32, reader: u64, records: Vec<Seen>, high_watermark: Option<u64>) {
        self.read.fetch_add(records.len() as u64, Ordering::SeqCst);
        self.note(
            client,
            What::Read {
                reader,
                records,
                high_watermark,
            },
        );
    }
}

/// A record as a reader saw it, whose value is one of ours.
///
/// # Panics
/// When it is something else.
#[must_use]
pub fn seen(offset: u64, value: &Value) -> Seen {
    let value = value.as_u64();
    Seen {
        offset,
        // What nobody sent is told as such.
        value: value.unwrap_or(u64::MAX),
    }
}

/// Someone who writes until told to stop.
#[derive(Debug)]
pub struct Writer {
    recorder: Arc<Recorder>,
    doors: Doors,
    random: Random,
    client: u32,
    partition: u32,
    manner: Manner,
    identity: Option<(u64, u16)>,
    sequence: u64,
}

/// How a batch ended.
enum End {
    Acked { partition: u32, base_offset: u64 },
    Refused,
    Open,
}

impl Writer {
    #[must_use]
    pub fn new(
        recorder: &Arc<Recorder>,
        doors: Doors,
        random: Random,
        client: u32,
        manner: Manner,
    ) -> Self {
        Self {
            recorder: recorder.clone(),
            doors,
            random,
            client,
            partition: client % recorder.partitions,
            manner,
            identity: None,
            sequence: 0,
        }
    }

    /// Writes batch after batch.
    ///
    /// # Panics
    /// When an answer cannot be understood.
    pub async fn run(mut self) {
        while !self.recorder.is_stopping() {
            if self.manner == Manner::Identified && self.identity.is_none() {
                self.identify().await;
            }
            self.batch().await;
            if !self.recorder.is_bursting.load(Ordering::SeqCst) {
                back_off(&mut self.random).await;
            }
        }
    }

    async fn identify(&mut self) {
        let json = [("content-type", "application/json")];
        let body = Bytes::from_static(b"{}");
        loop {
            let attempt = self
                .doors
                .attempt(&Method::POST, "/v1/producers", &json, &body);
            match judge(attempt.await) {
                Ok(answer) if answer.status.is_success() => {
                    let answer = answer.json();
                    let number = |field: &str| answer[field].as_u64().expect("a number");
                    let epoch = u16::try_from(number("producer_epoch")).expect("an epoch");
                    self.identity = Some((number("producer_id"), epoch));
                    self.sequence = 0;
                    return;
                }
                Ok(answer) => panic!("no identity: {} {}", answer.status, answer.text()),
                Err((mishap, words)) => self.met(mishap, words),
            }
            back_off(&mut self.random).await;
        }
    }

    fn met(&self, mishap: Mishap, words: String) {
        if matches!(mishap, Mishap::Refused | Mishap::Unknown) {
            self.recorder.refusals.note(self.client, &words);
        }
        let who = format!("{:?}", self.manner);
        self.recorder.met(&who, mishap, words);
    }

    async fn batch(&mut self) {
        let count = match self.manner {
            Manner::Keyed => 1,
            _ if self.recorder.is_bursting.load(Ordering::SeqCst) => self.recorder.burst_records,
            _ => 1 + self.random.below(CALM_RECORDS_MAX),
        };
        let first = self.recorder.values.fetch_add(count, Ordering::SeqCst);
        let op = self.recorder.next_id();
        let is_keyed = self.manner == Manner::Keyed;
        let identity = self.identity.filter(|_| self.manner == Manner::Identified);
        let send = Send {
            op,
            partition: (!is_keyed).then_some(self.partition),
            acks: match self.manner {
                Manner::LeaderOnly => Acks::Leader,
                Manner::Identified | Manner::Plain | Manner::Keyed => Acks::Quorum,
            },
            producer: identity.map(|(id, epoch)| Producer {
                id,
                epoch,
                sequence: self.sequence,
            }),
            values: (first..first + count).collect(),
        };
        self.recorder.note(self.client, What::Send(send));
        self.recorder.under_way.fetch_add(count, Ordering::SeqCst);
        let end = self.attempts(first, count).await;
        self.recorder.under_way.fetch_sub(count, Ordering::SeqCst);
        let what = match end {
            End::Acked {
                partition,
                base_offset,
            } => {
                let acked = match self.manner {
                    Manner::LeaderOnly => &self.recorder.acked_by_leader,
                    _ => &self.recorder.acked[partition as usize],
                };
                acked.fetch_add(count, Ordering::SeqCst);
                self.sequence += count;
                What::Sent {
                    op,
                    partition,
                    base_offset,
                }
            }
            End::Refused => What::Failed { op },
            End::Open => What::Unknown { op },
        };
        if !matches!(what, What::Sent { .. }) {
            // Its place in the sequence is not known any more.
            self.identity = None;
        }
        self.recorder.note(self.client, what);
    }

    async fn attempts(&mut self, first: u64, count: u64) -> End {
        let (path, body) = self.request(first, count);
        let (id, epoch) = self.identity.unwrap_or_default();
        let (id, epoch, sequence) = (id.to_string(), epoch.to_string(), self.sequence.to_string());
        let mut headers = vec![("content-type", "application/json")];
        if self.manner == Manner::Identified {
            headers.push(("producer-id", &id));
            headers.push(("producer-epoch", &epoch));
            headers.push(("producer-seq", &sequence));
        }
        let mut is_open = false;
        loop {
            let attempt = self.doors.attempt(&Method::POST, &path, &headers, &body);
            let (mishap, words) = match judge(attempt.await) {
                Ok(answer) if answer.status == 200 => return acked(&answer, count),
                Ok(answer) => {
                    let words = format!("{} {}", answer.status, answer.text());
                    self.met(Mishap::Refused, words);
                    return if is_open { End::Open } else { End::Refused };
                }
                Err(met) => met,
            };
            self.met(mishap, words);
            let left_open = matches!(mishap, Mishap::Lost | Mishap::Unknown);
            if left_open && self.manner != Manner::Identified {
                return End::Open;
            }
            is_open |= left_open;
            if self.recorder.is_stopping() && !is_open {
                return End::Refused;
            }
            back_off(&mut self.random).await;
        }
    }

    fn request(&self, first: u64, count: u64) -> (String, Bytes) {
        let topic = self.recorder.topic;
        let partition = self.partition;
        let path = match self.manner {
            Manner::Keyed => format!("/v1/topics/{topic}/records"),
            Manner::LeaderOnly => {
                format!("/v1/topics/{topic}/partitions/{partition}/records?acks=leader")
            }
            Manner::Identified | Manner::Plain => {
                format!("/v1/topics/{topic}/partitions/{partition}/records")
            }
        };
        let record = |value: u64| match self.manner {
            Manner::Keyed => json!({ "key": format!("key-{}", value % 17), "value": value }),
            Manner::Identified | Manner::Plain | Manner::LeaderOnly => json!({ "value": value }),
        };
        let records: Vec<Value> = (first..first + count).map(record).collect();
        (path, json!({ "records": records }).to_string().into())
    }
}

fn acked(answer: &Answer, count: u64) -> End {
    let answer = answer.json();
    let placed = &answer["partitions"][0];
    assert_eq!(placed["count"], count, "{answer}");
    let number = |field: &str| placed[field].as_u64().expect("a number");
    End::Acked {
        partition: u32::try_from(number("partition")).expect("a partition"),
        base_offset: number("base_offset"),
    }
}
