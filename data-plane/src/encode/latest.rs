//! The last record of each key among some batches: what a reader gets that cannot keep up.
//!
//! What is made are batches as compaction makes them; offsets stay. Records without a key have nothing
//! that comes after them and stay, too. Invariant: the last record of all is there.

use std::collections::HashMap;

use tidegate_proto::batch::{Batch, BatchError, Kept};
use tidegate_proto::position::Offset;

/// Of the records at and after `from`. Checks every batch.
pub(crate) fn of(batches: &[Batch], from: Offset) -> Result<Vec<Batch>, BatchError> {
    let mut last: HashMap<Vec<u8>, Offset> = HashMap::new();
    for batch in batches.iter().filter(|batch| !batch.client.is_control()) {
        batch.verify()?;
        let records = batch.client.records()?;
        for record in &records {
            let record = record?;
            if let Some(key) = record.key.as_bytes() {
                last.insert(key.to_vec(), batch.offset_of(&record));
            }
        }
    }
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let outcome = batch.keep_records(|offset, record| {
            let key = record.key.as_bytes();
            offset >= from && key.is_none_or(|key| last.get(key) == Some(&offset))
        })?;
        match outcome {
            Kept::All => kept.push(batch.clone()),
            Kept::Some(made) => kept.extend(made),
            Kept::Nothing => {}
        }
    }
    Ok(kept)
}
