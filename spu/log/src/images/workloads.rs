//! The workloads: short scripts, each about one thing that a log does to its disk, and one of
//! everything at random. A seed changes sizes, counts and bytes.
//!
//! Invariant: a workload is a function of its seed.

use std::path::Path;
use std::sync::Arc;

use tidegate_proto::id::ReplicaGen;
use uuid::Uuid;

use super::script::{DIR, Moment, Recording, Script, key, tiny};
use crate::layout;
use crate::testing::trace::TraceVfs;
use crate::vfs::Vfs as _;
use crate::{Entry, LogConfig};
use tidegate_proto::position::Offset;

/// A script by name.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// One word.
    pub name: &'static str,
    run: fn(&mut Script),
    sizes: fn(LogConfig) -> LogConfig,
}

impl Workload {
    /// Runs it over an empty disk.
    #[must_use]
    pub fn record(&self, seed: u64) -> Recording {
        self.record_on(TraceVfs::new(), seed)
    }

    /// Runs it over that disk, which must be empty.
    #[must_use]
    pub fn record_on(&self, vfs: TraceVfs, seed: u64) -> Recording {
        let mut script = Script::new(vfs, (self.sizes)(tiny(seed)), seed);
        (self.run)(&mut script);
        script.finish()
    }
}

/// The workload of that name.
#[must_use]
pub fn find_workload(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

const fn plain(name: &'static str, run: fn(&mut Script)) -> Workload {
    Workload {
        name,
        run,
        sizes: |config| config,
    }
}

/// All of them.
pub const WORKLOADS: [Workload; 16] = [
    plain("format", format),
    plain("append", append),
    plain("append-many", append_many),
    plain("roll", roll),
    plain("retention", retention),
    plain("cut", cut),
    plain("reset", reset),
    Workload {
        name: "recycle",
        run: recycle,
        sizes: |config| LogConfig {
            journal_file_bytes_first: 8 << 10,
            journal_file_bytes: 8 << 10,
            journal_bytes_max: 32 << 10,
            checkpoint_bytes: 16 << 10,
            ..config
        },
    },
    plain("metadata", metadata),
    plain("snapshot", snapshot),
    plain("retire", retire),
    plain("quarantine", quarantine),
    plain("checkpoint", checkpoint),
    plain("close", close),
    plain("kill", kill),
    plain("everything", everything),
];

fn format(script: &mut Script) {
    script.register(1);
    script.create(0, 1);
    script.round();
}

fn append(script: &mut Script) {
    script.create(0, 1);
    script.round();
    for (records, bytes) in [(1, 20), (3, 60), (2, 900), (1, 5_000), (4, 1_200)] {
        let bytes = bytes + script.dice.below(40) as usize;
        script.append(0, 1, records, bytes);
        script.round();
        script.step();
    }
    script.append_marker(0);
    script.append(0, 2, 2, 30);
    script.settle();
}

fn append_many(script: &mut Script) {
    for partition in 0..3 {
        script.create(partition, 1);
    }
    script.round();
    for _ in 0..3 {
        for partition in 0..3 {
            let bytes = 30 + script.dice.below(500) as usize;
            script.append(partition, 1 + partition % 2, 2, bytes);
        }
        script.round();
        script.step();
    }
    script.settle();
}

fn roll(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..4 {
        let bytes = 500 + script.dice.below(300) as usize;
        script.append(0, 2, 1, bytes);
        script.settle();
    }
    script.tick(2_000_000);
    script.settle();
    script.append(0, 1, 1, 50);
    script.settle();
    script.checkpoint();
    script.append(0, 2, 1, 800);
    script.settle();
}

fn retention(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..3 {
        script.append(0, 2, 2, 380);
    }
    script.settle();
    script.checkpoint();
    let to = Offset::new(5 + script.dice.below(4));
    script.trim(0, to);
    script.append(0, 1, 2, 300);
    script.settle();
    script.trim(0, script.expected(0).end);
    script.settle();
    script.append(0, 2, 1, 400);
    script.settle();
    script.checkpoint();
    script.step();
}

fn cut(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..3 {
        script.append(0, 2, 1, 450);
    }
    script.settle();
    script.checkpoint();
    // Into what the checkpoint knows, then again into what only the journal does.
    let batches = 1 + script.dice.below(4) as usize;
    script.cut(0, batches);
    script.append(0, 1, 2, 200);
    script.round();
    script.append(0, 2, 1, 500);
    script.settle();
    script.cut(0, 2);
    script.append(0, 3, 1, 350);
    script.round();
    script.cut(0, 1);
    script.settle();
    script.checkpoint();
}

fn reset(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 4, 1, 500);
    script.settle();
    if script.dice.below(2) == 0 {
        script.checkpoint();
    }
    let beyond = script.expected(0).end.plus(5);
    script.trim(0, beyond);
    script.round();
    script.append(0, 3, 1, 600);
    script.settle();
    script.checkpoint();
    script.cut(0, 1);
    let beyond = script.expected(0).end.plus(3);
    script.trim(0, beyond);
    script.append(0, 1, 1, 100);
    script.settle();
}

fn recycle(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    for round in 0..9 {
        let bytes = 700 + script.dice.below(2_000) as usize;
        script.append(round % 2, 1, 1, bytes);
        script.round();
        script.step();
        script.step();
        if round == 4 {
            script.commit(0);
        }
    }
    script.settle();
}

