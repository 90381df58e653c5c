//! Files of one of two replicas that cannot be read, or rot in front of a cut: the other replica keeps
//! every promise, and this one answers no wrong byte, keeps what was acknowledged above the damage, and
//! says for good what is damaged.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{Ears, append, create, dir, files_named, generation, inspecting, key, small, submit};
use crate::inspect::Finding;
use crate::layout;
use crate::testing::{Dice, FaultyVfs, MemVfs, Step, Trouble};
use crate::{
    Entry, FileDamage, Log, LogDead, OpenError, Opened, Replica, RoundListener, accept_failure,
};

/// The replica whose files fail, and the other.
const BAD: u32 = 0;
const GOOD: u32 = 1;
const BOTH: [u32; 2] = [BAD, GOOD];

/// What fails when a stored file is read.
const READS: [Step; 2] = [Step::Read, Step::Open];

struct World {
    disk: MemVfs,
    faulty: FaultyVfs,
    ears: Arc<Ears>,
    log: Log,
    /// What each replica holds, by what was submitted.
    held: [Vec<Batch>; 2],
    /// So many batches of the bad replica at most are lost.
    rotten: usize,
}

fn open_on(faulty: &FaultyVfs, ears: &Arc<Ears>) -> Result<Opened, OpenError> {
    let listener: Arc<dyn RoundListener> = Arc::clone(ears) as _;
    Log::open(Arc::new(faulty.clone()), &dir(), small(), listener)
}

fn bad_dir() -> String {
    layout::replica_dir(key(BAD), generation(1))
}

impl World {
    /// Segments of both, in a checkpoint; the last one of each is open.
    fn new() -> Self {
        let disk = MemVfs::new();
        let faulty = FaultyVfs::new(Arc::new(disk.clone()));
        let ears = Arc::default();
        let log = open_on(&faulty, &ears).unwrap().log;
        let mut world = Self {
            disk,
            faulty,
            ears,
            log,
            held: Default::default(),
            rotten: usize::MAX,
        };
        for number in BOTH {
            create(&world.log, number);
        }
        for turn in 0..19 {
            world.write(turn);
        }
        world.work().unwrap();
        world.log.checkpoint().unwrap();
        world
    }

    fn replica(&self, number: u32) -> Arc<Replica> {
        self.log.replica(key(number)).unwrap()
    }

    fn write(&mut self, turn: i64) {
        for number in BOTH {
            let replica = self.replica(number);
            for size in [300, 1_700] {
                let batch = append(&self.log, &replica, 2, size, turn);
                self.held[number as usize].push(batch);
            }
        }
    }

    fn work(&self) -> Result<(), LogDead> {
        while self.log.run_round()? {}
        while self.log.run_writer_step()? {}
        Ok(())
    }

    /// Cuts both replicas' last batches away.
    fn cut(&mut self, batches: usize) {
        for number in BOTH {
            let held = &mut self.held[number as usize];
            let gone = held.split_off(held.len() - batches);
            let (key, to) = (key(number), gone[0].placement.base_offset);
            submit(&self.log, vec![Entry::Cut { key, to }]);
        }
    }

    /// Cuts in the open segment and below it, with appends between; more than the journal holds.
    fn script(&mut self) -> Result<(), LogDead> {
        for (turn, batches) in [(100, 3), (200, 0), (300, 20), (400, 1)] {
            if batches > 0 {
                self.cut(batches);
            }
            self.log.run_round()?;
            for number in 0..8 {
                self.write(turn + number);
                self.log.run_round()?;
            }
            self.work()?;
            self.log.checkpoint()?;
        }
        Ok(())
    }

    /// The end that was acknowledged last.
    fn told(&self, number: u32) -> Option<Offset> {
        let told = self.ears.durable.lock().unwrap();
        let all = told.iter().flat_map(|(_, _, ends)| ends.iter());
        let ends = all.filter(|(told, _)| *told == key(number));
        ends.map(|(_, end)| *end).next_back()
    }

    /// How much of the bad replica cannot be read.
    fn check(&self, what: &str) -> usize {
        let good = self.replica(GOOD);
        assert_eq!(lost(&good, &self.held[GOOD as usize], what), 0, "{what}");
        assert_eq!(self.told(GOOD), Some(good.end()), "{what}");
        assert_eq!(good.damage(), None, "{what}");
        let bad = self.replica(BAD);
        assert_eq!(self.told(BAD), Some(bad.end()), "{what}");
        lost(&bad, &self.held[BAD as usize], what)
    }

