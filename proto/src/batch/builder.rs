//! Building a batch record by record.
//!
//! What is built passes `validate`, save for one thing that is not looked at here: whether JSON is JSON.
//! A record that does not fit leaves the builder as it was, so that the caller can finish and go on in
//! the next batch.

use crate::batch::client::{self, ClientBatch};
use crate::batch::fault::{BatchError, RecordFault};
use crate::batch::header::{HAS_PRODUCER, HAS_REQUEST_KEY, Header, ProducerStamp, UNORDERED};
use crate::batch::records::check_header_names;
use crate::batch::{CLIENT_BYTES_MAX, CLIENT_HEADER_LEN};
use crate::bytes::{put_sized, put_uvarint, uvarint_len, zigzag};
use crate::compression::{Codec, compress, ratio_cap};
use crate::limits::HEADERS_PER_RECORD_MAX;
use crate::record::{Datum, RecordRef};
use crate::time::is_exact;

/// Collects records into a [`ClientBatch`].
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    codec: Codec,
    producer: Option<ProducerStamp>,
    request_key: Option<[u8; 16]>,
    /// Room for the header, then the records as they will be before compression. Nothing before the
    /// first record, and then exactly what that takes: most batches of one record are kept for a while
    /// as they are, by thousands of partitions.
    bytes: Vec<u8>,
    record_count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// An empty batch whose records will be compressed by `codec` when that makes them smaller.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            producer: None,
            request_key: None,
            bytes: Vec::new(),
            record_count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: i64::MIN,
        }
    }

    /// Stamps the batch with its producer.
    #[must_use]
    pub fn producer(mut self, stamp: ProducerStamp) -> Self {
        self.producer = Some(stamp);
        self
    }

    /// Gives the batch a request key.
    #[must_use]
    pub fn request_key(mut self, key: [u8; 16]) -> Self {
        self.request_key = Some(key);
        self
    }

    /// Adds a record. [`BatchError::TooLong`] when the batch would be too long: finish it and put the
    /// record into the next one. Other errors are of the record; the builder is unchanged in any case.
    pub fn push(&mut self, record: &RecordRef<'_>) -> Result<(), BatchError> {
        let fault = |fault| BatchError::Record {
            index: self.record_count,
            fault,
        };
        if !is_exact(record.timestamp_ms) {
            return Err(fault(RecordFault::Timestamp(record.timestamp_ms)));
        }
        if !record.headers.is_empty() {
            if record.headers.len() > HEADERS_PER_RECORD_MAX {
                return Err(fault(RecordFault::TooManyHeaders(
                    record.headers.len() as u64
                )));
            }
            check_header_names(record.headers.iter().map(|(name, _)| *name)).map_err(fault)?;
        }
        let base_timestamp_ms = if self.record_count == 0 {
            record.timestamp_ms
        } else {
            self.base_timestamp_ms
        };
        // Both are within 2^53, so the difference cannot overflow.
        let delta = zigzag(record.timestamp_ms - base_timestamp_ms);
        let body_len = encoded_len(delta, record);
        let len = self.len_bytes() + uvarint_len(body_len as u64) + body_len;
        // The bound before compression is the bound after it: a batch that compression does not help, or
        // that a reader would take for a bomb, is stored as it is.
        if len > CLIENT_BYTES_MAX {
            return Err(BatchError::TooLong {
                len,
                max: CLIENT_BYTES_MAX,
            });
        }
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(len);
            self.bytes.resize(CLIENT_HEADER_LEN, 0);
        }
        self.bytes.reserve(len - self.bytes.len());
        put_uvarint(&mut self.bytes, body_len as u64);
        put_record(&mut self.bytes, delta, record);
        self.record_count += 1;
        self.base_timestamp_ms = base_timestamp_ms;
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        Ok(())
    }

    /// Length of the client part so far, before compression, in bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        if self.bytes.is_empty() {
            CLIENT_HEADER_LEN
        } else {
            self.bytes.len()
        }
    }

    /// Number of records so far.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.record_count
    }

    /// True when no record is in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Compresses and seals. Errors: no record.
    pub fn finish(self) -> Result<ClientBatch, BatchError> {
        if self.record_count == 0 {
            return Err(BatchError::Empty);
        }
        let records_len = self.bytes.len() - CLIENT_HEADER_LEN;
        let mut attributes = 0;
        if let Some(stamp) = self.producer {
            attributes |= HAS_PRODUCER;
            if stamp.unordered {
                attributes |= UNORDERED;
            }
        }
        if self.request_key.is_some() {
            attributes |= HAS_REQUEST_KEY;
        }
        let mut header = Header {
            codec: Codec::None,
            attributes,
            record_count: self.record_count,
            // At most CLIENT_BYTES_MAX, which push keeps.
            records_len: u32::try_from(records_len)
                .map_err(|_| BatchError::RecordsTooLarge { len: records_len })?,
            span: self.record_count,
            producer: self.producer,
            request_key: self.request_key,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        };
        if self.codec != Codec::None {
            let packed = compress(self.codec, &self.bytes[CLIENT_HEADER_LEN..])?;
            if packed.len() < records_len && records_len <= ratio_cap(packed.len()) {
                header.codec = self.codec;
                let mut bytes = Vec::with_capacity(CLIENT_HEADER_LEN + packed.len());
                bytes.resize(CLIENT_HEADER_LEN, 0);
                bytes.extend_from_slice(&packed);
                return Ok(client::from_parts(header, bytes));
            }
        }
        Ok(client::from_parts(header, self.bytes))
    }
}

fn datum_len(datum: Datum<'_>) -> usize {
    datum
        .as_bytes()
        .map_or(0, |bytes| uvarint_len(bytes.len() as u64) + bytes.len())
}

fn encoded_len(delta: u64, record: &RecordRef<'_>) -> usize {
    let mut len = uvarint_len(delta) + 1 + datum_len(record.key) + datum_len(record.value);
    len += uvarint_len(record.headers.len() as u64);
    for (name, value) in record.headers {
        len += uvarint_len(name.len() as u64) + name.len();
        len += uvarint_len(value.len() as u64) + value.len();
    }
    len
}

fn put_record(out: &mut Vec<u8>, delta: u64, record: &RecordRef<'_>) {
    put_uvarint(out, delta);
    out.push(record.value.kind() as u8 | (record.key.kind() as u8) << 4);
    for datum in [record.key, record.value] {
        if let Some(bytes) = datum.as_bytes() {
            put_sized(out, bytes);
        }
    }
    put_uvarint(out, record.headers.len() as u64);
    for (name, value) in record.headers {
        put_sized(out, name.as_bytes());
        put_sized(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_takes_as_much_room_as_it_is_long() {
        for len in [0, 1, 100, 5_000] {
            let value = vec![b'v'; len];
            let mut builder = BatchBuilder::new(Codec::None);
            assert_eq!(builder.len_bytes(), CLIENT_HEADER_LEN);
            let record = RecordRef {
                timestamp_ms: 1,
                key: Datum::Absent,
                value: Datum::Bytes(&value),
                headers: &[],
            };
            builder.push(&record).unwrap();
            let (len, capacity) = (builder.len_bytes(), builder.bytes.capacity());
            assert_eq!(capacity, len);
            assert_eq!(builder.finish().unwrap().len(), len);
        }
    }
}
