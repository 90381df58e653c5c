//! Every operation of a script fails in turn, in every way: nothing acknowledged is lost, the log is
//! dead or waits for room as the rule says, reads go on, and a death lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::{Ears, append, dir, generation, key, read_all, small, submit};
use crate::testing::{Dice, FaultyVfs, MemVfs, Step, Trouble};
use crate::{
    CreateError, Entry, Log, LogConfig, LogDead, OpenError, Opened, Replica, RoundListener,
    SpaceConfig, SpaceLevel, accept_failure,
};

/// One run of the script over a disk that may fail.
struct Run {
    disk: MemVfs,
    faulty: FaultyVfs,
    ears: Arc<Ears>,
    log: Log,
    /// What was appended, by replica.
    sent: BTreeMap<ReplicaKey, Vec<Batch>>,
    /// What a cut took away, which need not have become durable.
    cut: Vec<Batch>,
    retired: Vec<ReplicaKey>,
}

fn open_on(faulty: &FaultyVfs, ears: &Arc<Ears>) -> Result<Opened, OpenError> {
    open_with_ballast(faulty, ears, 0)
}

fn open_with_ballast(
    faulty: &FaultyVfs,
    ears: &Arc<Ears>,
    bytes: u64,
) -> Result<Opened, OpenError> {
    let listener: Arc<dyn RoundListener> = Arc::clone(ears) as _;
    let space = SpaceConfig {
        ballast_bytes: Some(bytes),
        ..SpaceConfig::OFF
    };
    let config = LogConfig { space, ..small() };
    Log::open(Arc::new(faulty.clone()), &dir(), config, listener)
}

impl Run {
    fn new() -> Self {
        Self::with_ballast(0)
    }

