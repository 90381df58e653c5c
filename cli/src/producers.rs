//! Producer ids for the data plane, taken from the controller a block at a time.
//!
//! Invariant: no id is given twice. Blocks come from the metadata store and are never returned; what
//! is left of one is lost when the process ends.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use tidegate_data_plane::ProducerIds;
use tidegate_data_plane::partitions::BoxFuture;
use tidegate_proto::error::Problem;
use tidegate_proto::id::ProducerId;

use crate::control::Control;

/// The epoch under which a fresh id starts.
const FIRST_EPOCH: u16 = 0;

#[derive(Debug)]
pub(crate) struct LeasedIds<C> {
    controller: C,
    block: Mutex<Range<u64>>,
}

impl<C: Control> LeasedIds<C> {
    pub(crate) fn new(controller: C) -> Self {
        Self {
            controller,
            block: Mutex::new(0..0),
        }
    }

    fn next(&self) -> Option<u64> {
        self.block
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }
}

impl<C: Control> ProducerIds for LeasedIds<C> {
    fn lease(&self) -> BoxFuture<'_, Result<(ProducerId, u16), Problem>> {
        Box::pin(async move {
            if let Some(id) = self.next() {
                return Ok((ProducerId(id), FIRST_EPOCH));
            }
            let mut fresh = self.controller.lease_producer_ids().await?;
            let id = fresh.next().ok_or_else(no_ids)?;
            // Of two that came here at once the later keeps its block; the other's rest is lost.
            *self.block.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
            Ok((ProducerId(id), FIRST_EPOCH))
        })
    }
}

fn no_ids() -> Problem {
    Problem::new(
        tidegate_proto::error::ErrorCode::Internal,
        "the controller leased an empty block of producer ids",
    )
}
