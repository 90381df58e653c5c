//! Goes through the records of a read in offset order.
//!
//! Records below the asked offset and control batches are passed over; neither is ever shown to a
//! client. A batch that does not decode is a fault of ours and becomes a 500.

use std::ops::ControlFlow;

use tidegate_proto::batch::{Batch, BatchError};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::Offset;
use tidegate_proto::record::RecordView;

/// Shows every record at and after `from` until `visit` breaks; returns the offset behind the last
/// one that was shown or passed over, or that a batch takes without having a record there. The record at which `visit` breaks counts as shown.
pub fn walk_records(
    batches: &[Batch],
    from: Offset,
    mut visit: impl FnMut(&Batch, Offset, &RecordView<'_>) -> ControlFlow<()>,
) -> Result<Offset, Problem> {
    let mut next = from;
    for batch in batches {
        if batch.client.is_control() || batch.next_offset() <= next {
            continue;
        }
        let records = batch
            .client
            .records()
            .map_err(|error| corrupt(batch, &error))?;
        for record in &records {
            let record = record.map_err(|error| corrupt(batch, &error))?;
            let offset = batch.offset_of(&record);
            if offset < next {
                continue;
            }
            next = offset.plus(1);
            if visit(batch, offset, &record).is_break() {
                return Ok(next);
            }
        }
        // Compaction may have left nothing of its last offsets.
        next = batch.next_offset();
    }
    Ok(next)
}

fn corrupt(batch: &Batch, error: &BatchError) -> Problem {
    let placement = &batch.placement;
    tracing::error!(
        topic_id = %placement.key.topic_id,
        partition = %placement.key.partition,
        base_offset = %placement.base_offset,
        %error,
        "a stored batch does not decode"
    );
    Problem::new(ErrorCode::Internal, "a stored batch does not decode")
        .with("partition", placement.key.partition.0)
        .with("base_offset", placement.base_offset.get())
}
