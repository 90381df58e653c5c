//! Crashes that once were not survived, each as the shortest script that led there.

use super::assert_survived;
use crate::images::{Effort, Script, run_unit, tiny};
use crate::layout;
use crate::testing::trace::{Op, TraceVfs};

const SEED: u64 = 5;

fn survives(name: &str, effort: Effort, run: impl FnOnce(&mut Script)) {
    let mut script = Script::new(TraceVfs::new(), tiny(SEED), SEED);
    script.create(0, 1);
    run(&mut script);
    let report = run_unit(&script.finish(), SEED, &effort);
    assert_survived(name, &report);
    assert!(report.distinct() > 20, "{name}: {}", report.distinct());
}

/// All images of one crash.
const ONE: Effort = Effort {
    per_moment: 200,
    random: 8,
    second_crash_every: 0,
    per_second_moment: 0,
};

/// A few images of every recovery.
const TWO: Effort = Effort {
    per_moment: 4,
    random: 2,
    second_crash_every: 1,
    per_second_moment: 6,
};

/// A file system may keep the name of a later segment and not that of the one before it.
#[test]
fn a_segment_whose_predecessor_has_no_name_yet_is_written_again() {
    survives("names", ONE, |script| {
        script.append(0, 3, 1, 1_400);
        script.settle();
    });
}

/// Recovery kept what equals the journal, and its checkpoint called it synced.
#[test]
fn what_a_killed_process_left_unsynced_lasts_before_a_checkpoint_names_it() {
    survives("kept segments", TWO, |script| {
        script.append(0, 2, 1, 500);
        script.settle();
    });
}

/// The page cache showed recovery a round that no disk had; segments written because of it outlived it.
#[test]
fn a_round_that_a_killed_process_did_not_sync_lasts_before_its_batches_go_to_segments() {
    survives("the last round", TWO, |script| {
        script.round();
        script.append(0, 1, 1, 500);
        script.round();
    });
}

/// The cut was above what the checkpoint knew, and the snapshot file was left.
#[test]
fn a_snapshot_of_batches_that_a_cut_took_is_not_served_after_a_crash() {
    survives("snapshot", ONE, |script| {
        script.append(0, 3, 1, 50);
        script.snapshot(0, 30);
        script.settle();
        script.cut(0, 1);
        script.round();
        script.append(0, 2, 1, 50);
        script.round();
    });
}

/// Only the journal held them, and it is used again after the directory went to the trash.
#[test]
fn the_trash_holds_what_the_journal_alone_had_of_a_replica_given_up() {
    survives("retired", ONE, |script| {
        script.append(0, 1, 1, 500);
        script.round();
        script.retire(0);
        script.round();
    });
}

/// Its last bytes were not synced when the directory was moved, and the journal is used again.
#[test]
fn the_trash_holds_what_was_not_synced_of_a_replica_given_up() {
    survives("retired and flushed", ONE, |script| {
        script.append(0, 2, 1, 500);
        script.settle();
        script.retire(0);
        script.settle();
        script.checkpoint();
    });
}

/// A batch without offsets stands at the end, and the walk over headers stopped before it.
#[test]
fn a_marker_at_the_end_is_among_the_headers() {
    survives("marker", ONE, |script| {
        script.append(0, 1, 1, 50);
        script.append_marker(0);
        script.settle();
        script.reopen();
    });
}

/// The identity's name was not synced when the process was killed; the next one's checkpoint was.
#[test]
fn what_a_killed_format_left_is_synced_before_a_checkpoint_is() {
    survives("format", TWO, |script| script.round());
}

/// Kills the process after the first operation of that kind, and crashes its successor's recovery, all
/// images of each moment.
fn survives_killed_after(name: &str, script: Script, is_it: impl Fn(&Op) -> bool) {
    let mut recording = script.finish();
    let last = recording.trace.iter().position(is_it).unwrap() + 1;
    recording.trace.truncate(last);
    recording.moments.retain(|(at, _)| *at <= last);
    let effort = Effort {
        per_moment: 2,
        random: 2,
        second_crash_every: last,
        per_second_moment: 400,
    };
    let report = run_unit(&recording, SEED, &effort);
    assert_survived(name, &report);
    assert!(report.distinct() > 100, "{name}: {}", report.distinct());
}

/// It had announced an exchange; its successor carried that out before the announcement lasted.
#[test]
fn an_exchange_that_a_killed_process_announced_lasts_before_it_is_carried_out() {
    let mut script = Script::new(TraceVfs::new(), tiny(SEED), SEED);
    script.create(0, 1);
    for round in 0..3 {
        script.append_keyed(0, &[(Some(1), true)], 600 + round);
    }
    script.roll(0);
    script.commit_all(0);
    script.compact(0, 1);
    let is_announced =
        |op: &Op| matches!(op, Op::Rename(_, (_, name), _) if &**name == layout::COMPACTION);
    survives_killed_after("announcement", script, is_announced);
}

/// The segment ended where the cut was, its index said so, and nobody synced that it had been longer.
#[test]
fn a_segment_that_a_killed_process_cut_short_and_closed_stays_short() {
    let mut script = Script::new(TraceVfs::new(), tiny(SEED), SEED);
    script.create(0, 1);
    script.append(0, 3, 1, 300);
    script.append(0, 3, 1, 300);
    script.settle();
    script.checkpoint();
    script.tick(2_000_000);
    script.cut(0, 4);
    script.append(0, 1, 1, 100);
    script.round();
    script.checkpoint();
    let is_new = |op: &Op| matches!(op, Op::Link((_, name), _) if name.ends_with("2.index"));
    survives_killed_after("cut short", script, is_new);
}

/// The journal had a newer snapshot and the cut that took it; the older one was still on the disk.
#[test]
fn a_snapshot_that_a_newer_one_replaced_does_not_return_when_a_cut_takes_that_one() {
    survives("replaced and cut", ONE, |script| {
        script.snapshot(0, 20);
        script.round();
        script.checkpoint();
        script.append(0, 2, 1, 100);
        script.snapshot(0, 20);
        script.cut(0, 1);
        script.round();
        script.append(0, 1, 1, 100);
        script.round();
    });
}
