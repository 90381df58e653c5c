//! Clients: writers of every kind, and consumers.
//!
//! A writer knows what each kind may do when an answer is lost: an idempotent one sends the same again until
//! it is told, one with a key does so some times, the others ask once. Invariant: a value is written by one
//! request, whatever happens to it.

use std::collections::{BTreeMap, VecDeque};

use tidegate_proto::batch::{BatchBuilder, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::ProducerId;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_spu_core::Refusal;

use crate::history::{End, History, Op, Sent, Value};
use crate::message::{Context, Message, Page, Produce, Produced, Timer};
use crate::network::Node;
use crate::options::{GATEWAYS, Writer, WriterPlan};
use crate::queue::{MS, Time};

/// How long a gateway may try.
const PATIENCE: Time = 4_000 * MS;
/// How long a client waits for the gateway itself.
const GATEWAY_PATIENCE: Time = PATIENCE + 1_500 * MS;
const PAUSE: Time = 80 * MS;
/// How often a request with a key is sent again.
const KEYED_TRIES: u32 = 4;
/// Requests that one writer has under way.
const OPEN_MAX: usize = 8;
const POLL: Time = 90 * MS;

#[derive(Debug)]
struct Open {
    at: Op,
    key: ReplicaKey,
    batch: ClientBatch,
    tries: u32,
    /// The call that is under way; 0 between two.
    call: u64,
    was_unknown: bool,
}

/// A client that writes.
#[derive(Debug)]
pub(crate) struct WriterClient {
    id: u32,
    plan: WriterPlan,
    keys: Vec<ReplicaKey>,
    producer: ProducerId,
    epochs: BTreeMap<ReplicaKey, u16>,
    sequences: BTreeMap<ReplicaKey, u32>,
    last_value: Value,
    open: VecDeque<Open>,
    is_done: bool,
}

impl WriterClient {
    pub(crate) const fn new(id: u32, plan: WriterPlan, producer: ProducerId) -> Self {
        Self {
            id,
            plan,
            keys: Vec::new(),
            producer,
            epochs: BTreeMap::new(),
            sequences: BTreeMap::new(),
            last_value: 0,
            open: VecDeque::new(),
            is_done: false,
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Context, keys: Vec<ReplicaKey>) {
        self.keys = keys;
        cx.after(self.plan.every_ms * MS, Timer::Turn);
    }

    /// It writes nothing new any more.
    pub(crate) const fn stop(&mut self) {
        self.is_done = true;
    }

    /// Whether some request of it did not end.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn wakes(&mut self, cx: &mut Context, history: &mut History, timer: Timer) {
        match timer {
            Timer::Turn => {
                if self.is_done {
                    return;
                }
                cx.after(self.plan.every_ms * MS, Timer::Turn);
                self.write(cx, history);
            }
            Timer::TryAgain { call } => {
                let at = Op(call);
                if let Some(open) = self
                    .open
                    .iter_mut()
                    .find(|open| open.at == at && open.call == 0)
                {
                    send(cx, open, &self.plan);
                }
            }
            Timer::Late { call } => self.ended(cx, history, call, Produced::Unknown),
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Context, history: &mut History) {
        let in_flight = match self.plan.writer {
            Writer::Idempotent { in_flight } => in_flight as usize,
            Writer::Plain | Writer::Keyed | Writer::Bare => OPEN_MAX,
        };
        let Some(key) = cx.random.pick(&self.keys) else {
            return;
        };
        if self.open.iter().filter(|open| open.key == key).count() >= in_flight {
            return;
        }
        let count = u32::try_from(cx.random.between(1, 3)).unwrap_or(1);
        let values: Vec<Value> = (1..=u64::from(count)).map(|n| self.value(n)).collect();
        self.last_value += u64::from(count);
        let (stamp, request_key) = match self.plan.writer {
            Writer::Plain | Writer::Bare => (None, None),
            Writer::Keyed => (None, Some(cx.random.uuid().into_bytes())),
            Writer::Idempotent { .. } => {
                let epoch = self.epochs.get(&key).copied().unwrap_or_default();
                let next = self.sequences.entry(key).or_default();
                let seq = *next;
                *next = next.wrapping_add(count);
                let id = self.producer;
                (
                    Some(ProducerStamp {
                        id,
                        epoch,
                        seq,
                        unordered: false,
                    }),
                    None,
                )
            }
        };
        let batch = batch(stamp, request_key, &values);
        let at = history.begin(&Sent {
            writer: self.id,
            kind: self.plan.writer,
            key,
            acks: self.plan.acks,
            stamp,
            values: &values,
        });
        let (tries, call, was_unknown) = (0, 0, false);
        let mut open = Open {
            at,
            key,
            batch,
            tries,
            call,
            was_unknown,
        };
        send(cx, &mut open, &self.plan);
        self.open.push_back(open);
    }

    const fn value(&self, n: u64) -> Value {
        (self.id as u64 + 1) << 32 | (self.last_value + n)
    }

    /// An answer, or none in time.
    pub(crate) fn ended(
        &mut self,
        cx: &mut Context,
        history: &mut History,
        call: u64,
        outcome: Produced,
    ) {
        let Some(place) = self
            .open
            .iter()
            .position(|open| open.call == call && call != 0)
        else {
            return;
        };
        let open = &mut self.open[place];
        open.call = 0;
        open.was_unknown |= outcome == Produced::Unknown;
        let end = match (outcome, self.plan.writer) {
            (Produced::Done(done), _) => Some(End::Done {
                base: done.base_offset,
            }),
            (Produced::Refused(refusal), Writer::Idempotent { .. }) => {
                return self.refused(cx, history, place, refusal);
            }
            (Produced::Unknown, Writer::Idempotent { .. }) => None,
            (Produced::Unknown, Writer::Keyed) if open.tries < KEYED_TRIES => None,
            (Produced::Refused(_), _) if open.was_unknown => Some(End::Unknown),
            (Produced::Refused(_), _) => Some(End::Refused),
            (Produced::Unknown, _) => Some(End::Unknown),
        };
        match end {
            Some(end) => {
                let at = open.at;
                self.open.remove(place);
                history.end(at, end);
            }
            None => {
                let call = open.at.0;
                cx.after(PAUSE, Timer::TryAgain { call });
            }
        }
    }

    /// An idempotent producer goes on, in a new epoch where the old one leads nowhere (D2).
    fn refused(&mut self, cx: &mut Context, history: &mut History, place: usize, refusal: Refusal) {
        let key = self.open[place].key;
        let is_first = self.open.iter().position(|open| open.key == key) == Some(place);
        let leads_nowhere = match refusal {
            Refusal::UnknownProducer { .. } | Refusal::Fenced { .. } => true,
            // What came before it may be under way still.
            Refusal::OutOfOrder { .. } => is_first,
            _ => false,
        };
        if !leads_nowhere {
            let call = self.open[place].at.0;
            return cx.after(PAUSE, Timer::TryAgain { call });
        }
        let epoch = self.epochs.entry(key).or_default();
        *epoch = match refusal {
            Refusal::Fenced { current } => current.max(*epoch) + 1,
            _ => *epoch + 1,
        };
        let mut kept = VecDeque::new();
        for open in std::mem::take(&mut self.open) {
            if open.key != key {
                kept.push_back(open);
                continue;
            }
            // What may be there already is not written again under another number.
            let may_be_there = open.was_unknown || open.call != 0;
            let end = if may_be_there {
                End::Unknown
            } else {
                End::Refused
            };
            history.end(open.at, end);
        }
        self.open = kept;
        self.sequences.insert(key, 0);
    }
}

fn send(cx: &mut Context, open: &mut Open, plan: &WriterPlan) {
    open.call = cx.random.next() | 1;
    open.tries += 1;
    let call = open.call;
    let gateway = u32::try_from(cx.random.below(u64::from(GATEWAYS))).unwrap_or_default();
    let produce = Produce {
        key: open.key,
        batches: vec![open.batch.clone()],
        acks: plan.acks,
        expected_end: None,
        is_bare: plan.writer == Writer::Bare,
    };
    let patience = PATIENCE;
    cx.send(
        Node::Gateway(gateway),
        Message::Produce {
            call,
            produce,
            patience,
        },
    );
    cx.after(GATEWAY_PATIENCE, Timer::Late { call });
}

/// A batch with those values.
pub(crate) fn batch(
    stamp: Option<ProducerStamp>,
    key: Option<[u8; 16]>,
    values: &[Value],
) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some(stamp) = stamp {
        builder = builder.producer(stamp);
    }
    if let Some(key) = key {
        builder = builder.request_key(key);
    }
    for value in values {
        let bytes = value.to_le_bytes();
        let record = RecordRef {
            timestamp_ms: 0,
            key: Datum::Absent,
            value: Datum::Bytes(&bytes),
            headers: &[],
        };
        builder.push(&record).expect("a small record fits");
    }
    builder.finish().expect("there is a record")
}

/// The values in a batch, with their offsets.
pub(crate) fn values(batch: &tidegate_proto::batch::Batch) -> Vec<(Offset, Value)> {
    if batch.client.is_control() {
        return Vec::new();
    }
    let records = batch.client.records().expect("it was made here");
    let mut found = Vec::new();
    let mut at = batch.placement.base_offset;
    for record in records.iter() {
        let record = record.expect("it was made here");
        let bytes = record
            .value
            .as_bytes()
            .and_then(|bytes| bytes.first_chunk::<8>());
        found.push((at, bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))));
        at = at.plus(1);
    }
    found
}

