//! What clients saw, noted for the checker of histories.
//!
//! Every record has a value of its own, which its bytes begin with.

use tidegate_histcheck::{Acks, History as Events, Producer, Seen, Send, What, check};
use tidegate_proto::batch::{Batch, ProducerStamp};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done { base_offset: u64 },
    Refused,
    Unknown,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: Events,
    next_value: u64,
    pub(crate) acknowledged: u64,
    pub(crate) read: u64,
}

impl History {
    /// A value that no record has.
    pub(crate) const fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    pub(crate) fn begin(
        &mut self,
        client: u32,
        partition: u32,
        stamp: Option<ProducerStamp>,
        values: &[u64],
    ) -> u64 {
        let op = self.events.next_id();
        let producer = stamp.map(|stamp| Producer {
            id: stamp.id.0,
            epoch: stamp.epoch,
            sequence: stamp.seq.into(),
        });
        let send = Send {
            op,
            partition: Some(partition),
            acks: Acks::Quorum,
            producer,
            values: values.to_vec(),
        };
        self.events.note(client, What::Send(send));
        op
    }

    pub(crate) fn end(&mut self, client: u32, op: u64, partition: u32, end: End) {
        let what = match end {
            End::Done { base_offset } => {
                self.acknowledged += 1;
                What::Sent {
                    op,
                    partition,
                    base_offset,
                }
            }
            End::Refused => What::Failed { op },
            End::Unknown => What::Unknown { op },
        };
        self.events.note(client, what);
    }

    pub(crate) fn reads(&mut self, client: u32, partition: u32) -> u64 {
        let reader = self.events.next_id();
        let offset = 0;
        let what = What::ReadFrom {
            reader,
            partition,
            offset,
        };
        self.events.note(client, what);
        reader
    }

    pub(crate) fn read(&mut self, client: u32, reader: u64, records: &[(u64, u64)], until: u64) {
        self.read += records.len() as u64;
        let what = What::Read {
            reader,
            records: seen(records),
            high_watermark: Some(until),
        };
        self.events.note(client, what);
    }

    pub(crate) fn scan(&mut self, unit: u32, partition: u32, start: u64, records: &[(u64, u64)]) {
        let what = What::Scan {
            partition,
            replica: unit.into(),
            log_start: start,
            records: seen(records),
        };
        self.events.note(unit, what);
    }

    /// What is wrong, if anything is.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let verdict = check(self.events.events()).map_err(|fault| format!("recorder: {fault}"))?;
        if verdict.is_clean() {
            return Ok(());
        }
        let classes: Vec<_> = verdict.found().keys().collect();
        Err(format!("history {classes:?}: {verdict}"))
    }
}

fn seen(records: &[(u64, u64)]) -> Vec<Seen> {
    let seen = records.iter();
    seen.map(|(offset, value)| Seen {
        offset: *offset,
        value: *value,
    })
    .collect()
}

/// Offsets and values of records at and after `from`.
pub(crate) fn records(batches: &[Batch], from: u64) -> Result<Vec<(u64, u64)>, String> {
    let mut found = Vec::new();
    for batch in batches.iter().filter(|batch| !batch.client.is_control()) {
        let records = batch.client.records().map_err(|error| error.to_string())?;
        for record in records.iter() {
            let record = record.map_err(|error| error.to_string())?;
            let bytes = record.value.as_bytes().unwrap_or_default();
            let word = bytes.get(..16).ok_or("a record without a value")?;
            let text = std::str::from_utf8(word).map_err(|error| error.to_string())?;
            let value = u64::from_str_radix(text, 16).map_err(|error| error.to_string())?;
            let offset = batch.offset_of(&record).get();
            if offset >= from {
                found.push((offset, value));
            }
        }
    }
    Ok(found)
}
