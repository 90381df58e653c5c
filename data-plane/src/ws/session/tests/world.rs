//! A small world around a session: it carries effects out in any order and checks every frame.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use serde_json::Value;
use tidegate_proto::api::socket::CloseCode;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, StartPosition};
use uuid::Uuid;

use crate::encode::frame::{Frame, Payload};
use crate::partitions::Tail;
use crate::position::Start;
use crate::ws::effect::{Effect, Input, LetGo, Of, ReadOutcome, SessionTimes, Speech};
use crate::ws::limits::WINDOW_BYTES;
use crate::ws::session::Session;
use crate::ws::subscription::{Resolution, StartPlace};

const TOPIC: TopicId = TopicId(Uuid::from_u128(7));
const TIMES: SessionTimes = SessionTimes {
    ping_every: Duration::from_secs(20),
    idle_after: Duration::from_secs(45),
};

/// A log per partition, whose records all make frames of `frame_records` records.
pub(super) struct World {
    pub(super) session: Session,
    pub(super) ends: BTreeMap<PartitionId, u64>,
    frame_records: u64,
    /// By partition; its number, and then padding.
    texts: Vec<Utf8Bytes>,
    pub(super) waiting: VecDeque<Input>,
    /// What a client that checks everything knows.
    pub(super) expected: BTreeMap<PartitionId, u64>,
    pub(super) granted: Option<(i64, i64)>,
    pub(super) unflushed: usize,
    pub(super) sent: Vec<Value>,
    pub(super) closed: Option<CloseCode>,
    produced: usize,
    /// A read asked for the last record of each key.
    pub(super) wants_latest: bool,
    /// Reading these fails for now.
    pub(super) away: BTreeSet<PartitionId>,
    epoch: LeaderEpoch,
}

impl World {
    pub(super) fn new(partitions: u32, frame_records: u64, frame_bytes: usize) -> Self {
        Self {
            session: Session::new(TIMES, Speech::Json),
            ends: (0..partitions)
                .map(|number| (PartitionId(number), 0))
                .collect(),
            frame_records,
            texts: (0..partitions)
                .map(|number| Utf8Bytes::from(format!("{number}{}", "x".repeat(frame_bytes))))
                .collect(),
            waiting: VecDeque::new(),
            expected: BTreeMap::new(),
            granted: None,
            unflushed: 0,
            sent: Vec::new(),
            closed: None,
            produced: 0,
            wants_latest: false,
            away: BTreeSet::new(),
            epoch: LeaderEpoch(1),
        }
    }

    pub(super) fn say(&mut self, op: Value) {
        self.input(Input::Text(Utf8Bytes::from(op.to_string())));
    }

    pub(super) fn input(&mut self, input: Input) {
        self.input_at(Duration::ZERO, input);
    }

    pub(super) fn input_at(&mut self, now: Duration, input: Input) {
        let effects = self.session.step(now, input);
        for effect in effects {
            assert_eq!(self.closed, None, "an effect after close: {effect:?}");
            self.carry_out(effect);
        }
    }