fn metadata(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.round();
    for epoch in 1..4 {
        script.accept(0, epoch);
        script.round();
        script.append_marker(0);
        script.append(0, 1, 2, 40);
        script.commit(0);
        script.round();
        if epoch == 2 {
            script.checkpoint();
        }
    }
    script.accept(1, 7);
    script.register(2);
    script.settle();
    script.checkpoint();
}

fn snapshot(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 3, 2, 200);
    script.snapshot(0, 60);
    script.settle();
    script.checkpoint();
    script.append(0, 3, 1, 300);
    script.snapshot(0, 700);
    script.settle();
    // Below the snapshot, which goes, and above what the checkpoint knows.
    script.cut(0, 1);
    script.round();
    script.append(0, 2, 1, 100);
    script.settle();
    script.snapshot(0, 30);
    script.cut(0, 4);
    script.append(0, 5, 1, 100);
    script.settle();
    script.checkpoint();
}

fn retire(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.append(0, 2, 2, 300);
    script.append(1, 1, 2, 100);
    script.settle();
    if script.dice.below(2) == 0 {
        script.checkpoint();
    }
    script.append(0, 2, 1, 300);
    script.round();
    script.retire(0);
    script.round();
    script.create(0, 2);
    script.append(0, 1, 3, 100);
    script.settle();
    script.checkpoint();
    script.tick(5_000);
    script.retire(1);
    script.settle();
    script.checkpoint();
    script.purge();
    script.append(0, 1, 1, 20);
    script.settle();
}

fn quarantine(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 2, 1, 300);
    script.settle();
    script.checkpoint();
    // Somebody restores a directory that this log never had.
    let name = layout::replica_dir(key(9), ReplicaGen(Uuid::from_u128(1)));
    let replicas = Path::new(DIR).join(layout::REPLICAS);
    let dir = replicas.join(name);
    let bytes: Arc<[u8]> = b"records of somebody else".as_slice().into();
    let vfs = script.vfs().clone();
    let put = || -> std::io::Result<()> {
        vfs.create_dir(&dir)?;
        let file = vfs.create(&dir.join(layout::segment(Offset::ZERO)))?;
        crate::durable::write_all_at(&*file, &[&bytes], 0)?;
        file.sync_all()?;
        vfs.sync_dir(&dir)?;
        vfs.sync_dir(&replicas)
    };
    put().expect("a disk in memory takes a file");
    script.note(Moment::Foreign(Arc::clone(&bytes)));
    script.append(0, 1, 1, 200);
    script.round();
    script.kill();
    script.append(0, 1, 1, 30);
    script.settle();
    script.checkpoint();
}

fn checkpoint(script: &mut Script) {
    for partition in 0..2 {
        script.create(partition, 1);
    }
    for turn in 0..4 {
        let bytes = 100 + script.dice.below(400) as usize;
        script.append(turn % 2, 2, 1, bytes);
        script.round();
        script.append(1 - turn % 2, 1, 1, 40);
        script.checkpoint();
        script.round();
    }
    script.checkpoint();
}

fn close(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 2, 2, 300);
    script.round();
    script.closing_round();
    script.register(3);
    script.append(0, 1, 1, 50);
    script.reopen();
    script.reopen();
    script.append(0, 1, 2, 700);
    script.round();
    script.closing_round();
    script.append(0, 1, 1, 20);
    script.snapshot(0, 40);
    script.reopen();
    script.register(4);
}

fn kill(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.append(0, 3, 1, 400);
    script.append(1, 1, 1, 100);
    script.settle();
    script.append(0, 2, 1, 700);
    script.round();
    script.append(1, 1, 1, 100);
    script.kill();
    script.append(0, 1, 1, 100);
    script.append(1, 2, 1, 100);
    script.round();
    script.step();
    script.kill();
    script.kill();
    script.append(0, 1, 1, 90);
    script.settle();
}

/// Steps at random, weighted towards appends and rounds.
fn everything(script: &mut Script) {
    for partition in 0..2 {
        script.create(partition, 1);
    }
    script.round();
    let mut generation = 1;
    for step in 0..34 {
        let partition = script.dice.below(2) as u32;
        let end = script.expected(partition).end;
        match script.dice.below(22) {
            0..6 => {
                let batches = 1 + script.dice.below(3) as u32;
                let records = 1 + script.dice.below(3) as u32;
                let bytes = script.dice.below(600) as usize;
                script.append(partition, batches, records, bytes);
            }
            6..10 => script.round(),
            10..13 => drop(script.step()),
            13 => script.append_marker(partition),
            14 => {
                let batches = script.dice.below(4) as usize;
                script.cut(partition, batches);
            }
            15 => {
                let start = script.expected(partition).log_start;
                let length = end.distance_from(start);
                let to = start.plus(script.dice.below(length + 1));
                script.trim(partition, to);
            }
            16 => script.checkpoint(),
            17 => script.accept(partition, step),
            18 => script.snapshot(partition, 20),
            19 => match script.dice.below(4) {
                0 => script.trim(partition, end.plus(2)),
                1 => script.reopen(),
                _ => script.kill(),
            },
            20 if script.dice.below(3) == 0 => {
                generation += 1;
                script.retire(partition);
                script.create(partition, generation);
            }
            20 => script.tick(40_000),
            _ => several(script, partition),
        }
    }
    script.settle();
}

/// A cut and what follows it in one submission.
fn several(script: &mut Script, partition: u32) {
    let replica = script.expected(partition);
    let Some(last) = replica.batches.last() else {
        return;
    };
    let to = last.placement.base_offset.max(replica.log_start);
    let batch = script.batch(partition, to, 2, 50);
    let key = key(partition);
    script.submit(vec![Entry::Cut { key, to }, Entry::Batch(batch)]);
}
