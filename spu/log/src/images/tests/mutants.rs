//! The images can fail: each rule that a crash needs is taken away, and they find it out.

use std::path::Path;

use tidegate_proto::position::Offset;

use crate::guard::{Guard, without};
use crate::images::{Effort, Moment, Recording, Script, UnitReport, find_workload, run_unit, tiny};
use crate::testing::trace::{Op, TraceVfs};

const EFFORT: Effort = Effort {
    per_moment: 30,
    random: 4,
    second_crash_every: 0,
    per_second_moment: 0,
};

const SEED: u64 = 2;

fn is_caught(what: &str, report: &UnitReport) {
    assert!(
        report.failed > 0,
        "{what}: {} images and none fails",
        report.distinct()
    );
}

/// Runs a workload on a disk that ignores syncs of those paths.
fn lies(workload: &str, about: fn(&Path) -> bool) {
    let workload = find_workload(workload).unwrap();
    let honest = run_unit(&workload.record(SEED), SEED, &EFFORT);
    assert_eq!(honest.failed, 0, "{:?}", honest.failures);
    let vfs = TraceVfs::new();
    vfs.ignore_syncs_of(about);
    is_caught(
        workload.name,
        &run_unit(&workload.record_on(vfs, SEED), SEED, &EFFORT),
    );
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.to_string_lossy().ends_with(suffix)
}

#[test]
fn an_acknowledgement_without_a_sync_of_its_round_is_caught() {
    lies("append", |path| path.starts_with("/data/journal/"));
}

#[test]
fn a_journal_file_whose_name_is_not_synced_is_caught() {
    lies("recycle", |path| path == Path::new("/data/journal"));
}

#[test]
fn a_checkpoint_whose_name_is_not_synced_before_its_journal_is_used_again_is_caught() {
    lies("recycle", |path| path == Path::new("/data"));
}

#[test]
fn a_checkpoint_that_is_renamed_before_its_bytes_are_synced_is_caught() {
    lies("checkpoint", |path| has_suffix(path, "replicas.ckpt.new"));
}

#[test]
fn j3_a_checkpoint_over_segments_that_are_not_synced_is_caught() {
    lies("recycle", |path| has_suffix(path, ".log"));
}

#[test]
fn a_checkpoint_over_segments_whose_names_are_not_synced_is_caught() {
    lies("recycle", |path| path.starts_with("/data/replicas/"));
}

#[test]
fn j1_a_round_that_does_not_say_that_those_before_it_are_not_synced_is_caught() {
    let workload = find_workload("deferred").unwrap();
    let honest = run_unit(&workload.record(SEED), SEED, &EFFORT);
    assert_eq!(honest.failed, 0, "{:?}", honest.failures);
    let recording = without(Guard::NameSynced, || workload.record(SEED));
    is_caught("deferred", &run_unit(&recording, SEED, &EFFORT));
}

/// One exchange, and a cut within the hole that it leaves.
fn exchange(vfs: TraceVfs) -> Recording {
    let mut script = Script::new(vfs, tiny(SEED), SEED);
    script.create(0, 1);
    for round in 0..3 {
        script.append_keyed(0, &[(Some(1), true)], 600 + round);
    }
    script.roll(0);
    script.commit_all(0);
    script.compact(0, 9);
    script.cut_to(0, Offset::new(1));
    script.settle();
    script.checkpoint();
    script.finish()
}

/// The same on a disk that ignores syncs of those paths.
fn exchange_lies(about: fn(&Path) -> bool) {
    let few = Effort {
        per_moment: 10,
        ..EFFORT
    };
    let honest = run_unit(&exchange(TraceVfs::new()), SEED, &few);
    assert_eq!(honest.failed, 0, "{:?}", honest.failures);
    let vfs = TraceVfs::new();
    vfs.ignore_syncs_of(about);
    is_caught("an exchange", &run_unit(&exchange(vfs), SEED, &few));
}

#[test]
fn a_compacted_segment_that_is_not_synced_before_it_takes_others_places_is_caught() {
    exchange_lies(|path| has_suffix(path, ".log.compact"));
}

#[test]
fn an_exchange_whose_announcement_is_not_synced_is_caught() {
    exchange_lies(|path| has_suffix(path, "/compaction.new"));
}

#[test]
fn j2_a_cut_that_leaves_earlier_entries_is_caught() {
    let recording = find_workload("cut").unwrap().record(SEED);
    let mutant = || run_unit(&recording, SEED, &EFFORT);
    is_caught("cut", &without(Guard::CutDeletesEarlier, mutant));
}

#[test]
fn j3_a_journal_file_that_is_used_again_before_a_checkpoint_covers_it_is_caught() {
    let workload = find_workload("recycle").unwrap();
    let recording = without(Guard::RecycleCoveredOnly, || workload.record(SEED));
    is_caught("recycle", &run_unit(&recording, SEED, &EFFORT));
}

#[test]
fn j4_segments_that_are_written_before_their_round_are_caught() {
    let mut recording = find_workload("roll").unwrap().record(SEED);
    assert!(delay_rounds(&mut recording) > 2);
    is_caught("roll", &run_unit(&recording, SEED, &EFFORT));
}

/// Puts every round after the segment writes that follow it: what a log does that does not wait.
fn delay_rounds(recording: &mut Recording) -> usize {
    let is_round = |op: &Op| matches!(op, Op::Write(_, _, data) if data.starts_with(b"TGJR"));
    let is_batch = |op: &Op| matches!(op, Op::Write(_, _, data) if data.starts_with(b"TGB1"));
    let trace = &mut recording.trace;
    let mut delayed = 0;
    let mut at = 0;
    while at + 2 < trace.len() {
        let synced = at + 2;
        let rest = &trace[synced..];
        let until = synced + rest.iter().position(is_round).unwrap_or(rest.len());
        if is_round(&trace[at]) && trace[synced..until].iter().any(is_batch) {
            trace[at..until].rotate_left(2);
            for (known, moment) in &mut recording.moments {
                let is_acknowledged = matches!(moment, Moment::Durable(_));
                if is_acknowledged && (synced..until).contains(known) {
                    *known = until;
                }
            }
            delayed += 1;
        }
        at = until.max(at + 1);
    }
    delayed
}
