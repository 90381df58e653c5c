//! Random histories against a plain list: whatever happens, what was durable is there, nothing else
//! is, and nobody says rot where there is none.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{
    append, append_marker, create, files_named, inspecting, key, open, place, read_all, records,
    settle, submit,
};
use crate::inspect::FindingKind;
use crate::testing::{Dice, MemVfs, Operation};
use crate::{Entry, Log, ReplicaFacts};

#[derive(Debug, Clone)]
enum Step {
    Append {
        replica: u32,
        batches: u8,
        records: u8,
        bytes: u16,
    },
    Marker {
        replica: u32,
    },
    Cut {
        replica: u32,
        batches: u8,
    },
    Trim {
        replica: u32,
        distance: u8,
        beyond: bool,
    },
    Round,
    Write,
    Settle,
    Checkpoint,
    Tick,
    Check,
    Reopen(Reopen),
}

#[derive(Debug, Clone, Copy)]
enum Reopen {
    Clean,
    Killed,
    PowerLost(u64),
    /// A sync fails so many syncs from now, while the log works; then the power goes.
    FailedSync(u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..3u32;
    let append = (replica.clone(), 1..5u8, 1..6u8, 0..900u16).prop_map(
        |(replica, batches, records, bytes)| Step::Append {
            replica,
            batches,
            records,
            bytes,
        },
    );
    let reopen = prop_oneof![
        Just(Reopen::Clean),
        Just(Reopen::Killed),
        any::<u64>().prop_map(Reopen::PowerLost),
        (any::<u64>(), 0..6u8).prop_map(|(seed, after)| Reopen::FailedSync(seed, after)),
    ];
    prop_oneof![
        12 => append,
        1 => replica.clone().prop_map(|replica| Step::Marker { replica }),
        2 => (replica.clone(), 0..6u8).prop_map(|(replica, batches)| Step::Cut { replica, batches }),
        2 => (replica, any::<u8>(), prop::bool::weighted(0.1))
            .prop_map(|(replica, distance, beyond)| Step::Trim { replica, distance, beyond }),
        6 => Just(Step::Round),
        6 => Just(Step::Write),
        1 => Just(Step::Settle),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Tick),
        2 => Just(Step::Check),
        3 => reopen.prop_map(Step::Reopen),
    ]
}

/// What a replica must hold: batches with records, where it begins and ends.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    batches: Vec<Batch>,
    log_start: Offset,
    end: Offset,
}

impl Expected {
    fn visible(&self) -> Vec<Batch> {
        let floor = self.log_start;
        self.batches
            .iter()
            .filter(|batch| batch.next_offset() > floor)
            .cloned()
            .collect()
    }
}

type Model = BTreeMap<u32, Expected>;

struct World {
    vfs: MemVfs,
    log: Log,
    now: Model,
    /// The model after each submission that may not be durable yet, oldest first, after the last
    /// one that is.
    history: Vec<Model>,
    time_ms: i64,
    lost_power: bool,
}

impl World {
    fn new() -> Self {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        for number in 0..3 {
            create(&log, number);
        }
        settle(&log);
        let now: Model = (0..3).map(|number| (number, Expected::default())).collect();
        Self {
            vfs,
            log,
            history: vec![now.clone()],
            now,
            time_ms: 1_000,
            lost_power: false,
        }
    }

    fn submitted(&mut self) {
        self.history.push(self.now.clone());
    }

    fn all_durable(&mut self) {
        self.history = vec![self.now.clone()];
    }

    fn run(&mut self, step: &Step) {
        self.time_ms += 10;
        match *step {
            Step::Append {
                replica,
                batches,
                records: count,
                bytes,
            } => {
                let target = self.log.replica(key(replica)).unwrap();
                let mut entries = Vec::new();
                let mut end = target.end();
                for _ in 0..batches {
                    let client = records(u32::from(count), usize::from(bytes), self.time_ms);
                    let batch = place(&target, client, end, self.time_ms);
                    end = batch.next_offset();
                    self.expected(replica).batches.push(batch.clone());
                    entries.push(Entry::Batch(batch));
                }
                self.expected(replica).end = end;
                submit(&self.log, entries);
                self.submitted();
            }
            Step::Marker { replica } => {
                append_marker(
                    &self.log,
                    &self.log.replica(key(replica)).unwrap(),
                    self.time_ms,
                );
                self.submitted();
            }
            Step::Cut { replica, batches } => self.cut(replica, usize::from(batches)),
            Step::Trim {
                replica,
                distance,
                beyond,
            } => self.trim(replica, distance, beyond),
            Step::Round => {
                while self.log.run_round().unwrap() {}
                self.all_durable();
            }
            Step::Write => {
                self.log.run_writer_step().unwrap();
            }
            Step::Settle => {
                settle(&self.log);
                self.all_durable();
            }
            Step::Checkpoint => self.log.checkpoint().unwrap(),
            Step::Tick => {
                self.time_ms += 600_000;
                self.log.tick(self.time_ms);
            }
            Step::Check => self.check(),
            Step::Reopen(how) => self.reopen(how),
        }
    }

    fn expected(&mut self, replica: u32) -> &mut Expected {
        self.now.get_mut(&replica).unwrap()
    }

    fn cut(&mut self, replica: u32, batches: usize) {
        let expected = self.expected(replica);
        let kept = expected.batches.len().saturating_sub(batches);
        let Some(first_gone) = expected.batches.get(kept) else {
            return;
        };
        let to = first_gone.placement.base_offset;
        if to < expected.log_start {
            return;
        }
        expected.batches.truncate(kept);
        expected.end = to;
        submit(
            &self.log,
            vec![Entry::Cut {
                key: key(replica),
                to,
            }],
        );
        self.submitted();
    }

