//! Simulates seed after seed: `cargo xtask simulate`.
//!
//! Invariant: what a run prints is enough to run exactly that seed again.

mod ledger;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ledger::Ledger;
use tidegate_simulation::{Coverage, Options, run, run_aloud, shrink};

const HELP: &str = "\
cargo xtask simulate [--seed N] [--count N] [--without N,N,..] [--alone] [--shrink] [--aloud]
                     [--resume FILE]

  --seed N       the first seed (0)
  --count N      how many (1)
  --without ..   numbers of faults that are left out
  --alone        one copy of each partition
  --shrink       of seeds that fail, find faults that are not needed for that
  --aloud        print what happens
  --resume FILE  seeds that the file has are not run again; the others are added to it
";

#[derive(Debug, Default)]
struct Arguments {
    seed: u64,
    count: u64,
    without: Vec<usize>,
    is_alone: bool,
    shrinks: bool,
    is_aloud: bool,
    is_help: bool,
    resume: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut found = Self {
            count: 1,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().context("a value is missing");
            match word.as_str() {
                "--seed" => found.seed = value()?.parse()?,
                "--count" => found.count = value()?.parse()?,
                "--without" => {
                    for number in value()?.split(',') {
                        found.without.push(number.parse()?);
                    }
                }
                "--resume" => found.resume = Some(value()?.into()),
                "--alone" => found.is_alone = true,
                "--shrink" => found.shrinks = true,
                "--aloud" => found.is_aloud = true,
                _ => found.is_help = true,
            }
        }
        Ok(found)
    }

    fn options(&self, seed: u64) -> Options {
        let options = Options::of(seed).without(self.without.iter().copied());
        if self.is_alone {
            options.alone()
        } else {
            options
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.is_help {
        return say(HELP);
    }
    let mut ledger = Ledger::open(arguments.resume.as_deref())?;
    let mut coverage = Coverage::default();
    for seed in arguments.seed..arguments.seed + arguments.count {
        if ledger.has(seed) {
            continue;
        }
        let options = arguments.options(seed);
        let report = if arguments.is_aloud {
            run_aloud(&options)
        } else {
            run(&options)
        };
        for line in &report.said {
            say(&format!("{line}\n"))?;
        }
        coverage.add(&report.coverage);
        ledger.add(seed, &report)?;
        if arguments.count == 1 {
            say(&format!(
                "{options}{} events, {} requests, trace {:016x}\n",
                report.events, report.requests, report.trace
            ))?;
        }
        if let Some(failure) = report.failure {
            say(&format!("FAILED seed {seed}: {failure}\n"))?;
            if arguments.shrinks {
                tell_smaller(&options)?;
            }
        }
    }
    if arguments.count > 1 {
        say(&coverage.table())?;
    }
    let (count, failed) = (ledger.seeds(), ledger.failed);
    say(&format!(
        "{count} seeds, {} events, {} requests acknowledged, {} faults, {failed} failed\n",
        ledger.events, ledger.acknowledged, ledger.faults
    ))?;
    ensure!(failed == 0, "{failed} seeds failed");
    Ok(())
}

fn tell_smaller(options: &Options) -> Result<()> {
    let small = shrink(options);
    let numbers: Vec<String> = small.without.iter().map(ToString::to_string).collect();
    say(&format!(
        "  --seed {} --without {}\n",
        small.seed,
        numbers.join(",")
    ))?;
    for (at, fault) in small.faults.iter().enumerate() {
        if !small.without.contains(&at) {
            say(&format!("  {at}: {fault:?}\n"))?;
        }
    }
    Ok(())
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
