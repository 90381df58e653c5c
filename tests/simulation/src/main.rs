//! Simulates seed after seed: `cargo xtask simulate`.
//!
//! Invariant: what a run prints is enough to run exactly that seed again.

mod ledger;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ledger::Ledger;
use tidegate_simulation::gate::{Found, MUTANTS};
use tidegate_simulation::{Options, run, run_aloud, shrink};

const HELP: &str = "\
cargo xtask simulate [--seed N] [--count N] [--without N,N,..] [--alone] [--log] [--shrink] [--aloud]
                     [--resume FILE] [--gate]

  --seed N       the first seed (0)
  --count N      how many (1)
  --without ..   numbers of faults that are left out
  --alone        one copy of each partition
  --log          the real log under each unit
  --shrink       of seeds that fail, find faults that are not needed for that
  --aloud        print what happens
  --gate         each rule taken away in turn: the first seed that fails, and by what
  --resume FILE  seeds that the file has are not run again; the others are added to it
";

#[derive(Debug, Default)]
struct Arguments {
    seed: u64,
    count: u64,
    without: Vec<usize>,
    is_alone: bool,
    is_on_the_log: bool,
    shrinks: bool,
    is_aloud: bool,
    is_help: bool,
    is_gate: bool,
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
                "--log" => found.is_on_the_log = true,
                "--alone" => found.is_alone = true,
                "--shrink" => found.shrinks = true,
                "--gate" => found.is_gate = true,
                "--aloud" => found.is_aloud = true,
                _ => found.is_help = true,
            }
        }
        Ok(found)
    }

    fn options(&self, seed: u64) -> Options {
        let mut options = Options::of(seed).without(self.without.iter().copied());
        options.is_on_the_log = self.is_on_the_log;
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
    if arguments.is_gate {
        return gate(&arguments);
    }
    let mut ledger = Ledger::open(arguments.resume.as_deref(), &arguments.options(0))?;
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
        say(&ledger.coverage.table())?;
    }
    let (count, failed) = (ledger.seeds(), ledger.failed);
    say(&format!(
        "{count} seeds, {} events, {} requests acknowledged, {} faults, {failed} failed\n",
        ledger.events, ledger.acknowledged, ledger.faults
    ))?;
    ensure!(failed == 0, "{failed} seeds failed");
    Ok(())
}

/// Each mutant by itself, from the first seed on.
fn gate(arguments: &Arguments) -> Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let (mut killed, mut missed) = (0, Vec::new());
    for mutant in MUTANTS {
        let seeds = arguments.seed..arguments.seed + arguments.count;
        let line = match mutant.find(seeds) {
            Some((seed, failure)) => {
                killed += 1;
                let words = failure.split(':').next().unwrap_or_default();
                format!("{:24} seed {seed:>5}: {words}\n", mutant.name)
            }
            None => {
                if matches!(mutant.found, Found::From(..)) {
                    missed.push(mutant.name);
                }
                format!("{:24} -\n", mutant.name)
            }
        };
        say(&line)?;
    }
    let count = arguments.count;
    say(&format!(
        "{killed} of {} mutants noticed within {count} seeds\n",
        MUTANTS.len()
    ))?;
    ensure!(missed.is_empty(), "not noticed any more: {missed:?}");
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