    /// What the next process finds on a disk, twice: of the bad replica nothing is wrong, the other is as
    /// it was.
    fn check_image(&self, image: &MemVfs, fault: Option<Step>, what: &str) {
        let damage = self.replica(BAD).damage();
        for again in [false, true] {
            let faulty = FaultyVfs::new(Arc::new(image.clone()));
            if let Some(step) = fault {
                faulty.fail_within(&bad_dir(), step, 0, Trouble::Broken, true);
            }
            let what = format!("{what}, again {again}, fault {fault:?}");
            let opened = open_on(&faulty, &Arc::default());
            let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            for (number, facts) in BOTH.into_iter().zip(&opened.replicas) {
                assert_eq!(facts.key, key(number));
                assert!(Some(facts.end) >= self.told(number), "{what}: {facts:?}");
                let replica = opened.log.replica(key(number)).unwrap();
                let lost = lost(&replica, &self.held[number as usize], &what);
                // What nobody has met yet, nobody knows of.
                let may_be = !facts.intact || fault.is_some() || damage.is_none();
                assert!(lost == 0 || may_be, "{what}: {lost}");
                assert!(lost <= self.rotten || fault.is_some(), "{what}: {lost}");
                assert_eq!(facts.damage, replica.damage(), "{what}");
                assert!(facts.damage.is_none() || !facts.intact, "{what}");
            }
            assert!(opened.replicas[1].intact, "{what}");
            let known = &opened.replicas[0].damage;
            if damage.is_some() {
                // The note may be among what cannot be read.
                let is_kept = *known == damage || (known.is_some() && fault.is_some());
                assert!(is_kept, "{what}: {known:?}");
            }
            let appended = BOTH.map(|number| {
                let replica = opened.log.replica(key(number)).unwrap();
                append(&opened.log, &replica, 1, 100, 9)
            });
            while opened.log.run_round().unwrap() {}
            while opened.log.run_writer_step().unwrap() {}
            opened.log.checkpoint().unwrap();
            for batch in appended {
                let replica = opened.log.replica(batch.placement.key).unwrap();
                let read = replica.read(batch.placement.base_offset, batch.next_offset(), 1);
                let is_bad = batch.placement.key == key(BAD);
                match read {
                    Ok(read) => assert!(read == [batch], "{what}: other bytes"),
                    Err(error) => assert!(is_bad && fault.is_some(), "{what}: {error}"),
                }
            }
        }
    }
}

fn names_itself(damage: Option<FileDamage>) -> bool {
    damage.is_some_and(|damage| {
        let path = damage.path.to_string_lossy();
        path.contains(&bad_dir()) && !damage.what.is_empty() && damage.from <= damage.until
    })
}

/// How many of the batches cannot be read. What is read is right.
fn lost(replica: &Replica, held: &[Batch], what: &str) -> usize {
    let start = replica.log_start();
    let held = held
        .iter()
        .filter(|batch| batch.placement.base_offset >= start);
    held.filter(|batch| {
        let (from, to) = (batch.placement.base_offset, batch.next_offset());
        match replica.read(from, to.min(replica.end()), 1) {
            Ok(read) => {
                assert!(
                    read.len() == 1 && read[0] == **batch,
                    "{what}: other bytes at {from}"
                );
                false
            }
            Err(_) => true,
        }
    })
    .count()
}

/// Runs the script with a fault of the bad replica's files.
fn run_with(step: Step, after: u64, lasts: bool) -> Option<(World, Result<(), LogDead>)> {
    let mut world = World::new();
    let fault = (step, after, Trouble::Broken, lasts);
    world
        .faulty
        .fail_within(&bad_dir(), fault.0, fault.1, fault.2, fault.3);
    let outcome = world.script();
    world.faulty.struck().then_some((world, outcome))
}

#[test]
fn a_read_that_fails_once_is_done_again_and_nothing_is_damaged() {
    for step in READS {
        let mut met = 0;
        for after in 0.. {
            let what = format!("{step:?} {after}");
            let Some((world, outcome)) = run_with(step, after, false) else {
                break;
            };
            met += 1;
            outcome.unwrap_or_else(|dead| panic!("{what}: {dead}"));
            assert_eq!(world.check(&what), 0, "{what}");
            assert_eq!(world.replica(BAD).damage(), None, "{what}");
            world.check_image(&world.disk.killed(), None, &what);
        }
        assert!(met > 3, "the writer does {step:?} {met} times");
    }
}

#[test]
fn files_of_one_replica_that_cannot_be_read_stop_no_other() {
    for step in READS {
        let mut damaged = 0;
        for after in 0.. {
            let what = format!("{step:?} {after} and all others");
            let Some((world, outcome)) = run_with(step, after, true) else {
                break;
            };
            outcome.unwrap_or_else(|dead| panic!("{what}: {dead}"));
            world.check(&what);
            damaged += usize::from(names_itself(world.replica(BAD).damage()));
            world.faulty.heal();
            let lost = world.check(&what);
            let damage = world.replica(BAD).damage();
            let told = inspecting::problems(&world.disk.killed());
            let is_note = |found: &Finding| found.what.starts_with("the log met it before");
            assert_eq!(told.iter().any(is_note), damage.is_some(), "{what}");
            assert!(lost == 0 || names_itself(damage), "{what}: {lost}");
            for fault in [None, Some(Step::Read), Some(Step::Open)] {
                world.check_image(&world.disk.killed(), fault, &what);
                for seed in 0..3 {
                    let image = world.disk.power_lost(&mut Dice::new(seed));
                    world.check_image(&image, fault, &what);
                }
            }
            world.log.close().unwrap();
            world.check_image(&world.disk.killed(), None, &what);
        }
        assert!(damaged > 3, "{step:?} damaged {damaged}");
    }
}

