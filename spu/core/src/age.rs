//! How long what stands in a log has been there, by the replica's own monotonic clock.
//!
//! Append times are of whoever led then, by a wall clock that may be set or be wrong: nothing is forgotten by
//! them. Noted now and then is where the log ended; what begins before that has been there since. Invariant: an
//! age is never too high: whatever stands in a log came there before its mark.

use std::collections::VecDeque;

use tidegate_proto::position::Offset;

use crate::limits::{AGE_KNOWN_MS_MAX, AGE_MARK_EVERY_MS};

/// Where the log ended at some moments; the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ages {
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mark {
    at_ms: u64,
    end: Offset,
}

impl Ages {
    /// From now on everything counts as new, unless this was begun before: what a mark says of this log is so
    /// whoever leads. Whether it was not.
    pub(crate) fn begin(&mut self, now_ms: u64, end: Offset) -> bool {
        let is_first = self.marks.is_empty();
        if is_first {
            self.marks.push_back(Mark { at_ms: now_ms, end });
        }
        is_first
    }

    /// Notes where the log ends now, unless that was noted a moment ago.
    pub(crate) fn note(&mut self, now_ms: u64, end: Offset) {
        let is_new = self.marks.back().is_none_or(|last| {
            last.end < end && now_ms.saturating_sub(last.at_ms) >= AGE_MARK_EVERY_MS
        });
        if is_new {
            self.marks.push_back(Mark { at_ms: now_ms, end });
        }
        // Of those that are older than anybody asks for, the last tells all.
        let is_old = |mark: &Mark| now_ms.saturating_sub(mark.at_ms) > AGE_KNOWN_MS_MAX;
        while self.marks.get(1).is_some_and(is_old) {
            self.marks.pop_front();
        }
    }

    /// What stood there is gone: what comes in its place is new.
    pub(crate) fn cut(&mut self, to: Offset) {
        for mark in &mut self.marks {
            mark.end = mark.end.min(to);
        }
    }

    /// Everything that ends at or below this has been in the log for longer than `window_ms`.
    pub(crate) fn older_than(&self, window_ms: u64, now_ms: u64) -> Offset {
        let is_older = |mark: &&Mark| now_ms.saturating_sub(mark.at_ms) > window_ms;
        let newest = self.marks.iter().take_while(is_older).last();
        newest.map_or(Offset::ZERO, |mark| mark.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    #[test]
    fn what_was_there_at_the_beginning_is_old_when_the_window_has_passed_since() {
        let mut ages = Ages::default();
        assert_eq!(ages.older_than(0, 1 << 40), Offset::ZERO);
        ages.begin(1_000, at(7));
        assert_eq!(ages.older_than(500, 1_500), at(0));
        assert_eq!(ages.older_than(500, 1_501), at(7));
    }

    #[test]
    fn an_age_is_at_most_a_mark_too_low_and_never_too_high() {
        let mut ages = Ages::default();
        ages.begin(0, at(0));
        for second in 1..=3_600_u64 {
            let now_ms = second * 1_000;
            ages.note(now_ms, at(second));
            let window_ms = AGE_KNOWN_MS_MAX / 2;
            let old = ages.older_than(window_ms, now_ms).get();
            // One record a second: by its offset one knows when it came.
            assert!(old == 0 || now_ms - old * 1_000 > window_ms);
            let late_ms = window_ms + AGE_MARK_EVERY_MS + 1_000;
            assert!(now_ms < late_ms || now_ms - old * 1_000 <= late_ms);
            let most = (AGE_KNOWN_MS_MAX / AGE_MARK_EVERY_MS + 2) as usize;
            assert!(ages.marks.len() <= most, "{}", ages.marks.len());
        }
    }

    #[test]
    fn what_comes_in_the_place_of_what_was_cut_is_new() {
        let mut ages = Ages::default();
        ages.begin(0, at(10));
        ages.cut(at(4));
        assert_eq!(ages.older_than(5, 100), at(4));
    }
}
