//! What became of a record: one shared outcome per batch, one small handle per record.
//!
//! A batch's outcome is set exactly once. Dropping a handle does not stop the delivery.

use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;
use tokio::sync::watch;

use crate::error::Error;

/// Where a batch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Absent when no acknowledgement was asked for.
    pub(crate) base_offset: Option<Offset>,
}

pub(crate) type Outcome = Result<Placed, Error>;

/// A delivered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: PartitionId,
    /// Absent with `acks=none`.
    pub offset: Option<Offset>,
}

/// The promise of one record's delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    partition: PartitionId,
    index: u64,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Delivery {
    pub(crate) fn new(
        partition: PartitionId,
        index: u64,
        outcome: watch::Receiver<Option<Outcome>>,
    ) -> Self {
        Self {
            partition,
            index,
            outcome,
        }
    }

    /// The partition that was chosen.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Waits until the record is acknowledged or given up.
    ///
    /// # Errors
    /// What the batch failed with; `Error::Closed` when the producer was dropped before.
    pub async fn wait(mut self) -> Result<Delivered, Error> {
        let settled = self
            .outcome
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Closed)?;
        match settled.as_ref() {
            Some(Ok(placed)) => Ok(Delivered {
                partition: self.partition,
                offset: placed.base_offset.map(|base| base.plus(self.index)),
            }),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::Closed),
        }
    }
}