#[test]
fn a_change_of_a_segment_that_fails_ends_the_log_and_costs_no_other_replica_a_byte() {
    for step in [
        Step::Write,
        Step::SetLen,
        Step::Create,
        Step::Sync,
        Step::Rename,
    ] {
        for after in 0.. {
            let what = format!("{step:?} {after}");
            let Some((world, outcome)) = run_with(step, after, after % 2 == 0) else {
                break;
            };
            assert!(outcome.is_err() && world.log.dead().is_some(), "{what}");
            world.faulty.heal();
            world.log.poll_space();
            let image = world.disk.power_lost(&mut Dice::new(after));
            let vfs = Arc::new(image.clone());
            assert!(accept_failure(vfs, &dir()).unwrap().is_some(), "{what}");
            let ears = Arc::default();
            let opened = open_on(&FaultyVfs::new(Arc::new(image)), &ears).unwrap();
            for number in BOTH {
                let replica = opened.log.replica(key(number)).unwrap();
                let told = world.told(number).unwrap();
                let held = world.held[number as usize].iter();
                let held: Vec<Batch> = held
                    .filter(|batch| batch.next_offset() <= told)
                    .cloned()
                    .collect();
                assert_eq!(lost(&replica, &held, &what), 0, "{what}: {number}");
            }
        }
    }
}

/// The segments of the bad replica.
fn segments(disk: &MemVfs) -> Vec<PathBuf> {
    let mut paths = files_named(disk, &bad_dir());
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
    paths
}

/// A world with a flipped bit in the open segment of the bad replica, and a cut behind it in the journal.
fn rotten_world(at: usize) -> World {
    let mut world = World::new();
    world.rotten = 1;
    let path = segments(&world.disk).pop().unwrap();
    world.disk.damage(&path, |bytes| bytes[at] ^= 1);
    world.cut(1 + at % 2);
    world.write(7);
    while world.log.run_round().unwrap() {}
    world
}

#[test]
fn rot_in_front_of_a_cut_costs_what_is_rotten_and_no_more() {
    let world = World::new();
    let path = segments(&world.disk).pop().unwrap();
    let len = world.disk.contents(&path).unwrap().len();
    let mut met = [0, 0];
    for at in (0..len).step_by(397) {
        for is_crashed in [false, true] {
            let what = format!("byte {at}, crashed {is_crashed}");
            let mut world = rotten_world(at);
            if is_crashed {
                // Before the writer looked at a segment.
                world.disk = world.disk.killed();
                world.faulty = FaultyVfs::new(Arc::new(world.disk.clone()));
                world.log = open_on(&world.faulty, &world.ears).unwrap().log;
            }
            world.work().unwrap();
            world.log.checkpoint().unwrap();
            world.write(8);
            world.work().unwrap();
            let rotten = world.check(&what);
            assert!(rotten <= 1, "{what}: {rotten} are lost");
            let damage = world.replica(BAD).damage();
            met[usize::from(is_crashed)] += usize::from(damage.is_some());
            assert!(damage.is_none() || names_itself(damage), "{what}");
            world.check_image(&world.disk.killed(), None, &what);
            for fault in [None, Some(Step::Read)] {
                let image = world.disk.power_lost(&mut Dice::new(at as u64));
                world.check_image(&image, fault, &what);
            }
        }
    }
    assert!(
        met.iter().all(|met| *met > 3),
        "{met:?} were met at the cut"
    );
}

#[test]
fn a_crash_while_rot_is_stepped_around_costs_no_more_than_the_rot() {
    for step in [
        Step::Write,
        Step::SetLen,
        Step::Create,
        Step::Sync,
        Step::Rename,
    ] {
        for after in 0.. {
            let what = format!("{step:?} {after}");
            let world = rotten_world(9_000 + (after % 2) as usize);
            // Nothing that comes later happens, as in a crash.
            world.faulty.fail(step, after, Trouble::Broken, true);
            let outcome = world.log.checkpoint();
            if !world.faulty.struck() {
                break;
            }
            assert!(outcome.is_err(), "{what}");
            let killed = world.disk.killed();
            let lost = (0..4).map(|seed| world.disk.power_lost(&mut Dice::new(seed)));
            for image in lost.chain([killed]) {
                // The mark that a disk failed is not what is looked at here.
                let _ = crate::Vfs::remove_file(&image, &dir().join("failed"));
                world.check_image(&image, None, &what);
            }
        }
    }
}
