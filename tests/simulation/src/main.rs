//! Simulates seed after seed: `cargo xtask simulate`.
//!
//! Invariant: what a run prints is enough to run exactly that seed again.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use tidegate_simulation::{Coverage, Options, run, run_aloud, shrink};

const HELP: &str = "\
cargo xtask simulate [--seed N] [--count N] [--without N,N,..] [--alone] [--shrink] [--aloud]

  --seed N       the first seed (0)
  --count N      how many (1)
  --without ..   numbers of faults that are left out
  --alone        one copy of each partition
  --shrink       of seeds that fail, find faults that are not needed for that
  --aloud        print what happens
";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut seed, mut count, mut without) = (0_u64, 1_u64, Vec::new());
    let (mut shrinks, mut is_aloud, mut is_alone) = (false, false, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        match argument.as_str() {
            "--seed" => seed = value()?.parse()?,
            "--count" => count = value()?.parse()?,
            "--without" => {
                for number in value()?.split(',') {
                    without.push(number.parse()?);
                }
            }
            "--alone" => is_alone = true,
            "--shrink" => shrinks = true,
            "--aloud" => is_aloud = true,
            _ => return say(HELP),
        }
    }
    let (mut failed, mut coverage) = (0, Coverage::default());
    let (mut events, mut acknowledged) = (0, 0);
    for seed in seed..seed + count {
        let mut options = Options::of(seed).without(without.iter().copied());
        if is_alone {
            options = options.alone();
        }
        let report = if is_aloud {
            run_aloud(&options)
        } else {
            run(&options)
        };
        for line in &report.said {
            say(&format!("{line}\n"))?;
        }
        coverage.add(&report.coverage);
        events += report.events;
        acknowledged += report.acknowledged;
        if count == 1 {
            let hash = report.trace;
            say(&format!(
                "{options}{} events, {} requests, trace {hash:016x}\n",
                report.events, report.requests
            ))?;
        }
        if let Some(failure) = report.failure {
            failed += 1;
            say(&format!("FAILED seed {seed}: {failure}\n"))?;
            if shrinks {
                let small = shrink(&options);
                let numbers: Vec<String> = small.without.iter().map(ToString::to_string).collect();
                say(&format!(
                    "  --seed {seed} --without {}\n",
                    numbers.join(",")
                ))?;
                let left = small
                    .faults
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| !small.without.contains(at));
                for (at, fault) in left {
                    say(&format!("  {at}: {fault:?}\n"))?;
                }
            }
        }
    }
    say(&coverage.table())?;
    say(&format!(
        "{count} seeds, {events} events, {acknowledged} records acknowledged, {} faults, {failed} failed\n",
        coverage.faults()
    ))?;
    ensure!(failed == 0, "{failed} seeds failed");
    Ok(())
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
