//! What a consumer hands out: a page of batches, read record by record without copying.

use std::ops::Range;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchError, Records};
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;
use tidegate_proto::record::RecordView;

use super::span::Spans;
use crate::error::Error;

/// A record and where it is.
#[derive(Debug)]
pub struct Received<'a> {
    pub partition: PartitionId,
    pub offset: Offset,
    /// Epoch milliseconds: the producer's, or the leader's for topics with `timestamp=append`.
    pub timestamp_ms: i64,
    pub record: RecordView<'a>,
}

/// The wanted records of one batch.
#[derive(Debug)]
pub(crate) struct Part {
    batch: Batch,
    records: Records,
    /// Which of the records there, by number.
    wanted: Range<u32>,
}

impl Part {
    /// `wanted` are offsets above the batch's base.
    pub(crate) fn new(batch: Batch, wanted: Range<u32>) -> Result<Self, BatchError> {
        let records = batch.client.records()?;
        let wanted = if batch.client.is_sparse() {
            let deltas: Vec<u32> = records
                .iter()
                .map(|record| record.map(|record| record.offset_delta))
                .collect::<Result<_, _>>()?;
            let number = |delta| deltas.partition_point(|found| *found < delta);
            let number = |delta| u32::try_from(number(delta)).unwrap_or(u32::MAX);
            number(wanted.start)..number(wanted.end)
        } else {
            wanted
        };
        Ok(Self {
            batch,
            records,
            wanted,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// Reads whole batches, one after the other, checks each and keeps what is wanted of it. `grows`: a
/// partition that is not known is wanted from its beginning. Fails with what is wrong.
pub(crate) fn take_batches(
    mut rest: Bytes,
    spans: &mut Spans,
    grows: bool,
    parts: &mut Vec<Part>,
) -> Result<(), String> {
    while !rest.is_empty() {
        let batch = Batch::decode(&mut rest).map_err(|error| error.to_string())?;
        batch.verify().map_err(|error| error.to_string())?;
        if grows {
            spans.follow(batch.placement.key.partition);
        }
        let wanted = spans.advance(&batch);
        if !wanted.is_empty() {
            let part = Part::new(batch, wanted).map_err(|error| error.to_string())?;
            // Compaction may have left nothing of those offsets.
            parts.extend(Some(part).filter(|part| !part.is_empty()));
        }
    }
    Ok(())
}

/// Records of one answer, in order per partition.
#[derive(Debug)]
pub struct Page {
    parts: Vec<Part>,
}

impl Page {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self { parts }
    }

    /// Whether there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Number of records.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.wanted.len() as u64).sum()
    }

    /// The records. An item is an error only if a producer stored what no reader can decode.
    pub fn records(&self) -> impl Iterator<Item = Result<Received<'_>, Error>> {
        self.parts.iter().flat_map(|part| {
            let skipped = usize::try_from(part.wanted.start).unwrap_or(usize::MAX);
            part.records
                .iter()
                .skip(skipped)
                .take(part.wanted.len())
                .map(|record| {
                    let record = record.map_err(|error| Error::Protocol {
                        request: "reading a batch".to_owned(),
                        reason: error.to_string(),
                    })?;
                    Ok(Received {
                        partition: part.batch.placement.key.partition,
                        offset: part.batch.offset_of(&record),
                        timestamp_ms: part.batch.timestamp_of(&record),
                        record,
                    })
                })
        })
    }
}