    /// The same while the socket takes nothing: records at the end of what it leads to are let go, with the
    /// first `unread` reads that came back meanwhile.
    pub(super) fn input_stuck(&mut self, input: Input, unread: usize) {
        let mut effects = self.session.step(Duration::ZERO, input);
        let is_record = |effect: &Effect| matches!(effect, Effect::SendRecords(_));
        let kept = effects.iter().rposition(|effect| !is_record(effect));
        let unsent = effects.split_off(kept.map_or(0, |last| last + 1));
        for effect in effects {
            self.carry_out(effect);
        }
        let unsent = unsent.into_iter().filter_map(|effect| match effect {
            Effect::SendRecords(sending) => Some(sending),
            _ => None,
        });
        let mut let_go = LetGo {
            unsent: unsent.collect(),
            unread: Vec::new(),
        };
        self.waiting.retain(|input| match input {
            Input::Read { of, partition, .. } if let_go.unread.len() < unread => {
                let_go.unread.push((of.clone(), *partition));
                false
            }
            _ => true,
        });
        let effects = self.session.step(Duration::ZERO, Input::Stuck(let_go));
        assert!(effects.is_empty(), "{effects:?}");
        assert_eq!(self.session.pending_bytes(), 0, "frames are still held");
        // The loop flushes when it can, though it may have handed nothing over.
        self.unflushed = self.unflushed.max(1);
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["ev"] == "subscribed" {
                    let cursor = Cursor::parse(frame["cursor"].as_str().unwrap()).unwrap();
                    let positions = cursor.positions.into_iter();
                    self.expected = positions.map(|(p, at)| (p, at.offset.get())).collect();
                }
                if frame["reason"] == "slow" || frame["reason"] == "truncation" {
                    let partition = frame["partition"].as_u64().unwrap();
                    let partition = PartitionId(u32::try_from(partition).unwrap());
                    let at = self.expected.get_mut(&partition).unwrap();
                    assert_eq!(frame["from"].as_u64(), Some(*at), "{frame}");
                    *at = frame["to"].as_u64().unwrap();
                }
                self.sent.push(frame);
            }
            Effect::SendRecords(sending) => self.take_records(&sending.frame),
            Effect::Resolve { of, at, .. } => {
                let outcome = self.resolve(&at);
                self.waiting.push_back(Input::Resolved { of, outcome });
            }
            Effect::Read {
                of,
                key,
                from,
                latest,
                ..
            } => {
                self.wants_latest |= latest;
                let outcome = self.read(key.partition, from.get());
                self.waiting.push_back(Input::Read {
                    of,
                    partition: key.partition,
                    outcome,
                });
            }
            Effect::RetryLater { of, partition } => {
                self.waiting.push_back(Input::Retry { of, partition });
            }
            Effect::Close(code) => self.closed = Some(code),
            Effect::Produce(_) => self.produced += 1,
            Effect::Follow { .. }
            | Effect::Join { .. }
            | Effect::Forget { .. }
            | Effect::Reauthenticate { .. }
            | Effect::Ping => {}
        }
    }

    fn take_records(&mut self, frame: &Frame) {
        let Payload::Text(text) = &frame.payload else {
            panic!("a frame of batches");
        };
        let partition: u32 = text[..1].parse().unwrap();
        let expected = self.expected.get_mut(&PartitionId(partition)).unwrap();
        assert_eq!(
            frame.first_offset.get(),
            *expected,
            "a record was skipped or sent twice"
        );
        *expected = frame.next_offset.get();
        if let Some((records, bytes)) = &mut self.granted {
            assert!(
                *records > 0 && *bytes > 0,
                "a frame went out without credit"
            );
            *records -= frame.records as i64;
            *bytes -= frame.bytes() as i64;
        }
        assert!(
            self.unflushed < WINDOW_BYTES,
            "more than the window and one frame"
        );
        self.unflushed += frame.bytes();
    }

    pub(super) fn tail(&self, partition: PartitionId) -> Tail {
        Tail {
            log_start: Offset::ZERO,
            high_watermark: Offset::new(self.ends[&partition]),
            leader_epoch: self.epoch,
        }
    }

    pub(super) fn resolve(&self, at: &Start) -> Result<Resolution, Problem> {
        let starts = self.ends.iter().map(|(partition, end)| {
            let offset = match at {
                Start::At(StartPosition::Earliest) => 0,
                Start::At(StartPosition::FromEnd(count)) => end.saturating_sub(*count),
                Start::At(StartPosition::Offset(_)) => return None,
                _ => *end,
            };
            Some(StartPlace {
                partition: *partition,
                offset: Offset::new(offset),
                leader_epoch: LeaderEpoch(1),
                tail: self.tail(*partition),
            })
        });
        let starts: Option<Vec<_>> = starts.collect();
        match starts {
            Some(starts) => Ok(Resolution {
                topic_id: TOPIC,
                topic_number: 1,
                all_partitions: true,
                starts,
                absent: Vec::new(),
            }),
            None => Err(Problem::new(ErrorCode::OffsetOutOfRange, "no such offset")),
        }
    }

    /// At most three frames, the first one cut at `from`.
    pub(super) fn read(&self, partition: PartitionId, from: u64) -> ReadOutcome {
        let end = self.ends[&partition];
        if self.away.contains(&partition) {
            return ReadOutcome::Failed(Problem::new(ErrorCode::Unavailable, "burned down"));
        }
        if from > end {
            return ReadOutcome::Gap {
                to: Offset::new(end),
                reason: "truncation",
            };
        }
        let mut frames = Vec::new();
        let mut at = from;
        while at < end && frames.len() < 3 {
            let cut = (at / self.frame_records + 1) * self.frame_records;
            let next = cut.min(end);
            frames.push(Frame {
                first_offset: Offset::new(at),
                next_offset: Offset::new(next),
                leader_epoch: LeaderEpoch(1),
                records: next - at,
                payload: Payload::Text(self.texts[partition.0 as usize].clone()),
            });
            at = next;
        }
        ReadOutcome::Frames {
            frames,
            next: Offset::new(at),
            tail: self.tail(partition),
        }
    }

    pub(super) fn append(&mut self, partition: u32, count: u64) {
        let partition = PartitionId(partition);
        *self.ends.get_mut(&partition).unwrap() += count;
        self.tell(partition, self.tail(partition));
    }

    /// A new leader has so much of it.
    pub(super) fn recover(&mut self, partition: u32, end: u64) {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        self.ends.insert(PartitionId(partition), end);
        let partition = PartitionId(partition);
        self.tell(partition, self.tail(partition));
    }

    pub(super) fn tell(&mut self, partition: PartitionId, tail: Tail) {
        for generation in 1..=self.session.last_generation {
            let of = Of {
                topic: topic(),
                generation,
            };
            self.input(Input::Tail {
                of,
                partition,
                tail,
            });
        }
    }

    pub(super) fn flush(&mut self) {
        self.unflushed = 0;
        self.input(Input::Flushed);
    }

    pub(super) fn deliver_stuck(&mut self, index: usize, unread: usize) {
        if !self.waiting.is_empty() {
            let input = self.waiting.remove(index % self.waiting.len()).unwrap();
            // A look-up is carried out whole, as its tails come behind it.
            match input {
                Input::Resolved { .. } => self.arrive(input),
                _ => self.input_stuck(input, unread),
            }
        }
    }

    pub(super) fn deliver(&mut self, index: usize) {
        if !self.waiting.is_empty() {
            let input = self.waiting.remove(index % self.waiting.len()).unwrap();
            self.arrive(input);
        }
    }

    /// Tails are followed from before the look-up, so a move since then is told behind it.
    fn arrive(&mut self, input: Input) {
        let resolved = match &input {
            Input::Resolved { of, .. } => Some(of.clone()),
            _ => None,
        };
        self.input(input);
        if let Some(of) = resolved {
            for partition in self.ends.keys().copied().collect::<Vec<_>>() {
                let tail = self.tail(partition);
                self.input(Input::Tail {
                    of: of.clone(),
                    partition,
                    tail,
                });
            }
        }
    }

    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            if let Some(input) = self.waiting.pop_front() {
                self.arrive(input);
            } else if self.unflushed > 0 {
                self.flush();
            } else {
                return;
            }
        }
        panic!("the session does not come to rest");
    }

    pub(super) fn last(&self) -> &Value {
        self.sent.last().unwrap()
    }

    pub(super) fn evs(&self) -> Vec<&str> {
        self.sent
            .iter()
            .map(|frame| frame["ev"].as_str().unwrap())
            .collect()
    }

    pub(super) fn caught_up(&self) -> bool {
        self.expected
            .iter()
            .all(|(partition, at)| *at == self.ends[partition])
    }
}

pub(super) fn topic() -> TopicName {
    TopicName::parse("t").unwrap()
}
