//! Every byte of a small log flipped, once: in parts, so that two cores share the work.

use crate::images::{Rot, RotReport};

const BYTES: usize = 64 << 10;
const SEED: u64 = 7;

/// Flips every byte of the part that has that number, of so many.
fn sweep(is_closed: bool, part: usize, parts: usize) -> RotReport {
    let rot = Rot::new(BYTES, is_closed, SEED);
    assert!(rot.len().abs_diff(BYTES) < BYTES / 8, "{} bytes", rot.len());
    let mut report = RotReport::default();
    for number in (0..rot.len()).skip(part).step_by(parts) {
        rot.flip(number, &mut report);
    }
    let first: Vec<_> = report.failures.iter().take(5).collect();
    assert!(
        first.is_empty(),
        "{} of {} flips are not found: {first:?}",
        report.failures.len(),
        report.flips
    );
    // A sweep that finds nothing has looked at nothing.
    assert!(
        report.told_at_opening > 0 && report.told_by_reads > 0,
        "{report:?}"
    );
    report
}

#[test]
fn every_flipped_byte_of_a_log_that_crashed_is_found_or_harmless_first_half() {
    sweep(false, 0, 2);
}

#[test]
fn every_flipped_byte_of_a_log_that_crashed_is_found_or_harmless_second_half() {
    sweep(false, 1, 2);
}

/// The journal is not read, segments are trusted: reads must find out.
#[test]
fn flipped_bytes_of_a_log_that_was_closed_in_order_are_found_or_harmless() {
    let report = sweep(true, 0, 5);
    assert!(report.told_by_reads > report.told_at_opening, "{report:?}");
}
