//! Binary batches out of a body, and where they may go.
//!
//! Batches are stored as they came, so everything about them is checked here: lengths, both
//! checksums, every record. Invariant: a body unpacks to no more than [`BODY_UNPACKED_BYTES_MAX`].

use bytes::Bytes;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;

use crate::limits::BODY_UNPACKED_BYTES_MAX;
use crate::partitioner::for_key;

/// The batches of a body, at least one, each validated.
pub(crate) fn decode_batches(
    mut body: Bytes,
    record_bytes_max: usize,
) -> Result<Vec<ClientBatch>, Problem> {
    let mut batches = Vec::new();
    let mut unpacked = 0;
    while !body.is_empty() {
        let index = batches.len();
        let broken = |error| Problem::from(error).with("batch", index);
        let batch = ClientBatch::take_from(&mut body).map_err(broken)?;
        // What the header says is believed here, because unpacking stops there.
        unpacked += batch.records_len();
        if unpacked > BODY_UNPACKED_BYTES_MAX {
            let detail = "the batches of the body unpack to too much: send fewer in one request";
            return Err(Problem::new(ErrorCode::TooLarge, detail)
                .with("limit", BODY_UNPACKED_BYTES_MAX)
                .with("batch", index));
        }
        batch.validate(record_bytes_max).map_err(broken)?;
        if batch.request_key().is_some() {
            let detail = "a request key is made by the server: send the header Idempotency-Key";
            return Err(Problem::new(ErrorCode::CorruptBatch, detail).with("batch", index));
        }
        if batch.producer().is_some_and(|stamp| stamp.unordered) {
            let detail = "unordered producers are the gateways' own: stamp batches in their order";
            return Err(Problem::new(ErrorCode::NotSupported, detail).with("batch", index));
        }
        batches.push(batch);
    }
    if batches.is_empty() {
        return Err(Problem::new(
            ErrorCode::CorruptBatch,
            "the body holds no batch",
        ));
    }
    Ok(batches)
}

/// The partition that all keys of a batch belong to; `None` when no record has a key.
pub(crate) fn partition_of_keys(
    topic: &TopicSpec,
    batch: &ClientBatch,
) -> Result<Option<PartitionId>, Problem> {
    let mut found = None;
    for record in batch.records()?.iter() {
        let Some(key) = record?.key.as_bytes() else {
            continue;
        };
        let partition = for_key(topic, key);
        if *found.get_or_insert(partition) != partition {
            let detail = "the keys of one batch belong to different partitions: make one batch for \
                          each partition, or send to /v1/topics/{topic}/partitions/{partition}/records";
            return Err(Problem::new(ErrorCode::InvalidParameter, detail));
        }
    }
    Ok(found)
}
