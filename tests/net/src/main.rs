//! Runs seed after seed: `cargo xtask net-sim`.
//!
//! Invariant: what a run prints is enough to run exactly that seed again.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tidegate_net_sim::{Options, Report, run};

const HELP: &str = "\
cargo xtask net-sim [--seed N] [--count N] [--resume FILE]

  --seed N       the first seed (0)
  --count N      how many (1)
  --resume FILE  seeds that the file has are not run again; the others are added to it
";

#[derive(Debug, Default)]
struct Arguments {
    seed: u64,
    count: u64,
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
                "--resume" => found.resume = Some(value()?.into()),
                _ => found.is_help = true,
            }
        }
        Ok(found)
    }
}

/// A line for each seed that ran.
#[derive(Debug, Default)]
struct Ledger {
    file: Option<File>,
    seeds: BTreeSet<u64>,
    failed: Vec<u64>,
    acknowledged: u64,
}

impl Ledger {
    fn open(path: Option<&Path>) -> Result<Self> {
        let mut ledger = Self::default();
        let Some(path) = path else { return Ok(ledger) };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| path.display().to_string())?,
        };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let ["seed", seed, "acknowledged", acknowledged, outcome] = words[..] else {
                anyhow::bail!("{}: not a seed: {line}", path.display());
            };
            let (seed, acknowledged) = (seed.parse()?, acknowledged.parse()?);
            ledger.count(seed, acknowledged, outcome == "ok");
        }
        ledger.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(ledger)
    }

    fn count(&mut self, seed: u64, acknowledged: u64, is_good: bool) {
        self.seeds.insert(seed);
        self.acknowledged += acknowledged;
        if !is_good {
            self.failed.push(seed);
        }
    }

    fn add(&mut self, seed: u64, report: &Report) -> Result<()> {
        let is_good = report.failure.is_none();
        self.count(seed, report.acknowledged, is_good);
        if let Some(file) = &mut self.file {
            let outcome = if is_good { "ok" } else { "failed" };
            let acknowledged = report.acknowledged;
            writeln!(file, "seed {seed} acknowledged {acknowledged} {outcome}")?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.is_help {
        return say(HELP);
    }
    let mut ledger = Ledger::open(arguments.resume.as_deref())?;
    for seed in arguments.seed..arguments.seed + arguments.count {
        if ledger.seeds.contains(&seed) {
            continue;
        }
        let options = Options::of(seed);
        let report = run(&options);
        ledger.add(seed, &report)?;
        if arguments.count == 1 || report.failure.is_some() {
            say(&format!("{options}{}\n", report.said.join("\n")))?;
        }
        say(&format!(
            "seed {seed}: {} acknowledged, {} read, {} B, {} connections, {} lives, {} exclusions, {} ms\n",
            report.acknowledged,
            report.read,
            report.bytes,
            report.connections,
            report.lives,
            report.exclusions,
            report.took_ms
        ))?;
        if let Some(failure) = report.failure {
            say(&format!("FAILED seed {seed}: {failure}\n"))?;
        }
    }
    say(&format!(
        "{} seeds, {} requests acknowledged, {} failed\n",
        ledger.seeds.len(),
        ledger.acknowledged,
        ledger.failed.len()
    ))?;
    ensure!(
        ledger.failed.is_empty(),
        "seeds failed: {:?}",
        ledger.failed
    );
    Ok(())
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