/// A client that reads one partition from its beginning.
#[derive(Debug)]
pub(crate) struct Consumer {
    id: u32,
    key: ReplicaKey,
    reader: u64,
    next: Offset,
    call: u64,
}

impl Consumer {
    pub(crate) fn new(id: u32, key: ReplicaKey, history: &mut History) -> Self {
        Self {
            id,
            key,
            reader: history.reads(id, key),
            next: Offset::ZERO,
            call: 0,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context) {
        cx.after(POLL, Timer::Turn);
        self.call = cx.random.next() | 1;
        let gateway = u32::try_from(cx.random.below(u64::from(GATEWAYS))).unwrap_or_default();
        let (call, key, from) = (self.call, self.key, self.next);
        cx.send(Node::Gateway(gateway), Message::Fetch { call, key, from });
    }

    pub(crate) fn fetched(&mut self, history: &mut History, call: u64, page: Option<Page>) {
        let Some(page) = page.filter(|_| self.call == call) else {
            return;
        };
        if page.log_start > self.next {
            self.next = page.log_start;
            history.moved(self.id, self.reader, self.next);
        }
        let found = page.batches.iter().flat_map(values);
        let found: Vec<_> = found.filter(|(offset, _)| *offset >= self.next).collect();
        if let Some((last, _)) = found.last() {
            self.next = last.plus(1);
            history.read(self.id, self.reader, &found, page.high_watermark);
        }
    }
}
