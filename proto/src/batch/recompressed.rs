//! The same records in another codec, for readers that do not know the producer's.
//!
//! What comes out is the server's: attribute bit 4 says so, and the checksum is the server's too.
//! Records, their order, offsets and timestamps are the producer's. Invariant: every batch that is made
//! keeps the bounds of a batch, however well the one it is made of was packed.

use bytes::Bytes;

use crate::batch::client;
use crate::batch::fault::BatchError;
use crate::batch::header::{Header, REMADE};
use crate::batch::{Batch, CLIENT_BYTES_MAX, CLIENT_HEADER_LEN, Placement};
use crate::compression::{Codec, compress, ratio_cap};

/// Records that go into one batch.
struct Run {
    /// Where it begins, above the base of the batch it is made from.
    first: u32,
    /// Offsets that it takes.
    span: u32,
    count: u32,
    from: usize,
    to: usize,
    max_timestamp_ms: i64,
}

impl Batch {
    /// The same records in `codec`, or in none where that packs no better; in several batches when they
    /// do not fit into one unpacked. A batch that is in `codec` already, or holds no records, comes back
    /// as it is.
    ///
    /// # Errors
    /// Those of reading the records.
    pub fn recompress(&self, codec: Codec) -> Result<Vec<Batch>, BatchError> {
        if self.client.codec() == codec || self.client.record_count() == 0 {
            return Ok(vec![self.clone()]);
        }
        let records = self.client.records()?;
        let bytes = records.bytes();
        let runs = if CLIENT_HEADER_LEN + bytes.len() <= CLIENT_BYTES_MAX {
            vec![Run {
                first: 0,
                span: self.client.span(),
                count: self.client.record_count(),
                from: 0,
                to: bytes.len(),
                max_timestamp_ms: self.client.max_timestamp_ms(),
            }]
        } else {
            self.runs()?
        };
        runs.iter()
            .map(|run| self.part(run, bytes, codec))
            .collect()
    }

    /// Cuts the records where an unpacked batch would be full. The gap in front of a record of a sparse
    /// batch is told from the record before it, so a run that begins behind that record may keep it.
    fn runs(&self) -> Result<Vec<Run>, BatchError> {
        let records = self.client.records()?;
        let mut iter = records.iter();
        let mut runs: Vec<Run> = Vec::new();
        let (mut at, mut next_delta) = (0, 0);
        while let Some(record) = iter.next() {
            let record = record?;
            let to = records.bytes().len() - iter.bytes_left();
            match runs.last_mut() {
                Some(run) if CLIENT_HEADER_LEN + to - run.from <= CLIENT_BYTES_MAX => {
                    run.to = to;
                    run.count += 1;
                    run.max_timestamp_ms = run.max_timestamp_ms.max(record.timestamp_ms);
                }
                _ => runs.push(Run {
                    first: next_delta,
                    span: 0,
                    count: 1,
                    from: at,
                    to,
                    max_timestamp_ms: record.timestamp_ms,
                }),
            }
            at = to;
            next_delta = record.offset_delta + 1;
        }
        let mut end = self.client.span();
        for run in runs.iter_mut().rev() {
            run.span = end - run.first;
            end = run.first;
        }
        Ok(runs)
    }

    fn part(&self, run: &Run, records: &Bytes, codec: Codec) -> Result<Batch, BatchError> {
        let plain = records.slice(run.from..run.to);
        let mut header = Header {
            codec: Codec::None,
            record_count: run.count,
            span: run.span,
            records_len: u32::try_from(plain.len())
                .map_err(|_| BatchError::RecordsTooLarge { len: plain.len() })?,
            max_timestamp_ms: run.max_timestamp_ms,
            ..*self.client.header()
        };
        header.attributes |= REMADE;
        if let Some(stamp) = &mut header.producer {
            stamp.seq = stamp.seq.wrapping_add(run.first);
        }
        let packed = match codec {
            Codec::None => None,
            codec => Some(compress(codec, &plain)?),
        };
        let packed = packed
            .filter(|packed| packed.len() < plain.len() && plain.len() <= ratio_cap(packed.len()));
        let body = match &packed {
            Some(packed) => {
                header.codec = codec;
                packed
            }
            None => &plain[..],
        };
        if CLIENT_HEADER_LEN + body.len() > CLIENT_BYTES_MAX {
            return Err(BatchError::TooLong {
                len: CLIENT_HEADER_LEN + body.len(),
                max: CLIENT_BYTES_MAX,
            });
        }
        let mut bytes = Vec::with_capacity(CLIENT_HEADER_LEN + body.len());
        bytes.resize(CLIENT_HEADER_LEN, 0);
        bytes.extend_from_slice(body);
        let placement = Placement {
            base_offset: self.placement.base_offset.plus(u64::from(run.first)),
            ..self.placement
        };
        Ok(Batch {
            placement,
            client: client::from_parts(header, bytes),
        })
    }
}
