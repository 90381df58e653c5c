//! The reads of a subscription: how many are under way, what came of each, and when the next one may begin.
//!
//! Invariant: only reads under way count for how far ahead a socket is; a partition that rests takes no room
//! from the others.

use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;

use super::Subscription;
use crate::encode::frame::Frame;
use crate::partitions::Tail;
use crate::ws::limits::CHUNK_BYTES;

impl Subscription {
    /// A read came back with frames, the first one at or after the asked offset. Whether it brought
    /// nothing although there should be more; then the partition rests.
    pub(crate) fn read_done(
        &mut self,
        partition: PartitionId,
        frames: Vec<Frame>,
        next: Offset,
        tail: Tail,
    ) -> bool {
        let Some(part) = self.parts.get_mut(&partition) else {
            return false;
        };
        assert!(part.reading, "a read that was not asked for");
        let mut end = part
            .pending
            .back()
            .map_or(part.next, |frame| frame.next_offset);
        for frame in &frames {
            assert!(frame.first_offset >= end, "frames overlap");
            end = frame.next_offset;
        }
        assert!(next >= end, "a read ends before its last frame");
        let is_at_rest = next == part.read_from;
        part.read_from = next;
        self.pending_bytes += frames.iter().map(Frame::bytes).sum::<usize>();
        part.pending.extend(frames);
        part.note_tail(tail);
        // What was read of an earlier epoch says nothing of the place in this one.
        part.is_unsure &= tail.leader_epoch < part.tail.leader_epoch;
        let is_stuck = is_at_rest && (next < part.tail.high_watermark || part.is_unsure);
        part.settle();
        self.end_read(partition);
        if is_stuck {
            self.rest(partition);
        }
        is_stuck
    }

    /// What a read brought was not taken; it may be asked for again at once.
    pub(crate) fn read_may_retry(&mut self, partition: PartitionId) {
        self.end_read(partition);
    }

    /// A read failed for now: the partition is left alone, whatever its tail does, until
    /// [`Subscription::has_rested`]. Others read meanwhile in its place.
    pub(crate) fn rest(&mut self, partition: PartitionId) {
        self.end_read(partition);
        if let Some(part) = self.parts.get_mut(&partition) {
            part.resting = true;
        }
    }

    /// The partition may be read again.
    pub(crate) fn has_rested(&mut self, partition: PartitionId) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.resting = false;
        }
    }

    /// A read is over, whatever it brought.
    pub(super) fn end_read(&mut self, partition: PartitionId) {
        if let Some(part) = self.parts.get_mut(&partition)
            && part.reading
        {
            part.reading = false;
            part.stale = false;
            self.reads -= 1;
        }
    }

    /// Whether what the read under way brings is not wanted any more.
    pub(crate) fn is_stale(&self, partition: PartitionId) -> bool {
        self.parts.get(&partition).is_some_and(|part| part.stale)
    }

    /// What it may hold: frames that were read, and reads under way.
    pub(crate) fn ahead_bytes(&self) -> usize {
        self.pending_bytes + self.reads * CHUNK_BYTES
    }

    /// The partition leaves the line of those who wait to read.
    pub(crate) fn may_read_now(&mut self, partition: PartitionId) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.is_waiting = false;
        }
    }
}
