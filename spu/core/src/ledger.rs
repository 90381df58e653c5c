//! What a log remembers beyond its bytes: producers, request keys and epochs.
//!
//! The ledger is a function of the batches in the log, seen in order: [`Ledger::observe`] is called
//! for each append and, after a restart, for each batch header behind the newest snapshot, and both
//! ways give the same ledger, but for what a leader forgot by the clock since: a restart may know it
//! once more, and takes nothing for new because of that. A snapshot bounds how many headers that are;
//! it carries a version and a checksum, and one that does not decode is worth nothing (the headers are
//! read instead).

use bytes::{Buf, BufMut};
use thiserror::Error;
use tidegate_proto::batch::{Batch, ClientBatch, ProducerStamp};
use tidegate_proto::id::ProducerId;
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::epoch::EpochIndex;
use crate::producer::{Producer, ProducerTable, SeqRange};
use crate::request_key::{KeyedRequest, RequestKeys};
use crate::unordered::{Run, Unordered, UnorderedTable};

/// Request keys have an end of their own.
const SNAPSHOT_VERSION: u8 = 3;
/// From this on the last part is that of the unordered producers.
const SNAPSHOT_VERSION_UNORDERED: u8 = 2;
const SNAPSHOT_VERSION_OLDEST: u8 = 1;

/// Bytes of the client header, which the digest of a request leaves out.
const CLIENT_HEADER_LEN: usize = 64;

/// What the ledger needs to know of a batch: all of it is in the two headers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchFacts {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// When the leader appended it, epoch milliseconds.
    pub append_time_ms: i64,
    /// Records that were in it; none in a control batch.
    pub record_count: u32,
    /// The idempotent producer, if any.
    pub producer: Option<ProducerStamp>,
    /// The key of the request, and the checksum over the records alone.
    pub request: Option<([u8; 16], u32)>,
}

impl BatchFacts {
    /// The facts of a whole batch.
    pub fn of(batch: &Batch) -> Self {
        let client = &batch.client;
        Self {
            base_offset: batch.placement.base_offset,
            leader_epoch: batch.placement.leader_epoch,
            append_time_ms: batch.placement.append_time_ms,
            record_count: client.span(),
            producer: client.producer(),
            request: client
                .request_key()
                .map(|key| (key, records_digest(client))),
        }
    }
}

/// What tells the records of one request from those of another: their checksum without the header.
pub(crate) fn records_digest(client: &ClientBatch) -> u32 {
    let header = client
        .as_bytes()
        .get(..CLIENT_HEADER_LEN)
        .unwrap_or_default();
    records_crc(client.crc(), header, client.len() - header.len())
}

/// The checksum of the records, taken out of the checksum of header and records: CRCs are linear, so
/// neither the live path nor recovery reads the records again.
pub fn records_crc(whole: u32, client_header: &[u8], records_len: usize) -> u32 {
    whole ^ crc32c::crc32c_combine(crc32c::crc32c(client_header), 0, records_len)
}

/// A snapshot that cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum SnapshotError {
    /// Written by a version that this one does not know.
    #[error("snapshot version {0} is not known")]
    Version(u8),
    /// Shorter than it says.
    #[error("snapshot is cut short")]
    Truncated,
    /// Its checksum does not match.
    #[error("snapshot is damaged: its checksum is {found:08x}, it says {expected:08x}")]
    Checksum {
        /// The checksum that it carries.
        expected: u32,
        /// The checksum of its bytes.
        found: u32,
    },
}

/// Producers, request keys and epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    pub(crate) producers: ProducerTable,
    pub(crate) keys: RequestKeys,
    pub(crate) epochs: EpochIndex,
}

impl Ledger {
    /// Takes in the next batch of the log.
    pub fn observe(&mut self, batch: &BatchFacts) {
        self.epochs.note(batch.leader_epoch, batch.base_offset);
        let (base_offset, count, at_ms) =
            (batch.base_offset, batch.record_count, batch.append_time_ms);
        if let Some(stamp) = batch.producer {
            self.producers.observe(&stamp, count, base_offset, at_ms);
        }
        if let Some((key, digest)) = batch.request {
            self.keys.observe(
                key,
                KeyedRequest {
                    base_offset,
                    end: base_offset.plus(u64::from(count)),
                    count,
                    digest,
                    at_ms,
                },
            );
        }
    }

    /// The epochs of the log.
    pub fn epochs(&self) -> &EpochIndex {
        &self.epochs
    }

    /// How many producers and request keys are remembered.
    pub fn len(&self) -> usize {
        self.producers.len() + self.producers.unordered.len() + self.keys.len()
    }

