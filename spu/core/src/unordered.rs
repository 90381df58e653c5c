//! The table of unordered producers of a partition (D7).
//!
//! Their batches may come in any order and leave gaps: each has so many runs of sequence numbers that were
//! seen, with their offsets, and everything below the lowest is refused, because nobody knows any more
//! whether it was. A function of the batches in the log, as the table of the others is, but for runs that
//! went by time alone: a start finds them again, and the next batch of their producer takes them as well.
//! Sequence numbers wrap at 2^32; inside they are counted on, each taken for the one that is nearest to the
//! highest.
//! Invariant: one (producer, epoch, sequence) gets at most one offset.

use std::collections::BTreeMap;

use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::{UNORDERED_PER_PARTITION_MAX, UNORDERED_RING};
use tidegate_proto::position::Offset;

use crate::limits::UNORDERED_MEMORY_MS;
use crate::request_key::remaining_ms;

/// Where counting starts, so that there is something before it.
const START: u64 = 1 << 32;

/// Half of the circle of sequence numbers: what is behind is nearer than this.
const HALF: u64 = 1 << 31;

/// What is known of a batch before it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    /// Never seen.
    New,
    /// Seen before, at this offset.
    Seen {
        base_offset: Offset,
        timestamp_ms: i64,
    },
    /// Seen in part, or too old to know.
    Unclear { lowest: u32 },
    /// A newer epoch of this producer has written.
    Fenced { current: u16 },
    /// No room for another producer.
    Full,
}

/// Sequence numbers that were seen and whose records stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) count: u64,
    pub(crate) base_offset: Offset,
    /// When the last batch of the run was appended.
    pub(crate) timestamp_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unordered {
    pub(crate) epoch: u16,
    pub(crate) touched_ms: i64,
    /// One past the highest sequence number seen.
    pub(crate) end: u64,
    /// Below it nothing is known.
    pub(crate) floor: u64,
    /// Where the newest batch ends in the log.
    pub(crate) log_end: Offset,
    /// By the first sequence number of each.
    pub(crate) runs: BTreeMap<u64, Run>,
}

/// All unordered producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct UnorderedTable {
    producers: BTreeMap<ProducerId, Unordered>,
}

impl UnorderedTable {
    /// Looks for `count` records stamped by a producer.
    pub(crate) fn look(&self, stamp: &ProducerStamp, count: u32) -> Sight {
        let Some(producer) = self.producers.get(&stamp.id) else {
            let is_full = self.producers.len() >= UNORDERED_PER_PARTITION_MAX;
            return if is_full { Sight::Full } else { Sight::New };
        };
        if stamp.epoch < producer.epoch {
            let current = producer.epoch;
            return Sight::Fenced { current };
        }
        if stamp.epoch > producer.epoch {
            return Sight::New;
        }
        producer.look(stamp.seq, count)
    }

    /// Remembers a batch that was appended. The same for the live table and for one being rebuilt.
    pub(crate) fn observe(
        &mut self,
        stamp: &ProducerStamp,
        count: u32,
        base_offset: Offset,
        timestamp_ms: i64,
    ) {
        let fresh = || Unordered {
            epoch: stamp.epoch,
            touched_ms: timestamp_ms,
            end: START + u64::from(stamp.seq),
            floor: 0,
            log_end: base_offset,
            runs: BTreeMap::new(),
        };
        let producer = self.producers.entry(stamp.id).or_insert_with(fresh);
        if producer.epoch != stamp.epoch {
            *producer = fresh();
        }
        let run = Run {
            count: count.into(),
            base_offset,
            timestamp_ms,
        };
        producer.push(producer.place_of(stamp.seq), run);
        // A leader makes room by its clock, which whoever reads its log does not see.
        while self.producers.len() > 2 * UNORDERED_PER_PARTITION_MAX {
            let silent = self
                .producers
                .iter()
                .map(|(id, at)| (at.log_end, *id))
                .min();
            silent.and_then(|(_, id)| self.producers.remove(&id));
        }
    }

    /// Forgets what is too old of each producer: what ends in the log at or below that. Unlike
    /// [`Self::expire`] this takes nothing for new that was seen.
    pub(crate) fn expire_runs(&mut self, forgotten: Offset) {
        for producer in self.producers.values_mut() {
            producer.trim(forgotten);
        }
    }

