//! All that a run is told before it begins: how large, how fast, who writes and reads, and what goes wrong
//! when.
//!
//! Everything follows from the seed, and is printed whole. Single faults can be left out by their number,
//! which is how a failing run is made smaller. Invariant: the same options give the same run.

use std::collections::BTreeSet;
use std::fmt;

use tidegate_proto::produce::Acks;

use crate::fault::{Fault, FaultKind};
use crate::plant::Plant;
use crate::random::Random;

/// Storage units of every run.
pub(crate) const UNITS: u32 = 5;
/// Controllers of every run.
pub(crate) const CONTROLLERS: u32 = 3;
/// Gateways of every run.
pub(crate) const GATEWAYS: u32 = 2;

/// When faults begin: by then topics are made and led.
pub(crate) const CHAOS_FROM_MS: u64 = 2_000;

/// A topic of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    pub partitions: u32,
    pub copies: u16,
    pub min_in_sync: u16,
    /// Acknowledgements do not wait for the disk.
    pub is_interval: bool,
}

/// How a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// As curl does: the gateway stamps the request, and may try again (D7).
    Plain,
    /// With an idempotency key (D6).
    Keyed,
    /// An idempotent producer with so many requests under way (D1).
    Idempotent { in_flight: u32 },
    /// Batches that nobody stamps: never sent again once they may have been taken.
    Bare,
}

/// A client that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterPlan {
    pub topic: u32,
    pub writer: Writer,
    pub acks: Acks,
    /// Time between two requests.
    pub every_ms: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub topics: Vec<TopicPlan>,
    pub writers: Vec<WriterPlan>,
    pub consumers: u32,
    /// How long things go wrong.
    pub chaos_ms: u64,
    pub delay_us: (u64, u64),
    /// Messages that take a hundred times as long, in a thousand.
    pub late_per_mille: u64,
    /// Messages that break their connection, in a thousand.
    pub lost_per_mille: u64,
    pub sync_us: (u64, u64),
    pub replica_lag_ms: u64,
    pub spu_timeout_ms: u64,
    /// Most that wall clocks differ.
    pub skew_ms: u64,
    /// Most that clocks run too fast or too slow, in thousandths.
    pub drift_per_mille: u64,
    pub faults: Vec<Fault>,
    /// Numbers of faults that do not happen.
    pub without: BTreeSet<usize>,
    /// Units run the real log.
    pub is_on_the_log: bool,
    /// What the shells do wrong on purpose.
    pub plant: Option<Plant>,
}

impl Options {
    /// What the seed says.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7469_6465_6761_7465);
        let chaos_ms = random.between(4_000, 10_000);
        let topics = topics(&mut random);
        let writers = writers(&mut random, &topics);
        let slowest_us = random.pick(&[500, 2_000, 10_000, 40_000]).unwrap_or(500);
        let sync_us = random.pick(&[300, 2_000, 15_000]).unwrap_or(300);
        let faults = faults(&mut random, chaos_ms);
        Self {
            seed,
            topics,
            writers,
            consumers: u32::try_from(random.between(1, 3)).unwrap_or(1),
            chaos_ms,
            delay_us: (100, slowest_us),
            late_per_mille: random.pick(&[0, 0, 5, 30]).unwrap_or(0),
            lost_per_mille: random.pick(&[0, 0, 1, 5]).unwrap_or(0),
            sync_us: (100, sync_us),
            replica_lag_ms: random.pick(&[800, 1_500, 3_000]).unwrap_or(1_500),
            spu_timeout_ms: random.pick(&[1_000, 1_500, 2_500]).unwrap_or(1_500),
            skew_ms: random.pick(&[0, 50, 60_000, 1_500_000]).unwrap_or(0),
            drift_per_mille: random.pick(&[0, 2, 50]).unwrap_or(0),
            faults,
            without: BTreeSet::new(),
            is_on_the_log: false,
            plant: None,
        }
    }

    /// The same with one copy of each partition: what storage units do without each other.
    #[must_use]
    pub fn alone(mut self) -> Self {
        for topic in &mut self.topics {
            (topic.copies, topic.min_in_sync) = (1, 1);
        }
        self
    }

    /// The same with nobody gone: connections break, and that is all.
    #[must_use]
    pub fn with_breaking_links(mut self) -> Self {
        for fault in &mut self.faults {
            fault.kind = FaultKind::ResetLinks;
        }
        (self.late_per_mille, self.lost_per_mille) = (0, 0);
        self.delay_us = (100, 2_000);
        self
    }

    /// The same with logs of single replicas that fail, every second time.
    #[must_use]
    pub fn with_failing_replicas(mut self) -> Self {
        for fault in self.faults.iter_mut().step_by(2) {
            fault.kind = FaultKind::FailReplica;
        }
        self
    }

    /// The same with the real log under each unit.
    #[must_use]
    pub fn on_the_log(mut self) -> Self {
        self.is_on_the_log = true;
        self
    }

    /// The same without these faults.
    #[must_use]
    pub fn without(&self, faults: impl IntoIterator<Item = usize>) -> Self {
        let mut less = self.clone();
        less.without.extend(faults);
        less
    }
}