    fn trim(&mut self, replica: u32, distance: u8, beyond: bool) {
        let expected = self.expected(replica);
        let length = expected.end.distance_from(expected.log_start);
        let distance = u64::from(distance) * (length + 1) / 256;
        let to = if beyond {
            expected.end.plus(3)
        } else {
            expected.log_start.plus(distance)
        };
        expected.log_start = to;
        if beyond {
            expected.end = to;
            expected.batches.clear();
        }
        submit(
            &self.log,
            vec![Entry::Trim {
                key: key(replica),
                to,
            }],
        );
        self.submitted();
    }

    fn reopen(&mut self, how: Reopen) {
        let vfs = match how {
            Reopen::Clean => {
                self.log.close().unwrap();
                self.all_durable();
                self.vfs.clone()
            }
            Reopen::Killed => self.vfs.killed(),
            Reopen::PowerLost(seed) => self.vfs.power_lost(&mut Dice::new(seed)),
            Reopen::FailedSync(seed, after) => {
                self.vfs
                    .fail(Operation::Sync, u64::from(after), ErrorKind::Other);
                // Either may meet the fault; the log is dead then, or done.
                let rounds = (0..8).all(|_| self.log.run_round().is_ok());
                if rounds {
                    self.all_durable();
                    let _ = self.log.checkpoint();
                }
                let image = self.vfs.power_lost(&mut Dice::new(seed));
                // The mark that a disk failed need not have got onto it: what is found must be right
                // without it.
                let _ = crate::Vfs::remove_file(&image, &super::dir().join("failed"));
                image
            }
        };
        self.lost_power |= matches!(how, Reopen::PowerLost(_) | Reopen::FailedSync(..));
        for finding in inspecting::problems(&vfs) {
            // Indexes are not synced, and an opening mends only what it reads of them.
            let may_be = self.lost_power && finding.kind == FindingKind::Index;
            assert!(may_be, "{how:?}: nothing was damaged: {finding}");
        }
        let opened = open(&vfs);
        assert_eq!(opened.clean, matches!(how, Reopen::Clean));
        assert!(!opened.journal_rot, "{how:?}: no journal rots by itself");
        assert!(opened.missing.is_empty());
        assert!(files_named(&vfs, "/quarantine/").is_empty());
        for facts in &opened.replicas {
            assert!(facts.intact, "{how:?}: nothing was damaged: {facts:?}");
        }
        self.vfs = vfs;
        self.log = opened.log;
        let found = self
            .history
            .iter()
            .position(|model| self.is(model, &opened.replicas));
        let Some(found) = found else {
            panic!(
                "{how:?}: the log is in none of {} states that it may be in: {:?} {:?}",
                self.history.len(),
                opened.replicas,
                self.history
                    .iter()
                    .map(|model| model
                        .values()
                        .map(|e| (e.log_start, e.end, e.batches.len()))
                        .collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            );
        };
        self.now = self.history.swap_remove(found);
        self.all_durable();
        self.check();
    }

    fn is(&self, model: &Model, facts: &[ReplicaFacts]) -> bool {
        model.iter().all(|(number, expected)| {
            let Some(facts) = facts.iter().find(|facts| facts.key == key(*number)) else {
                return false;
            };
            facts.end == expected.end
                && facts.log_start == expected.log_start
                && read_all(&self.log.replica(key(*number)).unwrap()) == expected.visible()
        })
    }

    fn check(&self) {
        for (number, expected) in &self.now {
            let replica = self.log.replica(key(*number)).unwrap();
            assert_eq!(
                (replica.log_start(), replica.end()),
                (expected.log_start, expected.end)
            );
            assert_eq!(read_all(&replica), expected.visible());
            let mut headers = Vec::new();
            replica
                .batch_headers(expected.log_start, |header| headers.push(*header))
                .unwrap();
            headers.retain(|header| !header.is_control);
            let bases: Vec<_> = headers.iter().map(|header| header.base_offset).collect();
            let visible = expected.visible();
            assert_eq!(
                bases,
                visible
                    .iter()
                    .map(|b| b.placement.base_offset)
                    .collect::<Vec<_>>()
            );
            if let Some(middle) = visible.get(visible.len() / 2) {
                let time_ms = middle.max_timestamp_ms();
                let first = visible
                    .iter()
                    .find(|batch| batch.max_timestamp_ms() >= time_ms);
                let found = replica.offset_at(time_ms, expected.end).unwrap().unwrap();
                let first = first.unwrap();
                assert!(found >= first.placement.base_offset && found < first.next_offset());
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_durable_log_is_what_was_submitted(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.run(&Step::Reopen(Reopen::Killed));
        world.run(&Step::Reopen(Reopen::Clean));
    }
}

#[test]
fn appends_go_on_after_many_power_losses() {
    let mut vfs = MemVfs::new();
    let log = open(&vfs).log;
    create(&log, 0);
    settle(&log);
    drop(log);
    let mut expected = 0;
    for seed in 0..40 {
        let log = open(&vfs).log;
        let replica = log.replica(key(0)).unwrap();
        assert_eq!(replica.end(), Offset::new(expected));
        for number in 0..5 {
            append(&log, &replica, 2, 600, 1_000 + number);
            log.run_round().unwrap();
            log.run_writer_step().unwrap();
        }
        expected += 10;
        vfs = vfs.power_lost(&mut Dice::new(seed));
    }
}