    /// Forgets those of which nothing ends above `idle`; above `idle_when_full`, when there is no room.
    pub(crate) fn expire(&mut self, idle: Offset, idle_when_full: Offset) {
        let is_full = self.producers.len() >= UNORDERED_PER_PARTITION_MAX;
        let idle = if is_full { idle_when_full } else { idle };
        self.producers.retain(|_, producer| producer.log_end > idle);
    }

    /// How long from now on something that any of them sent can be under way, in milliseconds.
    pub(crate) fn unquiet_ms(&self, now_ms: i64) -> u64 {
        let newest = self.producers.values().map(|one| one.touched_ms).max();
        newest.map_or(0, |at_ms| remaining_ms(at_ms, UNORDERED_MEMORY_MS, now_ms))
    }

    /// Whether this producer would be a new one and there is no room for it.
    pub(crate) fn is_full_for(&self, id: ProducerId) -> bool {
        self.producers.len() >= UNORDERED_PER_PARTITION_MAX && !self.producers.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ProducerId, &Unordered)> {
        self.producers.iter()
    }

    pub(crate) fn restore(&mut self, id: ProducerId, producer: Unordered) {
        self.producers.insert(id, producer);
    }
}

impl Run {
    fn log_end(&self) -> Offset {
        self.base_offset.plus(self.count)
    }
}

impl Unordered {
    /// As it is read from a snapshot, which has no more of where it ends than the runs say.
    pub(crate) fn restored(mut self) -> Self {
        let ends = self.runs.values().map(Run::log_end);
        self.log_end = ends.max().unwrap_or_default();
        self
    }

    /// The place of a sequence number that is less than half of the circle from the highest.
    fn place_of(&self, seq: u32) -> u64 {
        let from = self.end.saturating_sub(HALF);
        // What the low halves of the two differ by, forwards.
        let ahead = u64::from(seq.wrapping_sub(low_half(from)));
        from + ahead
    }

    fn look(&self, seq: u32, count: u32) -> Sight {
        let start = self.place_of(seq);
        let end = start + u64::from(count);
        let unclear = Sight::Unclear {
            lowest: low_half(self.floor),
        };
        if start < self.floor {
            return unclear;
        }
        let Some((first, run)) = self.runs.range(..end).next_back() else {
            return Sight::New;
        };
        let run_end = first + run.count;
        if run_end <= start {
            return Sight::New;
        }
        if *first <= start && end <= run_end {
            return Sight::Seen {
                base_offset: run.base_offset.plus(start - first),
                timestamp_ms: run.timestamp_ms,
            };
        }
        unclear
    }

    fn push(&mut self, start: u64, run: Run) {
        self.touched_ms = run.timestamp_ms;
        self.end = self.end.max(start + run.count);
        self.log_end = run.log_end();
        if !self.extend(start, run) && run.count > 0 {
            self.runs.insert(start, run);
        }
        self.trim(Offset::ZERO);
    }

    /// Forgets the lowest runs while they are too old, too far behind or too many; they are not asked for again.
    fn trim(&mut self, forgotten: Offset) {
        let behind = self.end.saturating_sub(HALF / 2);
        while let Some(lowest) = self.runs.first_entry() {
            let lowest_end = lowest.key() + lowest.get().count;
            let is_known = lowest.get().log_end() > forgotten && lowest_end > behind;
            if is_known && self.runs.len() <= UNORDERED_RING {
                break;
            }
            self.runs.pop_first();
            self.floor = lowest_end;
        }
        self.floor = self.floor.max(behind);
    }

    /// Adds a run to the one that it continues in sequence and in the log, if there is such a one.
    fn extend(&mut self, start: u64, next: Run) -> bool {
        let Some((first, run)) = self.runs.range_mut(..start).next_back() else {
            return false;
        };
        let follows =
            first + run.count == start && run.base_offset.plus(run.count) == next.base_offset;
        if follows {
            run.count += next.count;
            run.timestamp_ms = next.timestamp_ms;
        }
        follows
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is sent"
)]
const fn low_half(place: u64) -> u32 {
    place as u32
}

#[cfg(test)]
mod tests;
