//! The table of idempotent producers of a partition (D1-D3), with those that keep no order beside it (D7).
//!
//! It judges and remembers; the batches themselves carry all of it, so that it can be rebuilt from
//! headers. Sequence numbers count records and wrap at 2^32, so "before" and "after" are halves of
//! the circle. One (producer, epoch, sequence) gets at most one offset.

use std::collections::{BTreeMap, VecDeque};

use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::PRODUCERS_PER_PARTITION_MAX;
use tidegate_proto::position::Offset;

use crate::limits::{
    PRODUCER_IDLE_MS_MAX, PRODUCER_IDLE_MS_WHEN_FULL, PRODUCER_RANGES_MAX, PRODUCERS_EVICTED_MAX,
};
use crate::request_key::remaining_ms;
use crate::unordered::{Sight, UnorderedTable};

/// Half of the circle of sequence numbers: nearer than this is ahead, the rest is behind.
const HALF: u32 = 1 << 31;

/// What the table says about a batch before it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// The next one in line.
    New,
    /// Seen before, at this offset.
    Duplicate {
        base_offset: Offset,
        timestamp_ms: i64,
    },
    /// Something before it is missing; `known` is false when the producer itself is.
    Early { expected: u32, known: bool },
    /// Seen only in part, or so long ago that its offset is forgotten.
    Behind { expected: u32 },
    /// A newer epoch of this producer has written.
    Fenced { current: u16 },
    /// No room for another producer.
    Full,
}

/// A run of sequence numbers whose records stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeqRange {
    pub(crate) first_seq: u32,
    pub(crate) count: u32,
    pub(crate) base_offset: Offset,
    /// When the last batch of the run was appended.
    pub(crate) timestamp_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Producer {
    pub(crate) epoch: u16,
    pub(crate) next_seq: u32,
    pub(crate) touched_ms: i64,
    pub(crate) ranges: VecDeque<SeqRange>,
}

/// All producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ProducerTable {
    producers: BTreeMap<ProducerId, Producer>,
    pub(crate) unordered: UnorderedTable,
}

/// A position in a producer's sequence that a request in the making has reached already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reached {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u16,
    pub(crate) next_seq: u32,
}

impl ProducerTable {
    /// Judges `count` records stamped by a producer; `reached` is what earlier batches of the same
    /// request will have written by then.
    pub(crate) fn judge(&self, stamp: &ProducerStamp, count: u32, reached: &[Reached]) -> Verdict {
        let pending = reached.iter().rev().find(|at| at.id == stamp.id);
        if stamp.unordered {
            // Inside a request there is an order, or two batches of it could say the same.
            let expected = pending.map_or(stamp.seq, |at| at.next_seq);
            let is_ahead = stamp.seq.wrapping_sub(expected) < HALF;
            return if is_ahead {
                self.unordered.look(stamp, count).into()
            } else {
                Verdict::Behind { expected }
            };
        }
        let known = self.producers.get(&stamp.id);
        let (epoch, next_seq) = match (pending, known) {
            (Some(at), _) => (at.epoch, at.next_seq),
            (None, Some(producer)) => (producer.epoch, producer.next_seq),
            (None, None) if stamp.seq != 0 => {
                return Verdict::Early {
                    expected: 0,
                    known: false,
                };
            }
            (None, None) if self.producers.len() >= PRODUCERS_PER_PARTITION_MAX => {
                return Verdict::Full;
            }
            (None, None) => return Verdict::New,
        };
        if stamp.epoch < epoch {
            return Verdict::Fenced { current: epoch };
        }
        if stamp.epoch > epoch {
            let first = stamp.seq == 0;
            return if first {
                Verdict::New
            } else {
                Verdict::Early {
                    expected: 0,
                    known: true,
                }
            };
        }
        if stamp.seq == next_seq {
            return Verdict::New;
        }
        if stamp.seq.wrapping_sub(next_seq) < HALF {
            return Verdict::Early {
                expected: next_seq,
                known: true,
            };
        }
        let seen = known.and_then(|producer| producer.find(stamp.seq, count));
        seen.unwrap_or(Verdict::Behind { expected: next_seq })
    }

    /// Remembers a batch that was appended. The same for the live table and for one being rebuilt.
    pub(crate) fn observe(
        &mut self,
        stamp: &ProducerStamp,
        count: u32,
        base_offset: Offset,
        timestamp_ms: i64,
    ) {
        if stamp.unordered {
            let unordered = &mut self.unordered;
            return unordered.observe(stamp, count, base_offset, timestamp_ms);
        }
        let fresh = || Producer {
            epoch: stamp.epoch,
            next_seq: stamp.seq,
            touched_ms: timestamp_ms,
            ranges: VecDeque::new(),
        };
        let producer = self.producers.entry(stamp.id).or_insert_with(fresh);
        if producer.epoch != stamp.epoch {
            *producer = fresh();
        }
        producer.push(SeqRange {
            first_seq: stamp.seq,
            count,
            base_offset,
            timestamp_ms,
        });
        // A leader makes room by its clock before it takes a newcomer, and so never gets here; whoever reads
        // its log knows nothing of that. What a leader forgot are those that were silent longest.
        if self.producers.len() > PRODUCERS_PER_PARTITION_MAX + PRODUCERS_EVICTED_MAX {
            self.forget_silent(Offset::new(u64::MAX), PRODUCERS_EVICTED_MAX);
        }
    }

