//! Every operation of a pass meets a full disk in turn, once or for long: the pass is given up, the log
//! lives, nobody reads anything else, and when there is room again a pass gets as far as ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Ears, create, dir, files_named, key, open, settle, small, submit};
use super::{CONFIG, append_pairs, commit, compact, contents, roll, segment_count};
use crate::layout;
use crate::limits::COMPACTION_RETRY_MS;
use crate::testing::{Dice, FaultyVfs, MemVfs, Step, Trouble};
use crate::{Entry, Log, LogConfig, Replica};

const NOW_MS: i64 = 3_000_000;

struct Run {
    disk: MemVfs,
    vfs: FaultyVfs,
    log: Log,
    replica: Arc<Replica>,
}

impl Run {
    /// A replica that a pass makes one segment of several from, twice.
    fn new() -> Self {
        let disk = MemVfs::new();
        let vfs = FaultyVfs::new(Arc::new(disk.clone()));
        let ears = Arc::new(Ears::default());
        // All keys in one pass.
        let compaction_map_bytes = 400 * 24;
        let config = LogConfig {
            compaction_map_bytes,
            ..small()
        };
        let log = Log::open(Arc::new(vfs.clone()), &dir(), config, ears);
        let log = log.unwrap().log;
        let replica = create(&log, 0);
        replica.set_compaction(Some(CONFIG));
        for round in 0..200_u16 {
            let key = u8::try_from(round % 40).unwrap();
            let other = 100 + u8::try_from(round % 70).unwrap();
            append_pairs(
                &log,
                &replica,
                &[(Some(key), Some(round)), (Some(other), Some(round))],
                5,
            );
        }
        roll(&log, &replica, &[(Some(99), Some(1))], 6);
        Self {
            disk,
            vfs,
            log,
            replica,
        }
    }

    /// Nothing is on the disk but what the log counts as its own.
    fn check_files(&self, what: &str) {
        let segments = self.replica.segments().into_iter();
        let names =
            segments.flat_map(|info| [layout::segment(info.base), layout::index(info.base)]);
        let others = [layout::COMPACTION, layout::SNAPSHOT].map(str::to_owned);
        let mut expected: Vec<String> = names.chain(others).collect();
        expected.sort();
        let files = files_named(&self.disk, "/replicas/").into_iter();
        let names = files.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        let mut found: Vec<String> = names.collect();
        found.sort();
        assert_eq!(found, expected, "{what}");
    }
}

/// Of each key the newest value.
fn newest(replica: &Replica) -> BTreeMap<Option<u64>, Option<u64>> {
    let all = contents(replica).into_iter();
    all.map(|(_, key, value)| (key, value)).collect()
}

/// How often a pass without trouble does each thing, and the segments it leaves.
fn untroubled() -> (BTreeMap<Step, u64>, usize) {
    let run = Run::new();
    let before = Step::ALL.map(|step| run.vfs.count(step));
    let segments = segment_count(&run.disk);
    compact(&run.log, NOW_MS);
    run.check_files("no trouble");
    assert_eq!(run.log.stats().compaction.passes, 1);
    let left = segment_count(&run.disk);
    assert!(left + 2 < segments, "{left} of {segments}");
    let counts = Step::ALL.into_iter().zip(before);
    let counts = counts.map(|(step, before)| (step, run.vfs.count(step) - before));
    (counts.collect(), left)
}

fn image_is_whole(image: &MemVfs, expected: &BTreeMap<Option<u64>, Option<u64>>, what: &str) {
    let opened = open(image);
    assert!(opened.replicas[0].intact, "{what}");
    assert!(files_named(image, "/quarantine/").is_empty(), "{what}");
    let replica = opened.log.replica(key(0)).unwrap();
    assert_eq!(newest(&replica), *expected, "{what}");
}

const CHANGES: [Step; 7] = [
    Step::Write,
    Step::SetLen,
    Step::Sync,
    Step::Close,
    Step::Create,
    Step::Rename,
    Step::Remove,
];

#[test]
fn a_pass_that_meets_a_full_disk_is_given_up_and_done_again_when_there_is_room() {
    let (counts, in_the_end) = untroubled();
    for step in CHANGES {
        assert!(counts[&step] > 0, "a pass does {step:?}");
        for (after, lasts) in (0..counts[&step]).flat_map(|after| [(after, false), (after, true)]) {
            let what = format!("{step:?} {after} lasting {lasts}");
            let run = Run::new();
            let expected = newest(&run.replica);
            run.vfs.fail(step, after, Trouble::NoSpace, lasts);
            compact(&run.log, NOW_MS);
            assert!(run.vfs.struck(), "{what}");
            assert!(run.log.dead().is_none(), "{what}: {:?}", run.log.dead());
            assert_eq!(newest(&run.replica), expected, "{what}");
            for seed in 0..3 {
                let image = run.disk.power_lost(&mut Dice::new(seed));
                image_is_whole(&image, &expected, &what);
            }
            run.vfs.heal();
            run.log.poll_space();
            compact(&run.log, NOW_MS + COMPACTION_RETRY_MS);
            assert_eq!(newest(&run.replica), expected, "{what}");
            run.check_files(&what);
            assert_eq!(segment_count(&run.disk), in_the_end, "{what}");
            append_pairs(&run.log, &run.replica, &[(Some(99), Some(2))], 7);
            commit(&run.log, &run.replica);
            let expected = newest(&run.replica);
            image_is_whole(&run.disk.killed(), &expected, &what);
            image_is_whole(&run.disk.power_lost(&mut Dice::new(9)), &expected, &what);
        }
    }
}

#[test]
fn a_pass_that_meets_any_other_error_ends_the_log() {
    let (counts, _) = untroubled();
    for step in CHANGES {
        for after in 0..counts[&step] {
            let what = format!("{step:?} {after}");
            let run = Run::new();
            run.vfs.fail(step, after, Trouble::Broken, false);
            while run
                .log
                .run_compaction_step(NOW_MS)
                .is_ok_and(|step| !step.is_idle)
            {}
            assert!(run.vfs.struck(), "{what}");
            assert!(run.log.dead().is_some(), "{what}: it lives on");
        }
    }
}

#[test]
fn an_exchange_that_waits_for_room_may_be_trimmed_and_crashed_meanwhile() {
    let (counts, _) = untroubled();
    let mut unsettled = 0;
    for (step, after) in [Step::Rename, Step::Remove]
        .into_iter()
        .flat_map(|step| (0..counts[&step]).map(move |after| (step, after)))
    {
        let what = format!("{step:?} {after}");
        let run = Run::new();
        run.vfs.fail(step, after, Trouble::NoSpace, true);
        compact(&run.log, NOW_MS);
        run.vfs.heal();
        let names = files_named(&run.disk, "/replicas/");
        let segments = run.replica.segments();
        unsettled += u32::from(names.len() != 2 * segments.len() + 2);
        let (key, to) = (
            run.replica.key(),
            segments.last().unwrap().base.minus_or_zero(1),
        );
        submit(&run.log, vec![Entry::Trim { key, to }]);
        settle(&run.log);
        run.log.checkpoint().unwrap();
        let expected = newest(&run.replica);
        image_is_whole(&run.disk.killed(), &expected, &what);
        image_is_whole(
            &run.disk.power_lost(&mut Dice::new(after)),
            &expected,
            &what,
        );
        compact(&run.log, NOW_MS + COMPACTION_RETRY_MS);
        settle(&run.log);
        run.check_files(&what);
        image_is_whole(&run.disk.killed(), &expected, &what);
    }
    assert!(unsettled > 4, "{unsettled}");
}