    /// Whether no producer and no request key is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long a log that went on without it could take a repetition for something new, in milliseconds;
    /// 0 when no request key holds any more, and no request of a producer can be under way. A producer that
    /// goes on later is told that it is unknown (D2).
    pub(crate) fn indispensable_ms(&self, now_ms: i64) -> u64 {
        let ms = self.keys.holds_ms(now_ms);
        ms.max(self.producers.unquiet_ms(now_ms))
    }

    /// A snapshot of a log that ends at `as_of`. A marker there takes no offset, and a cut to it would take
    /// it away: whoever reads the log from there finds it again.
    pub(crate) fn encode_below(&self, as_of: Offset) -> Vec<u8> {
        let starts = self.epochs.entries();
        let below = starts.partition_point(|(_, start)| *start < as_of);
        self.encode_with(starts.get(..below).unwrap_or_default())
    }

    /// The snapshot's bytes: version, epochs, producers, keys, unordered producers, CRC32C; little endian.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.epochs.entries())
    }

    fn encode_with(&self, epochs: &[(LeaderEpoch, Offset)]) -> Vec<u8> {
        let mut out = vec![SNAPSHOT_VERSION];
        out.put_u32_le(length(epochs.len()));
        for (epoch, start) in epochs {
            out.put_u64_le(epoch.0);
            out.put_u64_le(start.get());
        }
        out.put_u32_le(length(self.producers.len()));
        for (id, producer) in self.producers.iter() {
            out.put_u64_le(id.0);
            put_producer(&mut out, producer);
        }
        out.put_u32_le(length(self.keys.len()));
        for (key, request) in self.keys.iter() {
            out.put_slice(key);
            out.put_u64_le(request.base_offset.get());
            out.put_u32_le(request.count);
            out.put_u32_le(request.digest);
            out.put_i64_le(request.at_ms);
            out.put_u64_le(request.end.get());
        }
        out.put_u32_le(length(self.producers.unordered.len()));
        for (id, producer) in self.producers.unordered.iter() {
            out.put_u64_le(id.0);
            put_unordered(&mut out, producer);
        }
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out
    }

    /// Reads what [`Ledger::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let version = *bytes.first().ok_or(SnapshotError::Truncated)?;
        if !(SNAPSHOT_VERSION_OLDEST..=SNAPSHOT_VERSION).contains(&version) {
            return Err(SnapshotError::Version(version));
        }
        let (body, crc) = bytes
            .split_last_chunk::<4>()
            .ok_or(SnapshotError::Truncated)?;
        let (expected, found) = (u32::from_le_bytes(*crc), crc32c::crc32c(body));
        if expected != found {
            return Err(SnapshotError::Checksum { expected, found });
        }
        let mut rest = body.get(1..).ok_or(SnapshotError::Truncated)?;
        let mut ledger = Self::read(&mut rest, version).map_err(|_| SnapshotError::Truncated)?;
        if version >= SNAPSHOT_VERSION_UNORDERED {
            read_unordered(&mut rest, &mut ledger.producers.unordered)
                .map_err(|_| SnapshotError::Truncated)?;
        }
        Ok(ledger)
    }

    fn read(rest: &mut &[u8], version: u8) -> Result<Self, bytes::TryGetError> {
        let mut ledger = Self::default();
        for _ in 0..rest.try_get_u32_le()? {
            let epoch = LeaderEpoch(rest.try_get_u64_le()?);
            ledger
                .epochs
                .note(epoch, Offset::new(rest.try_get_u64_le()?));
        }
        for _ in 0..rest.try_get_u32_le()? {
            let id = ProducerId(rest.try_get_u64_le()?);
            ledger.producers.restore(id, read_producer(rest)?);
        }
        for _ in 0..rest.try_get_u32_le()? {
            let mut key = [0; 16];
            rest.try_copy_to_slice(&mut key)?;
            let base_offset = Offset::new(rest.try_get_u64_le()?);
            let count = rest.try_get_u32_le()?;
            let mut request = KeyedRequest {
                base_offset,
                end: base_offset.plus(u64::from(count)),
                count,
                digest: rest.try_get_u32_le()?,
                at_ms: rest.try_get_i64_le()?,
            };
            if version == SNAPSHOT_VERSION {
                request.end = Offset::new(rest.try_get_u64_le()?);
            }
            ledger.keys.restore(key, request);
        }
        Ok(ledger)
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("every table of the ledger is bounded far below 2^32")
}

