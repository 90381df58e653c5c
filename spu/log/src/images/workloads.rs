//! The workloads: short scripts, each about one thing that a log does to its disk, and one of
//! everything at random. A seed changes sizes, counts and bytes.
//!
//! Invariant: a workload is a function of its seed.

mod compaction;

mod deferred;

mod directory;

mod everything;

mod records;

use compaction::{compact, compact_cut, compact_mixed};
use deferred::deferred;
use directory::{checkpoint, close, kill, metadata, quarantine, recycle, retire, snapshot};
use everything::everything;
use records::{append, append_many, cut, format, reset, retention, roll};

use super::script::{Recording, Script};
use super::setting::tiny;
use crate::LogConfig;
use crate::testing::trace::TraceVfs;

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
pub const WORKLOADS: [Workload; 20] = [
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
    plain("deferred", deferred),
    plain("everything", everything),
    plain("compact", compact),
    plain("compact-cut", compact_cut),
    plain("compact-mixed", compact_mixed),
];
