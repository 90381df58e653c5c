//! Where readers stopped, so that one who goes on finds the place again without a look-up.
//!
//! A hint in memory: bounded, forgotten at will, and void once segments were cut or exchanged. What
//! stands at the place is checked by whoever reads there. Invariant: a place is remembered only when
//! the batch before it ends at the offset and begins below it, so that no batch of the offset stands
//! before the place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_proto::position::Offset;

use crate::limits::READ_PLACES;

/// A place in a replica's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Base of the segment.
    pub(crate) segment: Offset,
    /// Where in its file the batch begins.
    pub(crate) position: u64,
}

/// Who may go on there: readers of that open replica at that offset, until its segments are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) replica: u64,
    pub(crate) offset: Offset,
    /// Cuts and exchanges of the replica's segments before.
    pub(crate) cut_count: u32,
}

/// The places of all replicas of a log.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Empty until the first reader stops. Each reading has one slot, and the last one keeps it.
    slots: Mutex<Vec<Option<(Reading, Place)>>>,
}

impl Places {
    pub(crate) fn find(&self, reading: Reading) -> Option<Place> {
        let slots = self.lock();
        let (known, place) = (*slots.get(slot_of(reading))?)?;
        (known == reading).then_some(place)
    }

    pub(crate) fn remember(&self, reading: Reading, place: Place) {
        let mut slots = self.lock();
        if slots.is_empty() {
            slots.resize(READ_PLACES, None);
        }
        if let Some(slot) = slots.get_mut(slot_of(reading)) {
            *slot = Some((reading, place));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<(Reading, Place)>>> {
        // Whole after every statement.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads neighbours: readers of one topic stand at like offsets of consecutive replicas.
fn slot_of(reading: Reading) -> usize {
    let mixed = (reading.replica ^ reading.offset.get().rotate_left(32))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % READ_PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(offset: u64, cut_count: u32) -> Reading {
        Reading {
            replica: 7,
            offset: Offset::new(offset),
            cut_count,
        }
    }

    #[test]
    fn a_place_is_found_again_until_segments_change() {
        let places = Places::default();
        let place = Place {
            segment: Offset::new(5),
            position: 1000,
        };
        assert_eq!(places.find(reading(10, 0)), None);
        places.remember(reading(10, 0), place);
        assert_eq!(places.find(reading(10, 0)), Some(place));
        assert_eq!(places.find(reading(11, 0)), None, "another offset");
        assert_eq!(places.find(reading(10, 1)), None, "after a cut");
    }

    #[test]
    fn a_thousand_readers_are_remembered_and_more_take_no_more_memory() {
        let places = Places::default();
        for offset in 0..10 * READ_PLACES as u64 {
            let place = Place {
                segment: Offset::ZERO,
                position: offset,
            };
            places.remember(reading(offset, 0), place);
            let found = places.find(reading(offset, 0));
            assert_eq!(found.map(|place| place.position), Some(offset));
        }
        assert_eq!(places.lock().len(), READ_PLACES);
    }
}
