//! Boots crash images of the log by the million, in slices that add up: `cargo xtask images`.
//!
//! The library part is `tidegate_log::images`; the test suite boots a sample of the same. Here are the
//! options, the ledger and the order of work: seed after seed, each with all workloads. Invariant: what
//! a run prints is enough to run exactly the image that failed again.

mod ledger;

mod options;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::Ledger;
use options::Options;
use tidegate_log::images::{
    Effort, Place, Rot, RotReport, UnitReport, Workload, replay_image, run_unit,
};

/// What is tried of each seed. A ledger is of one effort: places depend on it.
const EFFORT: Effort = Effort {
    per_moment: 120,
    random: 24,
    second_crash_every: 7,
    per_second_moment: 10,
};

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.is_help {
        return say(options::HELP);
    }
    if let Some(place) = options.image {
        return replay(&options, place);
    }
    let is_over = alarm(options.slice);
    if let Some(bytes) = options.rot {
        return sweep(&options, bytes, &is_over);
    }
    let mut ledger = Ledger::open(options.ledger.as_deref(), &EFFORT)?;
    let mut failed = 0;
    'seeds: for seed in options.seed.. {
        for workload in options.workloads() {
            if ledger.images() >= options.count || is_over.load(Ordering::Relaxed) {
                break 'seeds;
            }
            if ledger.has(workload.name, seed) {
                continue;
            }
            let report = run_unit(&workload.record(seed), seed, &EFFORT);
            failed += report.failed;
            tell_failures(workload, seed, &report)?;
            ledger.add(workload.name, seed, &report)?;
        }
    }
    say(&ledger.table())?;
    if failed > 0 {
        bail!("{failed} images failed");
    }
    Ok(())
}

fn replay(options: &Options, place: Place) -> Result<()> {
    let [workload] = options.workloads()[..] else {
        bail!("--image needs --workload");
    };
    let recording = workload.record(options.seed);
    let (tree, observed) = replay_image(&recording, options.seed, &EFFORT, place)
        .with_context(|| format!("there is no image {place}"))?;
    for (path, node) in tree.files() {
        say(&format!("{:9} {path}\n", tree.content(node).len()))?;
    }
    match observed {
        Ok(observed) => say(&format!("survived: {observed:?}\n")),
        Err(what) => bail!("{what}"),
    }
}

/// Flips bytes of a log that crashed, then of one that was closed in order.
fn sweep(options: &Options, bytes: usize, is_over: &AtomicBool) -> Result<()> {
    let logs = [false, true].map(|is_closed| Rot::new(bytes, is_closed, options.seed));
    let mut report = RotReport::default();
    let mut next = options.from;
    let end = logs[0].len() + logs[1].len();
    while next < end && !is_over.load(Ordering::Relaxed) {
        match next.checked_sub(logs[0].len()) {
            None => logs[0].flip(next, &mut report),
            Some(byte) => logs[1].flip(byte, &mut report),
        }
        next += 1;
    }
    for (path, byte, bit, what) in &report.failures {
        say(&format!("FAILED: {path}, byte {byte}, bit {bit}: {what}\n"))?;
    }
    say(&format!(
        "{} flips: harmless {}, told at opening {}, by reads {}, opening refused {}, snapshot given up {}\n",
        report.flips,
        report.harmless,
        report.told_at_opening,
        report.told_by_reads,
        report.refused,
        report.snapshots
    ))?;
    if next < end {
        let left = end - next;
        let seed = options.seed;
        say(&format!(
            "{left} are left: --rot {bytes} --seed {seed} --from {next}\n"
        ))?;
    }
    match report.failures.len() {
        0 => Ok(()),
        failed => bail!("{failed} flips were neither found nor harmless"),
    }
}

fn tell_failures(workload: &Workload, seed: u64, report: &UnitReport) -> Result<()> {
    for failure in &report.failures {
        say(&format!(
            "FAILED ({}): {}\n  cargo xtask images --workload {} --seed {seed} --image {}\n",
            failure.kind, failure.what, workload.name, failure.place
        ))?;
    }
    Ok(())
}

/// Becomes true after that time; never without one.
fn alarm(after: Option<Duration>) -> Arc<AtomicBool> {
    let is_over = Arc::new(AtomicBool::new(false));
    if let Some(after) = after {
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let never = Mutex::new(());
            if let Ok(guard) = never.lock() {
                drop(Condvar::new().wait_timeout_while(guard, after, |()| true));
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
    is_over
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
