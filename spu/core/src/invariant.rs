//! Invariants of a replica, as functions that panic.
//!
//! Production, property tests and simulation call the same ones. The numbers are those of the
//! replication contract. A panic here means that going on could lose or invent data.

use tidegate_proto::position::{LeaderEpoch, Offset};

/// 6: the accepted epoch never decreases.
pub fn epoch_is_monotone(accepted: LeaderEpoch, next: LeaderEpoch) {
    assert!(
        next >= accepted,
        "epoch went back from {accepted:?} to {next:?}"
    );
}

/// 6: epochs of batches never decrease along the log.
pub fn batch_epoch_is_monotone(last: Option<LeaderEpoch>, next: LeaderEpoch) {
    assert!(
        last.is_none_or(|last| next >= last),
        "batch of {next:?} behind one of {last:?}"
    );
}

/// 4: offsets are dense, so that a log is the same wherever it is.
pub fn batch_is_next(end: Offset, base: Offset) {
    assert!(
        base == end,
        "batch at {base:?} behind a log that ends at {end:?}"
    );
}

/// 7: nothing committed is cut off.
pub fn no_cut_below_high_watermark(cut: Offset, high_watermark: Offset) {
    assert!(
        cut >= high_watermark,
        "cut at {cut:?} below the high watermark {high_watermark:?}"
    );
}

/// 13: the high watermark only grows.
pub fn high_watermark_is_monotone(before: Offset, after: Offset) {
    assert!(
        after >= before,
        "high watermark went back from {before:?} to {after:?}"
    );
}

/// 13: nobody sees what this replica has not got.
pub fn high_watermark_is_visible(high_watermark: Offset, end: Offset) {
    assert!(
        high_watermark <= end,
        "high watermark {high_watermark:?} beyond the end {end:?}"
    );
}

/// The durable end never passes the end, and never goes back.
pub fn durable_end_is_within(before: Offset, durable_end: Offset, end: Offset) {
    assert!(
        before <= durable_end && durable_end <= end,
        "durable end {durable_end:?} outside {before:?}..{end:?}"
    );
}

/// What is durable is written, and what is written is there.
pub fn written_end_is_within(durable_end: Offset, written_end: Offset, end: Offset) {
    assert!(
        durable_end <= written_end && written_end <= end,
        "written end {written_end:?} outside {durable_end:?}..{end:?}"
    );
}

/// 18: retention takes only what is committed.
pub fn start_is_committed(log_start: Offset, high_watermark: Offset) {
    assert!(
        log_start <= high_watermark,
        "log start {log_start:?} beyond the high watermark {high_watermark:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_err()
    }

    #[test]
    fn each_assertion_passes_what_is_right_and_stops_what_is_not() {
        let (at, epoch) = (Offset::new, LeaderEpoch);
        epoch_is_monotone(epoch(3), epoch(3));
        assert!(fires(|| epoch_is_monotone(epoch(3), epoch(2))));
        batch_epoch_is_monotone(None, epoch(0));
        assert!(fires(|| batch_epoch_is_monotone(Some(epoch(3)), epoch(2))));
        batch_is_next(at(4), at(4));
        assert!(fires(|| batch_is_next(at(4), at(5))));
        no_cut_below_high_watermark(at(4), at(4));
        assert!(fires(|| no_cut_below_high_watermark(at(3), at(4))));
        high_watermark_is_monotone(at(4), at(4));
        assert!(fires(|| high_watermark_is_monotone(at(4), at(3))));
        high_watermark_is_visible(at(4), at(4));
        assert!(fires(|| high_watermark_is_visible(at(5), at(4))));
        durable_end_is_within(at(1), at(2), at(3));
        assert!(fires(|| durable_end_is_within(at(2), at(1), at(3))));
        assert!(fires(|| durable_end_is_within(at(1), at(4), at(3))));
        written_end_is_within(at(1), at(2), at(3));
        assert!(fires(|| written_end_is_within(at(2), at(1), at(3))));
        start_is_committed(at(4), at(4));
        assert!(fires(|| start_is_committed(at(5), at(4))));
    }
}
