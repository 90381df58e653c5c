//! What a seed decides: the load, the streams, the faults. Pure.
//!
//! Invariant: the same seed gives the same options.

use std::fmt;

use crate::random::Random;

/// Storage units.
pub(crate) const UNITS: u32 = 3;
/// Hosts with writers and a reader.
pub(crate) const CLIENTS: u32 = 2;

/// A thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Nothing passes between two hosts; what was on the way is lost, and the connections with it.
    Partition(String, String),
    /// Nothing passes from one to the other.
    OneWay(String, String),
    /// What is sent between two arrives when it is over.
    Hold(String, String),
    /// Messages between two take up to so many milliseconds.
    Slow(String, String, u64),
    /// Nothing passes between a unit and anybody.
    Isolate(u32),
    /// A unit's process ends; what it wrote is there.
    Kill(u32),
    /// A unit loses power: of what it did not sync any part is there.
    PowerLoss(u32),
    /// The controller's process ends.
    KillController,
}

/// When, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Milliseconds after the chaos began.
    pub at_ms: u64,
    /// How long it lasts.
    pub for_ms: u64,
    /// What it is.
    pub what: What,
}

/// How streams are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// Reads and writes have no more bytes than that at once; none: as they come.
    pub(crate) piece_max: Option<u64>,
    /// Reads take together what has come.
    pub(crate) merges: bool,
    /// Of a thousand reads so many wait, for up to so many milliseconds.
    pub(crate) stalls: (u64, u64),
    /// Of a thousand connections so many are reset after some bytes.
    pub(crate) resets: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    pub(crate) is_tls: bool,
    pub(crate) partitions: u32,
    pub(crate) is_interval: bool,
    /// Writers of each client, and how many of them have an identity.
    pub(crate) writers: (u32, u32),
    /// Bytes of a record, at most.
    pub(crate) record_max: u64,
    pub(crate) latency_max_ms: u64,
    pub(crate) disk_max_ms: u64,
    pub(crate) chaos_ms: u64,
    pub(crate) cuts: Cuts,
    /// In the order in which they come.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Those of a seed. One seed in five is over TLS.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let chaos_ms = random.between(7_000, 14_000);
        let is_interval = random.hits(250);
        let pieces = [None, None, Some(1_400), Some(97), Some(16_384)];
        let mut faults: Vec<Fault> = (0..random.between(4, 9))
            .map(|_| fault(&mut random, chaos_ms, is_interval))
            .collect();
        faults.sort_by_key(|fault| fault.at_ms);
        let writers = u32::try_from(random.between(2, 4)).unwrap_or(2);
        let piece_max = pieces[usize::try_from(random.between(0, 4)).unwrap_or_default()];
        Self {
            seed,
            is_tls: seed % 5 == 4,
            partitions: u32::try_from(random.between(1, 3)).unwrap_or(1),
            is_interval,
            writers: (writers, writers / 2 + 1),
            record_max: [40, 400, 20_000]
                [usize::try_from(random.between(0, 2)).unwrap_or_default()],
            latency_max_ms: [2, 5, 20][usize::try_from(random.between(0, 2)).unwrap_or_default()],
            disk_max_ms: random.between(1, 8),
            chaos_ms,
            cuts: Cuts {
                piece_max,
                merges: random.hits(500),
                // Each read asks, and small pieces are many reads.
                stalls: (
                    random.between(0, 1) * if piece_max == Some(97) { 2 } else { 10 },
                    random.between(20, 900),
                ),
                resets: random.between(0, 2) * 100,
            },
            faults,
        }
    }

    /// Without faults and cuts.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        let mut options = Self::of(seed);
        options.faults.clear();
        options.cuts.resets = 0;
        options.cuts.stalls = (0, 0);
        options
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} partitions, interval {}, tls {}, writers {:?}, records {} B, latency {} ms, disk {} ms, chaos {} ms, {:?}",
            self.seed,
            self.partitions,
            self.is_interval,
            self.is_tls,
            self.writers,
            self.record_max,
            self.latency_max_ms,
            self.disk_max_ms,
            self.chaos_ms,
            self.cuts
        )?;
        for fault in &self.faults {
            writeln!(
                f,
                "  {:>6} ms for {:>5} ms: {:?}",
                fault.at_ms, fault.for_ms, fault.what
            )?;
        }
        Ok(())
    }
}

pub(crate) fn unit_name(number: u32) -> String {
    format!("unit-{number}")
}

pub(crate) const CONTROLLER: &str = "controller";

fn fault(random: &mut Random, chaos_ms: u64, is_interval: bool) -> Fault {
    let unit = u32::try_from(random.between(1, UNITS.into())).unwrap_or(1);
    let other = unit % UNITS + 1;
    // The controller is as good a place to be cut off from.
    let other = if random.hits(300) {
        CONTROLLER.to_owned()
    } else {
        unit_name(other)
    };
    let (one, other) = if random.hits(500) {
        (unit_name(unit), other)
    } else {
        (other, unit_name(unit))
    };
    let what = match random.between(0, 9) {
        0 => What::Partition(one, other),
        1 | 2 => What::OneWay(one, other),
        3 | 4 => What::Hold(one, other),
        5 => What::Slow(one, other, random.between(20, 400)),
        6 => What::Isolate(unit),
        // What is written without a sync is promised to survive a process only.
        7 if !is_interval => What::PowerLoss(unit),
        7 | 8 => What::Kill(unit),
        _ => What::KillController,
    };
    Fault {
        at_ms: random.between(200, chaos_ms.saturating_sub(1_000)),
        for_ms: random.between(200, 6_000),
        what,
    }
}