    /// Forgets producers that have been silent for too long, and, when the table is full, those that
    /// have been silent longest, if that is long enough to be safe. `now_ms` is a wall clock, which alone
    /// makes nobody silent: nothing of whoever goes ends above `idle`, or `idle_when_full`.
    pub(crate) fn expire(&mut self, now_ms: i64, idle: Offset, idle_when_full: Offset) {
        self.unordered.expire(idle, idle_when_full);
        let is_idle = |one: &Producer| one.idle(now_ms, PRODUCER_IDLE_MS_MAX);
        self.producers
            .retain(|_, producer| producer.log_end() > idle || !is_idle(producer));
        if self.producers.len() < PRODUCERS_PER_PARTITION_MAX {
            return;
        }
        self.forget_silent(idle_when_full, PRODUCERS_EVICTED_MAX);
    }

    /// Forgets so many of those of whom nothing ends above that, the longest silent first.
    fn forget_silent(&mut self, before: Offset, count: usize) {
        let silent = |(id, at): (&ProducerId, &Producer)| {
            let log_end = at.log_end();
            (log_end <= before).then_some((log_end, *id))
        };
        let mut silent: Vec<_> = self.producers.iter().filter_map(silent).collect();
        silent.sort_unstable();
        for (_, id) in silent.into_iter().take(count) {
            self.producers.remove(&id);
        }
    }

    /// How long from now on something that a producer sent can be under way, and so come again, in
    /// milliseconds.
    pub(crate) fn unquiet_ms(&self, now_ms: i64) -> u64 {
        let limit_ms = PRODUCER_IDLE_MS_WHEN_FULL;
        let newest = self.producers.values().map(|one| one.touched_ms).max();
        let ordered = newest.map_or(0, |at_ms| remaining_ms(at_ms, limit_ms, now_ms));
        ordered.max(self.unordered.unquiet_ms(now_ms))
    }

    /// Whether this producer would be a new one and there is no room for it.
    pub(crate) fn is_full_for(&self, stamp: ProducerStamp) -> bool {
        let id = stamp.id;
        if stamp.unordered {
            return self.unordered.is_full_for(id);
        }
        self.producers.len() >= PRODUCERS_PER_PARTITION_MAX && !self.producers.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ProducerId, &Producer)> {
        self.producers.iter()
    }

    pub(crate) fn restore(&mut self, id: ProducerId, producer: Producer) {
        self.producers.insert(id, producer);
    }
}

impl From<Sight> for Verdict {
    fn from(sight: Sight) -> Self {
        match sight {
            Sight::New => Self::New,
            Sight::Seen {
                base_offset,
                timestamp_ms,
            } => Self::Duplicate {
                base_offset,
                timestamp_ms,
            },
            Sight::Unclear { lowest } => Self::Behind { expected: lowest },
            Sight::Fenced { current } => Self::Fenced { current },
            Sight::Full => Self::Full,
        }
    }
}

impl Producer {
    /// Where its newest batch ends in the log.
    fn log_end(&self) -> Offset {
        let newest = self.ranges.back();
        newest.map_or(Offset::ZERO, |range| {
            range.base_offset.plus(u64::from(range.count))
        })
    }

    fn idle(&self, now_ms: i64, limit_ms: i64) -> bool {
        now_ms.saturating_sub(self.touched_ms) > limit_ms
    }

    fn find(&self, seq: u32, count: u32) -> Option<Verdict> {
        let inside = |range: &&SeqRange| {
            let skipped = seq.wrapping_sub(range.first_seq);
            skipped < range.count && count <= range.count - skipped
        };
        let range = self.ranges.iter().rev().find(inside)?;
        let skipped = seq.wrapping_sub(range.first_seq);
        let base_offset = range.base_offset.plus(u64::from(skipped));
        Some(Verdict::Duplicate {
            base_offset,
            timestamp_ms: range.timestamp_ms,
        })
    }

    fn push(&mut self, range: SeqRange) {
        self.next_seq = range.first_seq.wrapping_add(range.count);
        self.touched_ms = range.timestamp_ms;
        let merged = self
            .ranges
            .back_mut()
            .is_some_and(|last| last.extend(&range));
        if !merged && range.count > 0 {
            self.ranges.push_back(range);
            if self.ranges.len() > PRODUCER_RANGES_MAX {
                self.ranges.pop_front();
            }
        }
    }
}

impl SeqRange {
    /// Takes the next run in, when it continues this one in sequence and in the log.
    fn extend(&mut self, next: &SeqRange) -> bool {
        let in_sequence = self.first_seq.wrapping_add(self.count) == next.first_seq;
        let side_by_side = self.base_offset.plus(u64::from(self.count)) == next.base_offset;
        // Longer runs would reach round the circle and make "behind" ambiguous.
        let longer = self
            .count
            .checked_add(next.count)
            .filter(|count| *count < HALF);
        match longer {
            Some(count) if in_sequence && side_by_side => {
                self.count = count;
                self.timestamp_ms = next.timestamp_ms;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