fn put_producer(out: &mut Vec<u8>, producer: &Producer) {
    out.put_u16_le(producer.epoch);
    out.put_u32_le(producer.next_seq);
    out.put_i64_le(producer.touched_ms);
    out.put_u32_le(length(producer.ranges.len()));
    for range in &producer.ranges {
        out.put_u32_le(range.first_seq);
        out.put_u32_le(range.count);
        out.put_u64_le(range.base_offset.get());
        out.put_i64_le(range.timestamp_ms);
    }
}

fn read_producer(rest: &mut &[u8]) -> Result<Producer, bytes::TryGetError> {
    let mut producer = Producer {
        epoch: rest.try_get_u16_le()?,
        next_seq: rest.try_get_u32_le()?,
        touched_ms: rest.try_get_i64_le()?,
        ranges: Default::default(),
    };
    for _ in 0..rest.try_get_u32_le()? {
        producer.ranges.push_back(SeqRange {
            first_seq: rest.try_get_u32_le()?,
            count: rest.try_get_u32_le()?,
            base_offset: Offset::new(rest.try_get_u64_le()?),
            timestamp_ms: rest.try_get_i64_le()?,
        });
    }
    Ok(producer)
}

fn put_unordered(out: &mut Vec<u8>, producer: &Unordered) {
    out.put_u16_le(producer.epoch);
    out.put_i64_le(producer.touched_ms);
    out.put_u64_le(producer.end);
    out.put_u64_le(producer.floor);
    out.put_u32_le(length(producer.runs.len()));
    for (first, run) in &producer.runs {
        out.put_u64_le(*first);
        out.put_u64_le(run.count);
        out.put_u64_le(run.base_offset.get());
        out.put_i64_le(run.timestamp_ms);
    }
}

fn read_unordered(rest: &mut &[u8], table: &mut UnorderedTable) -> Result<(), bytes::TryGetError> {
    for _ in 0..rest.try_get_u32_le()? {
        let id = ProducerId(rest.try_get_u64_le()?);
        let mut producer = Unordered {
            epoch: rest.try_get_u16_le()?,
            touched_ms: rest.try_get_i64_le()?,
            end: rest.try_get_u64_le()?,
            floor: rest.try_get_u64_le()?,
            log_end: Offset::ZERO,
            runs: Default::default(),
        };
        for _ in 0..rest.try_get_u32_le()? {
            let first = rest.try_get_u64_le()?;
            let run = Run {
                count: rest.try_get_u64_le()?,
                base_offset: Offset::new(rest.try_get_u64_le()?),
                timestamp_ms: rest.try_get_i64_le()?,
            };
            producer.runs.insert(first, run);
        }
        table.restore(id, producer.restored());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for n in 0..5u64 {
            ledger.observe(&BatchFacts {
                base_offset: Offset::new(n * 3),
                leader_epoch: LeaderEpoch(1 + n / 2),
                append_time_ms: 1_000 + n as i64,
                record_count: 3,
                producer: Some(ProducerStamp {
                    id: ProducerId(n % 2),
                    epoch: 4,
                    seq: (n / 2 * 3) as u32,
                    unordered: n > 2,
                }),
                request: Some(([n as u8; 16], n as u32)),
            });
        }
        ledger
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was() {
        assert_eq!(Ledger::decode(&ledger().encode()), Ok(ledger()));
        assert_eq!(
            Ledger::decode(&Ledger::default().encode()),
            Ok(Ledger::default())
        );
    }

    #[test]
    fn a_snapshot_of_before_there_were_unordered_producers_is_read() {
        let mut before = ledger();
        before.producers.unordered = UnorderedTable::default();
        let mut bytes = before.encode();
        bytes.truncate(bytes.len() - 8);
        // Nor had request keys an end.
        let keys = bytes.split_off(bytes.len() - before.keys.len() * 48);
        for key in keys.chunks(48) {
            bytes.extend_from_slice(&key[..40]);
        }
        bytes[0] = SNAPSHOT_VERSION_OLDEST;
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        assert_eq!(Ledger::decode(&bytes), Ok(before));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_snapshot_is_noticed() {
        let bytes = ledger().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Ledger::decode(&damaged).is_err(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|cut| Ledger::decode(&bytes[..cut]).is_err()));
    }

    #[test]
    fn the_checksum_of_the_records_comes_out_of_the_whole() {
        let (header, records) = ([7u8; 64], b"some records of a batch");
        let whole = crc32c::crc32c(&[&header[..], records].concat());
        assert_eq!(
            records_crc(whole, &header, records.len()),
            crc32c::crc32c(records)
        );
    }
}