    fn with_ballast(bytes: u64) -> Self {
        let disk = MemVfs::new();
        let faulty = FaultyVfs::new(Arc::new(disk.clone()));
        let ears = Arc::default();
        let log = open_with_ballast(&faulty, &ears, bytes).unwrap().log;
        log.poll_space();
        Self {
            disk,
            faulty,
            ears,
            log,
            sent: BTreeMap::new(),
            cut: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// Touches everything that the log does to a disk. Ends early when the log dies.
    fn script(&mut self) -> Result<(), LogDead> {
        for turn in 0..6_u32 {
            for number in 0..3 {
                let Some(replica) = self.replica(number)? else {
                    continue;
                };
                for size in [200, 1_500, 3_100] {
                    let batch = append(&self.log, &replica, 2, size, i64::from(turn));
                    self.sent.entry(replica.key()).or_default().push(batch);
                }
                self.log.run_round()?;
            }
            self.odd_jobs(turn)?;
            for _ in 0..3 {
                self.log.run_writer_step()?;
            }
            self.log.run_closing_round()?;
        }
        self.log.checkpoint().or_else(passes(&self.log))
    }

    fn odd_jobs(&mut self, turn: u32) -> Result<(), LogDead> {
        let Some(replica) = self.replica(0)? else {
            return Ok(());
        };
        let (key, end) = (replica.key(), replica.end());
        match turn {
            1 => submit(
                &self.log,
                vec![Entry::Snapshot {
                    key,
                    as_of: end,
                    bytes: Bytes::from_static(b"ledger"),
                }],
            ),
            2 => {
                let to = self.sent[&key][4].placement.base_offset;
                submit(&self.log, vec![Entry::Trim { key, to }]);
            }
            3 => {
                let gone = self.sent.get_mut(&key).and_then(Vec::pop);
                if let Some(gone) = gone {
                    let to = gone.placement.base_offset;
                    submit(&self.log, vec![Entry::Cut { key, to }]);
                    self.cut.push(gone);
                }
            }
            4 if self.log.replica(super::key(2)).is_some() => {
                self.log.retire_replica(super::key(2)).unwrap();
                self.retired.push(super::key(2));
            }
            _ => {}
        }
        self.log.run_round()?;
        if turn % 2 == 1 {
            self.log.checkpoint().or_else(passes(&self.log))?;
        }
        Ok(())
    }

    /// The replica, made when it is not there; none when there is no room for it, or it was retired.
    fn replica(&mut self, number: u32) -> Result<Option<Arc<Replica>>, LogDead> {
        if self.retired.contains(&key(number)) {
            return Ok(None);
        }
        if let Some(replica) = self.log.replica(key(number)) {
            return Ok(Some(replica));
        }
        let made = self
            .log
            .create_replica(key(number), generation(1), small().segment);
        match made {
            Ok(replica) => Ok(Some(replica)),
            Err(CreateError::NoRoom(_)) => Ok(None),
            Err(CreateError::Dead(dead)) => Err(dead),
            Err(other @ CreateError::Exists(_)) => panic!("{other}"),
        }
    }

    /// Ends of what was announced as durable.
    fn acknowledged(&self) -> BTreeMap<ReplicaKey, Offset> {
        let told = self.ears.durable.lock().unwrap();
        let all = told.iter().flat_map(|(_, _, ends)| ends.iter().copied());
        all.collect()
    }

    /// A disk after a power loss holds what was acknowledged, and says honestly whether it can be
    /// relied on.
    fn check_image(&self, image: &MemVfs, what: &str) {
        let ears: Arc<Ears> = Arc::default();
        let healthy = FaultyVfs::new(Arc::new(image.clone()));
        let mut accepted = false;
        let opened = match open_on(&healthy, &ears) {
            Err(OpenError::Failed { .. }) => {
                assert!(
                    matches!(open_on(&healthy, &ears), Err(OpenError::Failed { .. })),
                    "{what}: a restart does not mend a disk"
                );
                let failure = accept_failure(Arc::new(healthy.clone()), &dir()).unwrap();
                assert!(failure.is_some(), "{what}");
                accepted = true;
                open_on(&healthy, &ears).unwrap()
            }
            other => other.unwrap_or_else(|error| panic!("{what}: {error}")),
        };
        for (key, end) in self.acknowledged() {
            if self.retired.contains(&key) {
                continue;
            }
            let replica = opened.log.replica(key);
            let replica = replica.unwrap_or_else(|| panic!("{what}: {key} is lost"));
            // The cut's own round may have got there without an answer.
            let is_cut = |batch: &&Batch| {
                batch.placement.key == key && batch.placement.base_offset == replica.end()
            };
            let end = self.cut.iter().find(is_cut).map_or(end, |_| replica.end());
            assert!(replica.end() >= end, "{what}: {} < {end}", replica.end());
            let found = read_all(&replica);
            let start = replica.log_start();
            let is_told =
                |batch: &&Batch| batch.placement.base_offset >= start && batch.next_offset() <= end;
            // Where the cut did not become durable, what was appended after it did not either.
            let uncut = found.iter().find(|batch| self.cut.contains(batch));
            let upto = uncut.map_or(Offset::new(u64::MAX), |batch| batch.placement.base_offset);
            let counts = |batch: &&Batch| is_told(batch) && batch.placement.base_offset < upto;
            let wanted: Vec<&Batch> = self.sent[&key].iter().filter(counts).collect();
            let held: Vec<&Batch> = found.iter().filter(counts).collect();
            let offsets = |batches: &[&Batch]| -> Vec<u64> {
                let bases = batches.iter().map(|batch| batch.placement.base_offset);
                bases.map(Offset::get).collect()
            };
            assert_eq!(offsets(&held), offsets(&wanted), "{what}: {key}");
            assert!(held == wanted, "{what}: {key}: other bytes than were sent");
        }
        for facts in &opened.replicas {
            assert_eq!(facts.intact, !accepted, "{what}: {facts:?}");
        }
    }

    fn reads_go_on(&self, what: &str) {
        for replica in self.log.replicas() {
            let end = replica.end();
            let mut from = replica.log_start();
            while from < end {
                let batches = replica.read(from, end, 4_000);
                let batches = batches.unwrap_or_else(|error| panic!("{what}: {error}"));
                from = batches.last().unwrap().next_offset();
            }
        }
    }
}

/// A refusal for lack of room is none of the log's death.
fn passes(log: &Log) -> impl FnOnce(LogDead) -> Result<(), LogDead> {
    move |error| {
        if log.dead().is_some() {
            Err(error)
        } else {
            Ok(())
        }
    }
}

/// How often the script does each thing, and so how many runs a sweep takes.
fn counts() -> BTreeMap<Step, u64> {
    let mut run = Run::new();
    let before: Vec<u64> = Step::ALL.map(|step| run.faulty.count(step)).to_vec();
    run.script().unwrap();
    let counted = Step::ALL
        .into_iter()
        .zip(before)
        .map(|(step, before)| (step, run.faulty.count(step) - before));
    counted.collect()
}

/// Runs the script with one fault and gives it back after the fault was met; none if it was not.
fn run_with(step: Step, after: u64, trouble: Trouble, lasts: bool) -> Option<Run> {
    let mut run = Run::new();
    run.faulty.fail(step, after, trouble, lasts);
    let _ = run.script();
    run.faulty.struck().then_some(run)
}

#[test]
fn an_error_of_a_change_kills_the_log_and_a_restart_does_not_mend_it() {
    let counts = counts();
    let steps = [
        Step::Write,
        Step::SetLen,
        Step::Sync,
        Step::Close,
        Step::Create,
        Step::Rename,
        Step::MakeDir,
    ];
    for step in steps {
        assert!(counts[&step] > 0, "the script does {step:?}");
        for after in 0..counts[&step] {
            let trouble = [Trouble::Broken, Trouble::ReadOnly][(after % 2) as usize];
            let lasts = after % 3 == 0;
            let what = format!("{step:?} {after} {trouble:?} lasting {lasts}");
            let Some(run) = run_with(step, after, trouble, lasts) else {
                continue;
            };
            assert!(run.log.dead().is_some(), "{what}: it lives on");
            assert_eq!(run.ears.failed.lock().unwrap().len(), 1, "{what}");
            run.faulty.heal();
            run.log.poll_space();
            let before = run.acknowledged();
            assert!(run.log.run_round().is_err(), "{what}: it came back to life");
            assert!(run.log.run_writer_step().is_err(), "{what}");
            assert!(run.log.checkpoint().is_err(), "{what}");
            assert_eq!(run.acknowledged(), before, "{what}");
            run.reads_go_on(&what);
            let failed = run.disk.contents(&dir().join("failed"));
            assert!(failed.is_some(), "{what}: nobody is told after a restart");
            for seed in 0..2 {
                run.check_image(&run.disk.power_lost(&mut Dice::new(seed)), &what);
            }
        }
    }
}

#[test]
fn no_space_is_no_death_anywhere_but_in_a_sync_or_a_close() {
    let counts = counts();
    for step in [
        Step::Write,
        Step::SetLen,
        Step::Create,
        Step::Rename,
        Step::MakeDir,
        Step::Remove,
    ] {
        assert!(counts[&step] > 0, "the script does {step:?}");
        for after in 0..counts[&step] {
            let lasts = after % 2 == 0;
            let what = format!("{step:?} {after} lasting {lasts}");
            let Some(mut run) = run_with(step, after, Trouble::NoSpace, lasts) else {
                continue;
            };
            assert!(run.log.dead().is_none(), "{what}: {:?}", run.log.dead());
            run.reads_go_on(&what);
            run.check_image(&run.disk.power_lost(&mut Dice::new(after)), &what);
            if step == Step::Write && lasts {
                assert_eq!(run.log.space_level(), SpaceLevel::Full, "{what}");
            }
            run.faulty.heal();
            run.log.poll_space();
            while run.log.run_round().unwrap() {}
            run.log.poll_space();
            assert_eq!(run.log.space_level(), SpaceLevel::Plenty, "{what}");
            for number in 0..2 {
                let replica = run.replica(number).unwrap().unwrap();
                let batch = append(&run.log, &replica, 1, 100, 9);
                run.sent.entry(replica.key()).or_default().push(batch);
            }
            while run.log.run_round().unwrap() {}
            while run.log.run_writer_step().unwrap() {}
            for replica in run.log.replicas() {
                let told = run.acknowledged()[&replica.key()];
                assert_eq!(told, replica.end(), "{what}: all is acknowledged at last");
            }
            run.reads_go_on(&what);
            run.check_image(&run.disk.power_lost(&mut Dice::new(after)), &what);
            run.log.close().unwrap();
            run.check_image(&run.disk.killed(), &what);
        }
    }
}

#[test]
fn the_ballast_makes_room_for_whatever_met_none() {
    for step in [Step::Write, Step::Create, Step::Rename, Step::MakeDir] {
        for after in 0..counts()[&step] {
            let what = format!("{step:?} {after}");
            let mut run = Run::with_ballast(10_000);
            run.faulty.fail(step, after, Trouble::NoSpace, false);
            run.script().unwrap();
            if !run.faulty.struck() {
                continue;
            }
            let replicas = run.log.replicas();
            assert_eq!(replicas.len(), 2, "{what}: nothing was put off");
            for replica in replicas {
                assert_eq!(run.acknowledged()[&replica.key()], replica.end(), "{what}");
            }
            run.check_image(&run.disk.power_lost(&mut Dice::new(after)), &what);
        }
    }
}

#[test]
fn a_round_that_met_no_space_is_not_taken_for_the_one_that_went_to_the_next_file() {
    let mut run = Run::new();
    let replica = run.replica(0).unwrap().unwrap();
    // A round of 4 KiB in a file of 16, so that what comes does not fit behind it.
    for (size, times) in [(200, 1), (3_100, 4)] {
        let batches = (0..times).map(|_| append(&run.log, &replica, 1, size, 0));
        let batches: Vec<Batch> = batches.collect();
        run.sent.entry(replica.key()).or_default().extend(batches);
        if times == 1 {
            assert!(run.log.run_round().unwrap());
            // Half of an empty round is all of it but zeros, and zeros are there.
            run.faulty.fail(Step::Write, 0, Trouble::NoSpace, false);
            assert!(!run.log.run_closing_round().unwrap());
            assert!(run.faulty.struck() && run.log.dead().is_none());
        }
    }
    run.log.poll_space();
    while run.log.run_round().unwrap() {}
    assert_eq!(run.acknowledged()[&replica.key()], replica.end());
    run.check_image(&run.disk.killed(), "killed");
    for seed in 0..8 {
        let image = run.disk.power_lost(&mut Dice::new(seed));
        run.check_image(&image, &format!("seed {seed}"));
    }
}

#[test]
fn no_space_at_a_sync_is_a_death() {
    for after in (0..counts()[&Step::Sync]).step_by(3) {
        let what = format!("sync {after}");
        let Some(run) = run_with(Step::Sync, after, Trouble::NoSpace, false) else {
            continue;
        };
        assert!(run.log.dead().is_some(), "{what}");
        run.check_image(&run.disk.power_lost(&mut Dice::new(after)), &what);
    }
}

#[test]
fn no_handles_left_is_waited_out() {
    let counts = counts();
    for step in [Step::Create, Step::Open, Step::OpenDir] {
        for after in 0..counts[&step] {
            let what = format!("{step:?} {after}");
            let Some(run) = run_with(step, after, Trouble::NoHandles, false) else {
                continue;
            };
            assert!(run.log.dead().is_none(), "{what}: {:?}", run.log.dead());
            assert_eq!(run.log.space_level(), SpaceLevel::Plenty, "{what}");
            run.log.poll_space();
            while run.log.run_round().unwrap() {}
            while run.log.run_writer_step().unwrap() {}
            run.log.close().unwrap();
            run.check_image(&run.disk.killed(), &what);
        }
    }
}

#[test]
fn what_is_written_by_halves_is_written_whole_and_nothing_is_an_error() {
    let mut run = Run::new();
    run.faulty.fail(Step::Write, 0, Trouble::Short, true);
    run.script().unwrap();
    run.log.close().unwrap();
    assert!(run.faulty.struck());
    run.check_image(&run.disk.killed(), "short writes");
    let run = run_with(Step::Write, 20, Trouble::Nothing, false).unwrap();
    assert!(
        run.log.dead().is_some(),
        "a write of nothing would never end"
    );
}

#[test]
fn a_read_that_fails_is_the_readers_alone() {
    let mut run = Run::new();
    run.script().unwrap();
    let replica = run.replica(1).unwrap().unwrap();
    let whole = read_all(&replica);
    for (after, trouble) in [
        (0, Trouble::Broken),
        (1, Trouble::Broken),
        (0, Trouble::Short),
    ] {
        run.faulty
            .fail(Step::Read, after, trouble, trouble == Trouble::Short);
        let outcome = replica.read(replica.log_start(), replica.end(), 1 << 20);
        match trouble {
            Trouble::Short => assert!(outcome.is_ok(), "a short read is continued"),
            _ if run.faulty.struck() => {
                // An index that cannot be read costs time only.
                let is_io = |error| matches!(error, crate::ReadError::Io { .. });
                assert!(outcome.err().is_none_or(is_io), "it is not taken for rot");
            }
            _ => {}
        }
        run.faulty.heal();
        assert!(run.log.dead().is_none());
        assert_eq!(read_all(&replica), whole);
    }
    append(&run.log, &replica, 1, 10, 9);
    assert!(run.log.run_round().unwrap());
}
