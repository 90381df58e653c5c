//! Records of one partition on their way into batches: an open batch that grows, and closed ones
//! that wait to be sent. Pure: no clock, no waiting.
//!
//! Invariant: records leave in the order in which they came, each in exactly one batch.

use std::collections::VecDeque;

use tidegate_proto::batch::{BatchBuilder, BatchError};
use tidegate_proto::compression::Codec;
use tidegate_proto::record::RecordRef;
use tokio::sync::watch;

use crate::limits::RECORD_OVERHEAD_BYTES;
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::Outcome;

/// A batch that takes no more records.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) builder: BatchBuilder,
    pub(crate) records: u32,
    /// Bytes that its records hold of the producer's memory.
    pub(crate) held_bytes: usize,
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
}

/// What a push did.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// Place of the record in its batch.
    pub(crate) index: u64,
    pub(crate) outcome: watch::Receiver<Option<Outcome>>,
    /// The record opened a batch: its linger starts now.
    pub(crate) opened: bool,
    /// At least one batch was closed by this push.
    pub(crate) closed: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    codec: Codec,
    batch_bytes: usize,
    batch_records: u32,
    open: Option<Closed>,
    closed: VecDeque<Closed>,
    /// Batches ever opened: what `flush` waits for.
    opened: u64,
}

/// What a record costs of the producer's memory.
pub(crate) fn held_bytes(record: &RecordRef<'_>) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum();
    let key = record.key.as_bytes().map_or(0, <[u8]>::len);
    let value = record.value.as_bytes().map_or(0, <[u8]>::len);
    RECORD_OVERHEAD_BYTES + key + value + headers
}

impl Queue {
    pub(crate) fn new(config: &ProducerConfig) -> Self {
        Self {
            codec: config.compression,
            batch_bytes: config.batch_bytes,
            batch_records: config.batch_records,
            open: None,
            closed: VecDeque::new(),
            opened: 0,
        }
    }

    /// Adds a record to the open batch; a record that does not fit closes it and opens the next.
    pub(crate) fn push(&mut self, record: &RecordRef<'_>) -> Result<Pushed, BatchError> {
        let bytes = held_bytes(record);
        let mut closed = self.open.as_ref().is_some_and(|open| {
            open.builder.len_bytes() + bytes - RECORD_OVERHEAD_BYTES > self.batch_bytes
        });
        if closed {
            self.close();
        }
        let mut opened = self.open.is_none();
        let mut outcome = self.push_open(record);
        if !opened && matches!(outcome, Err(BatchError::TooLong { .. })) {
            self.close();
            (closed, opened) = (true, true);
            outcome = self.push_open(record);
        }
        let open = match (outcome, self.open.as_mut()) {
            (Ok(()), Some(open)) => open,
            (Ok(()), None) => unreachable!("a record was just pushed into the open batch"),
            (Err(error), _) => {
                if opened {
                    self.open = None;
                }
                return Err(error);
            }
        };
        let index = u64::from(open.records);
        open.records += 1;
        open.held_bytes += bytes;
        let outcome = open.outcome.subscribe();
        let complete =
            open.records >= self.batch_records || open.builder.len_bytes() >= self.batch_bytes;
        self.opened += u64::from(opened);
        if complete {
            self.close();
        }
        Ok(Pushed {
            index,
            outcome,
            opened,
            closed: closed || complete,
        })
    }

    fn push_open(&mut self, record: &RecordRef<'_>) -> Result<(), BatchError> {
        let open = self.open.get_or_insert_with(|| Closed {
            builder: BatchBuilder::new(self.codec),
            records: 0,
            held_bytes: 0,
            outcome: watch::Sender::new(None),
        });
        open.builder.push(record)
    }

    /// Closes the open batch, if there is one.
    pub(crate) fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    pub(crate) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Takes closed batches for one request: at least one when there is any, as many as keep
    /// `bytes_max`, judged before compression.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Vec<Closed> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.closed.front() {
            bytes += next.builder.len_bytes();
            if !taken.is_empty() && bytes > bytes_max {
                break;
            }
            taken.extend(self.closed.pop_front());
        }
        taken
    }

    /// Everything that waits, the open batch too.
    pub(crate) fn take_all(&mut self) -> Vec<Closed> {
        self.close();
        self.closed.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::record::Datum;

    fn record(value: &[u8]) -> RecordRef<'_> {
        RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value: Datum::Bytes(value),
            headers: &[],
        }
    }

    fn queue(batch_bytes: usize, batch_records: u32) -> Queue {
        Queue::new(&ProducerConfig {
            batch_bytes,
            batch_records,
            ..ProducerConfig::default()
        })
    }

    #[test]
    fn a_batch_closes_at_its_number_of_records() {
        let mut queue = queue(1 << 20, 3);
        let closed: Vec<bool> = (0..7)
            .map(|_| queue.push(&record(b"x")).unwrap().closed)
            .collect();
        assert_eq!(closed, [false, false, true, false, false, true, false]);
        assert_eq!(
            queue
                .take(usize::MAX)
                .iter()
                .map(|b| b.records)
                .collect::<Vec<_>>(),
            [3, 3]
        );
        assert!(queue.has_open() && !queue.has_closed());
    }

    #[test]
    fn a_record_that_does_not_fit_goes_into_the_next_batch() {
        let mut queue = queue(1000, 1000);
        assert!(!queue.push(&record(&[0; 700])).unwrap().closed);
        let second = queue.push(&record(&[0; 700])).unwrap();
        assert!(second.opened && second.closed);
        assert_eq!(second.index, 0);
        queue.close();
        assert_eq!(queue.take(usize::MAX).len(), 2);
    }

    #[test]
    fn a_record_larger_than_a_batch_travels_alone() {
        let mut queue = queue(100, 1000);
        let pushed = queue.push(&record(&[0; 5000])).unwrap();
        assert!(pushed.opened && pushed.closed);
        assert_eq!(queue.take(10).len(), 1);
    }

    #[test]
    fn a_request_takes_as_many_batches_as_fit() {
        let mut queue = queue(1 << 20, 1);
        for _ in 0..5 {
            queue.push(&record(&[0; 1000])).unwrap();
        }
        assert_eq!(queue.take(2500).len(), 2);
        assert_eq!(queue.take(1).len(), 1);
        assert_eq!(queue.take_all().len(), 2);
        assert!(queue.take_all().is_empty());
        assert_eq!(queue.opened(), 5);
    }

    #[test]
    fn memory_is_charged_for_every_part_of_a_record() {
        let headers: &[(&str, &[u8])] = &[("name", b"value")];
        let full = RecordRef {
            timestamp_ms: 0,
            key: Datum::Utf8("key"),
            value: Datum::Json("{}"),
            headers,
        };
        assert_eq!(held_bytes(&full), RECORD_OVERHEAD_BYTES + 3 + 2 + 4 + 5 + 4);
    }
}