fn topics(random: &mut Random) -> Vec<TopicPlan> {
    let shapes = [
        (3, 2),
        (3, 2),
        (3, 2),
        (3, 1),
        (2, 1),
        (2, 2),
        (3, 3),
        (5, 3),
        (1, 1),
    ];
    let count = random.between(1, 2);
    (0..count)
        .map(|at| {
            // The first is the one that most are like: the others are there beside it.
            let (copies, min_in_sync) = match at {
                0 if random.hits(600) => (3, 2),
                _ => random.pick(&shapes).unwrap_or((3, 2)),
            };
            TopicPlan {
                partitions: u32::try_from(random.between(1, 2)).unwrap_or(1),
                copies,
                min_in_sync,
                is_interval: random.hits(120),
            }
        })
        .collect()
}

fn writers(random: &mut Random, topics: &[TopicPlan]) -> Vec<WriterPlan> {
    let kinds = [
        Writer::Plain,
        Writer::Plain,
        Writer::Keyed,
        Writer::Idempotent { in_flight: 1 },
        Writer::Idempotent { in_flight: 1 },
        Writer::Idempotent { in_flight: 4 },
        Writer::Bare,
    ];
    let acks = [
        Acks::Quorum,
        Acks::Quorum,
        Acks::Quorum,
        Acks::Quorum,
        Acks::Leader,
        Acks::None,
    ];
    let count = random.between(2, 5);
    (0..count)
        .map(|at| WriterPlan {
            topic: u32::try_from(at % topics.len() as u64).unwrap_or(0),
            writer: random.pick(&kinds).unwrap_or(Writer::Plain),
            acks: random.pick(&acks).unwrap_or(Acks::Quorum),
            every_ms: random.pick(&[40, 90, 200]).unwrap_or(90),
        })
        .collect()
}

/// Faults come alone, in pairs and in flocks: what is hard comes of two things at once.
fn faults(random: &mut Random, chaos_ms: u64) -> Vec<Fault> {
    let mut kinds: Vec<FaultKind> = FaultKind::ALL.to_vec();
    // Some runs know a few kinds only, and so see much of them.
    if random.hits(500) {
        let few = random.between(2, 6);
        kinds = (0..few)
            .filter_map(|_| random.pick(&FaultKind::ALL))
            .collect();
    }
    let mut faults = Vec::new();
    let mut at_ms = CHAOS_FROM_MS + random.below(500);
    while at_ms < CHAOS_FROM_MS + chaos_ms {
        let flock = if random.hits(400) {
            random.between(2, 3)
        } else {
            1
        };
        for _ in 0..flock {
            let short = random.hits(500);
            let near_ms = if random.hits(500) { 40 } else { 400 };
            faults.push(Fault {
                kind: random.pick(&kinds).unwrap_or(FaultKind::KillUnit),
                at_ms: at_ms + random.below(near_ms),
                lasts_ms: if short {
                    random.between(5, 300)
                } else {
                    random.between(300, 4_000)
                },
                target: u32::try_from(random.below(1 << 16)).unwrap_or(0),
                other: u32::try_from(random.below(1 << 16)).unwrap_or(0),
            });
        }
        at_ms += random.pick(&[100, 400, 900, 1_800]).unwrap_or(400) + random.below(300);
    }
    faults
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (at, topic) in self.topics.iter().enumerate() {
            writeln!(
                f,
                "topic t{at}: {} partitions, {} copies, {} in sync{}",
                topic.partitions,
                topic.copies,
                topic.min_in_sync,
                if topic.is_interval { ", interval" } else { "" }
            )?;
        }
        for (at, plan) in self.writers.iter().enumerate() {
            let WriterPlan {
                topic,
                writer,
                acks,
                every_ms,
            } = plan;
            writeln!(
                f,
                "writer {at}: {writer:?} to t{topic}, acks {acks}, every {every_ms} ms"
            )?;
        }
        writeln!(
            f,
            "consumers {}, chaos {} ms, delay {:?} us, late {}/1000, lost {}/1000, sync {:?} us, \
             replica lag {} ms, unit time-out {} ms, skew {} ms, drift {}/1000",
            self.consumers,
            self.chaos_ms,
            self.delay_us,
            self.late_per_mille,
            self.lost_per_mille,
            self.sync_us,
            self.replica_lag_ms,
            self.spu_timeout_ms,
            self.skew_ms,
            self.drift_per_mille
        )?;
        for (at, fault) in self.faults.iter().enumerate() {
            let Fault {
                kind,
                at_ms,
                lasts_ms,
                target,
                other,
            } = fault;
            let left_out = if self.without.contains(&at) {
                " (left out)"
            } else {
                ""
            };
            writeln!(
                f,
                "fault {at}: {at_ms} ms, for {lasts_ms} ms: {kind:?} {target}/{other}{left_out}"
            )?;
        }
        Ok(())
    }
}
