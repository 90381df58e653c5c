//! What clients saw, noted for the checker of histories, and what that does not ask.
//!
//! Every record has a value of its own. The checker judges nearly all; here is judged besides that what a
//! gateway stamped, or what carries a key, is written once, as if its client had an identity (D6, D7).

use std::collections::BTreeMap;

use tidegate_histcheck::{Acks, History as Events, Producer, Seen, Send, What, check};
use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::produce;

use crate::options::Writer;

/// Names a record.
pub(crate) type Value = u64;

/// A request of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Op(pub(crate) u64);

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done { base: Offset },
    Refused,
    Unknown,
}

/// Who sends what.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) writer: u32,
    pub(crate) kind: Writer,
    pub(crate) key: ReplicaKey,
    pub(crate) acks: produce::Acks,
    pub(crate) stamp: Option<ProducerStamp>,
    pub(crate) values: &'a [Value],
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    writer: u32,
    partition: u32,
    acks: produce::Acks,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: Events,
    noted: BTreeMap<Op, Noted>,
    partitions: BTreeMap<ReplicaKey, u32>,
    /// Values that nobody stamped: those may be there twice.
    bare: std::collections::BTreeSet<Value>,
    pub(crate) acknowledged: u64,
    pub(crate) requests: u64,
}

impl History {
    fn partition(&mut self, key: ReplicaKey) -> u32 {
        let next = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        *self.partitions.entry(key).or_insert(next)
    }

    /// A request is about to go out.
    pub(crate) fn begin(&mut self, sent: &Sent<'_>) -> Op {
        let op = self.events.next_id();
        let partition = self.partition(sent.key);
        self.requests += 1;
        if sent.kind == Writer::Bare {
            self.bare.extend(sent.values);
        }
        let acks = match sent.acks {
            produce::Acks::None => Acks::None,
            produce::Acks::Leader => Acks::Leader,
            produce::Acks::Quorum => Acks::Quorum,
        };
        let producer = sent.stamp.map(|stamp| Producer {
            id: stamp.id.0,
            epoch: stamp.epoch,
            sequence: stamp.seq.into(),
        });
        let send = Send {
            op,
            partition: Some(partition),
            acks,
            producer,
            values: sent.values.to_vec(),
        };
        self.events.note(sent.writer, What::Send(send));
        let (writer, acks) = (sent.writer, sent.acks);
        let noted = Noted {
            writer,
            partition,
            acks,
        };
        self.noted.insert(Op(op), noted);
        Op(op)
    }

    /// It ended.
    pub(crate) fn end(&mut self, op: Op, end: End) {
        let Some(noted) = self.noted.remove(&op) else {
            return;
        };
        let op = op.0;
        let partition = noted.partition;
        let what = match end {
            End::Done { .. } if noted.acks == produce::Acks::None => What::Unknown { op },
            End::Done { base } => {
                self.acknowledged += 1;
                let base_offset = base.get();
                What::Sent {
                    op,
                    partition,
                    base_offset,
                }
            }
            End::Refused => What::Failed { op },
            End::Unknown => What::Unknown { op },
        };
        self.events.note(noted.writer, what);
    }

    /// A consumer begins at the beginning.
    pub(crate) fn reads(&mut self, client: u32, key: ReplicaKey) -> u64 {
        let (reader, partition, offset) = (self.events.next_id(), self.partition(key), 0);
        let what = What::ReadFrom {
            reader,
            partition,
            offset,
        };
        self.events.note(client, what);
        reader
    }

    pub(crate) fn moved(&mut self, client: u32, reader: u64, to: Offset) {
        let offset = to.get();
        self.events.note(client, What::Moved { reader, offset });
    }

    pub(crate) fn read(
        &mut self,
        client: u32,
        reader: u64,
        records: &[(Offset, Value)],
        high_watermark: Offset,
    ) {
        let what = What::Read {
            reader,
            records: seen(records),
            high_watermark: Some(high_watermark.get()),
        };
        self.events.note(client, what);
    }

    pub(crate) fn led(&mut self, unit: u32, key: ReplicaKey, epoch: LeaderEpoch) {
        let what = What::Led {
            partition: self.partition(key),
            leader_epoch: epoch.0,
            leader: unit.into(),
        };
        self.events.note(unit, what);
    }

    /// The log of one copy when all is over.
    pub(crate) fn scan(
        &mut self,
        unit: u32,
        key: ReplicaKey,
        log_start: Offset,
        records: &[(Offset, Value)],
    ) {
        let what = What::Scan {
            partition: self.partition(key),
            replica: unit.into(),
            log_start: log_start.get(),
            records: seen(records),
        };
        self.events.note(unit, what);
    }

    /// What is wrong, if anything is.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let verdict = check(self.events.events()).map_err(|fault| format!("recorder: {fault}"))?;
        if !verdict.is_clean() {
            let classes: Vec<_> = verdict.found().keys().collect();
            return Err(format!("history {classes:?}: {verdict}"));
        }
        let scans = self
            .events
            .events()
            .iter()
            .filter_map(|event| match &event.what {
                What::Scan {
                    partition,
                    replica,
                    records,
                    ..
                } => Some((*partition, *replica, records)),
                _ => None,
            });
        for (partition, replica, records) in scans {
            let mut places: BTreeMap<Value, u64> = BTreeMap::new();
            for record in records
                .iter()
                .filter(|record| !self.bare.contains(&record.value))
            {
                if let Some(other) = places.insert(record.value, record.offset) {
                    let Seen { value, offset } = record;
                    return Err(format!(
                        "12 ExactlyOnceAppend: {value:x} is at {other} and {offset} of partition {partition} on unit {replica}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn seen(records: &[(Offset, Value)]) -> Vec<Seen> {
    let seen = records.iter().map(|(offset, value)| Seen {
        offset: offset.get(),
        value: *value,
    });
    seen.collect()
}
