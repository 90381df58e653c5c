//! What readers get: whole batches that are committed here.
//!
//! Invariant: nothing at or above the high watermark is shown.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::RoleName;

use super::Unit;
use super::hosted::Hosted;
use crate::message::{Context, Message, Page};
use crate::network::Node;
use crate::plant::Plant;

/// Batches in one answer to a reader.
const PAGE_MAX: usize = 32;

impl Hosted {
    /// Batches that are committed here, from there on.
    fn page(&self, from: Offset, plant: Option<Plant>) -> Page {
        let status = self.machine.status();
        let first = self
            .log
            .partition_point(|batch| batch.next_offset() <= from);
        let shows_all = plant == Some(Plant::ShowsAll);
        let skips = usize::from(plant == Some(Plant::SkipsBatches) && first % 7 == 3);
        let committed = |batch: &&Batch| shows_all || batch.next_offset() <= status.high_watermark;
        Page {
            log_start: status.log_start,
            high_watermark: status.high_watermark,
            batches: self.log[first..]
                .iter()
                .take_while(committed)
                .take(PAGE_MAX)
                .skip(skips)
                .cloned()
                .collect(),
        }
    }
}

impl Unit {
    /// Somebody reads what is committed.
    pub(crate) fn read(
        &self,
        cx: &mut Context,
        from: Node,
        call: u64,
        key: ReplicaKey,
        at: Offset,
    ) {
        let hosted = self.replicas.get(&key);
        let leads = hosted.filter(|hosted| hosted.machine.role() == RoleName::Leading);
        let answer = leads.map(|hosted| hosted.page(at, cx.plant));
        cx.send(from, Message::ReadAnswer { call, answer });
    }
}
