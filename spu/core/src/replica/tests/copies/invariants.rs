//! The invariants of the replication contract, by number, over all copies.

use super::*;

/// What was promised to anybody.
#[derive(Default)]
pub(super) struct Truth {
    /// 10, 12: what was seen below a high watermark, by offset: checksum of the batch, its first offset.
    seen: BTreeMap<u64, (u32, Offset)>,
    /// How far each node was looked at.
    looked: BTreeMap<usize, u64>,
    /// 1: ends of what was acknowledged for a quorum.
    pub(super) acked_end: u64,
    producers: BTreeMap<(ProducerId, u16, u32), u64>,
}

impl Cluster {
    /// 8, 9: what is acknowledged is durable on enough disks, and nobody who might lead without it exists.
    pub(super) fn replied(&mut self, node: usize, request: RequestId, outcome: Outcome) {
        assert!(
            self.replies.insert(request, outcome).is_none(),
            "answered twice"
        );
        let Ok(answer) = outcome else {
            return;
        };
        if self.wanted[&request] != Acks::Quorum {
            return;
        }
        let epoch = self.status(node).meta.leader_epoch;
        let holds = |at: &Node| at.disk.durable.end >= answer.end;
        let disks = self.nodes.iter().filter(|at| holds(at)).count();
        assert!(disks >= usize::from(self.row.min_isr), "8: {disks} disks");
        for member in self
            .row
            .isr
            .iter()
            .filter(|member| self.row.is_current(member))
        {
            let at = &self.nodes[member.spu.0 as usize];
            let is_later = at.disk.durable.meta.leader_epoch > epoch;
            assert!(!is_later || holds(at), "9: {member:?}");
        }
        self.truth.acked_end = self.truth.acked_end.max(answer.end.get());
    }

    pub(super) fn check(&mut self, node: usize) {
        let Some(replica) = &self.nodes[node].replica else {
            return;
        };
        let status = replica.status();
        let log = &self.nodes[node].disk.log;
        if status.role != RoleName::Failed && !replica.standing.is_truncating() {
            assert_eq!(status.end, log.end);
            assert_eq!(
                status.last_epoch.max(log.position().last_epoch),
                status.last_epoch
            );
        }
        assert!(status.high_watermark <= status.end, "13");
        self.see(node, status.high_watermark.get());
        self.members_are_complete();
        self.logs_match();
        self.newest_leader_is_complete(node);
    }

    /// 10, 12: the committed prefix is the same wherever and whenever it is seen.
    fn see(&mut self, node: usize, high_watermark: u64) {
        let from = self.truth.looked.get(&node).copied().unwrap_or(0);
        for batch in &self.nodes[node].disk.log.batches {
            let (base, next) = (batch.placement.base_offset, batch.next_offset().get());
            if next <= from || next > high_watermark || base.get() == next {
                continue;
            }
            let mark = (batch.client.crc(), base);
            for offset in base.get()..next {
                let before = self.truth.seen.insert(offset, mark);
                assert!(
                    before.is_none_or(|before| before == mark),
                    "10: offset {offset}"
                );
            }
            if let Some(stamp) = batch.client.producer() {
                for n in 0..batch.client.record_count() {
                    let place = (stamp.id, stamp.epoch, stamp.seq.wrapping_add(n));
                    let offset = base.get() + u64::from(n);
                    let before = self.truth.producers.insert(place, offset);
                    assert!(before.is_none_or(|at| at == offset), "12: {place:?}");
                }
            }
        }
        // Not further: of a batch that was committed in part the rest comes later.
        self.truth.looked.insert(node, 0);
    }

    fn holds_what_was_seen(&self, image: &disk::Image) -> Result<(), u64> {
        let mut at = image.log_start.get();
        for batch in image.batches.iter().filter(|batch| batch.client.span() > 0) {
            let base = batch.placement.base_offset;
            for offset in base.get()..batch.next_offset().get() {
                let seen = self.truth.seen.get(&offset);
                let same = seen.is_none_or(|seen| *seen == (batch.client.crc(), base));
                if !same {
                    return Err(offset);
                }
            }
            at = batch.next_offset().get();
        }
        let end = self
            .truth
            .seen
            .last_key_value()
            .map_or(0, |(offset, _)| offset + 1);
        if at.max(image.end.get()) < end {
            Err(at)
        } else {
            Ok(())
        }
    }

    /// 2, 14: whoever may be elected has all that anybody was shown.
    fn members_are_complete(&self) {
        for member in self
            .row
            .isr
            .iter()
            .filter(|member| self.row.is_current(member))
        {
            let at = member.spu.0 as usize;
            let complete = self.holds_what_was_seen(&self.nodes[at].disk.durable);
            assert_eq!(complete, Ok(()), "2: node {at}");
        }
    }

    /// 1: the leader of the newest epoch has what was acknowledged.
    fn newest_leader_is_complete(&self, node: usize) {
        let status = self.status(node);
        if status.role == RoleName::Leading && status.meta.leader_epoch.0 == self.row.epoch {
            let log = &self.nodes[node].disk.log;
            assert_eq!(self.holds_what_was_seen(log), Ok(()), "1: node {node}");
            assert!(log.end.get() >= self.truth.acked_end, "1: node {node}");
            let known = status.high_watermark.get() >= self.truth.acked_end;
            assert!(
                known || !status.is_latest_known,
                "H3: it says that it knows, and does not"
            );
        }
    }

    /// 4: a batch of one offset and epoch is the same everywhere.
    fn logs_match(&self) {
        let mut batches = BTreeMap::new();
        for node in &self.nodes {
            for batch in &node.disk.log.batches {
                let at = (
                    batch.placement.base_offset,
                    batch.placement.leader_epoch,
                    batch.client.span() > 0,
                );
                let first = *batches.entry(at).or_insert(batch);
                assert!(first == batch, "4: two batches at {at:?}");
            }
        }
    }
}
