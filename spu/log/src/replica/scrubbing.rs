//! What the scrubber asks of a replica, and what it says to it.

use tidegate_proto::position::Offset;

use super::Replica;
use crate::damage::FileDamage;
use crate::segment::SegmentInfo;

/// A segment as it stood at one moment, for a check that goes on while the replica is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) info: SegmentInfo,
    /// Where its last batch ends.
    pub(crate) end: Offset,
    pub(crate) is_closed: bool,
    cut_count: u32,
}

impl Replica {
    /// The first segment on disk whose base is `from` or above, and below `to`.
    pub(crate) fn sight(&self, from: Offset, to: Offset) -> Option<Sight> {
        let state = self.lock();
        let view = &state.view;
        let number = view.closed.partition_point(|segment| segment.base < from);
        let active = view.active.filter(|active| active.base >= from);
        let (info, next, is_closed) = match view.closed.get(number) {
            Some(info) => {
                let next = view.closed.get(number + 1).copied().or(view.active);
                (*info, next, true)
            }
            None => (active?, None, false),
        };
        (info.base < to).then_some(Sight {
            info,
            end: next.map_or(view.disk_end, |next| next.base),
            is_closed,
            cut_count: state.cut_count,
        })
    }

    /// True when what was seen still stands: nothing of it was cut, exchanged or given up.
    pub(crate) fn still_holds(&self, sight: &Sight) -> bool {
        if self.is_outdated(sight.cut_count, true) {
            return false;
        }
        let state = self.lock();
        let view = &state.view;
        let mut segments = view.closed.iter().chain(view.active.as_ref());
        state.cut_count == sight.cut_count
            && segments
                .any(|segment| segment.base == sight.info.base && segment.len >= sight.info.len)
    }

    /// True when something was cut or exchanged since. With the locks held that keep it from happening.
    pub(crate) fn is_changed_since(&self, sight: &Sight) -> bool {
        self.lock().cut_count != sight.cut_count
    }

    /// Bytes of segments below an offset, roughly: by whole segments.
    pub(crate) fn base_at_byte(&self, mut bytes: u64) -> Offset {
        let state = self.lock();
        for segment in state.view.closed.iter() {
            if bytes < segment.len {
                return segment.base;
            }
            bytes -= segment.len;
        }
        state
            .view
            .active
            .map_or(state.view.disk_end, |active| active.base)
    }

    /// The first damage to its files that was met, now or before the log was opened, where that is known.
    /// What of it is given up by now needs no word.
    #[must_use]
    pub fn damage(&self) -> Option<FileDamage> {
        let log_start = self.log_start();
        let known = self.home.pool.damages().of(self.home.number)?;
        (known.until > log_start || known.until == known.from).then_some(known)
    }

    /// Takes note of damage.
    pub(crate) fn note_damage(&self, damage: FileDamage) {
        self.home.pool.damages().note(self.home.number, damage);
    }
}
