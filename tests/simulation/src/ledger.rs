//! The account of seeds that ran: a line for each, in a file that later runs go on with.
//!
//! ```text
//! simulation <trace of seed 0>
//! seed <number> trace <hash> events <n> acknowledged <n> faults <n> ok|failed <what was reached>
//! ```
//! Invariant: a file is of one state of the program, told by the trace of seed 0, and holds a seed once.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tidegate_simulation::{Coverage, Options, Report, run};

/// Sums over seeds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    file: Option<File>,
    seeds: BTreeSet<u64>,
    pub(crate) events: u64,
    pub(crate) acknowledged: u64,
    pub(crate) faults: u64,
    pub(crate) failed: u64,
    /// What all of them reached.
    pub(crate) coverage: Coverage,
}

impl Ledger {
    /// Reads the file, if there is one, and goes on with it.
    /// `first` is seed 0 as these runs have it.
    pub(crate) fn open(path: Option<&Path>, first: &Options) -> Result<Self> {
        let mut ledger = Self::default();
        let Some(path) = path else { return Ok(ledger) };
        let head = format!("simulation {:016x}", run(first).trace);
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| path.display().to_string())?,
        };
        for (number, line) in text.lines().enumerate() {
            let at = || format!("{}, line {}", path.display(), number + 1);
            if number == 0 {
                ensure!(
                    line == head,
                    "{}: it is of another state of the program",
                    at()
                );
            } else {
                ledger.line(line).with_context(at)?;
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if text.is_empty() {
            writeln!(file, "{head}")?;
        } else if !text.ends_with('\n') {
            bail!("{}: the last line is not whole: remove it", path.display());
        }
        ledger.file = Some(file);
        Ok(ledger)
    }

    pub(crate) fn has(&self, seed: u64) -> bool {
        self.seeds.contains(&seed)
    }

    pub(crate) fn seeds(&self) -> usize {
        self.seeds.len()
    }

    pub(crate) fn add(&mut self, seed: u64, report: &Report) -> Result<()> {
        let outcome = if report.failure.is_some() {
            "failed"
        } else {
            "ok"
        };
        let line = format!(
            "seed {seed} trace {:016x} events {} acknowledged {} faults {} {outcome} {}",
            report.trace,
            report.events,
            report.acknowledged,
            report.coverage.faults(),
            report.coverage.word()
        );
        self.line(&line)?;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            "seed",
            seed,
            "trace",
            _,
            "events",
            events,
            "acknowledged",
            acknowledged,
            "faults",
            faults,
            outcome,
            reached,
        ] = words[..]
        else {
            bail!("not a seed");
        };
        ensure!(
            self.seeds.insert(seed.parse()?),
            "the seed stands there twice"
        );
        let reached = Coverage::of_word(reached).context("not what was reached")?;
        self.coverage.add(&reached);
        self.events += events.parse::<u64>()?;
        self.acknowledged += acknowledged.parse::<u64>()?;
        self.faults += faults.parse::<u64>()?;
        self.failed += u64::from(outcome != "ok");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_or_are_refused() {
        let mut ledger = Ledger::default();
        let line = "seed 7 trace 00 events 10 acknowledged 3 faults 2 ok f0=2;c0.10=2;ea_unit_begins_again=3;";
        ledger.line(line).unwrap();
        ledger
            .line("seed 8 trace 00 events 1 acknowledged 1 faults 1 failed f0=1;")
            .unwrap();
        assert!(ledger.has(7) && !ledger.has(9));
        assert_eq!((ledger.seeds(), ledger.events, ledger.failed), (2, 11, 1));
        assert_eq!(ledger.coverage.faults(), 3);
        assert_eq!(ledger.coverage.count("a unit begins again"), 3);
        let word = ledger.coverage.word();
        assert_eq!(Coverage::of_word(&word), Some(ledger.coverage.clone()));
        assert!(ledger.line(line).is_err(), "twice");
        assert!(
            ledger
                .line("seed 9 trace 00 events x acknowledged 1 faults 1 ok f0=1;")
                .is_err()
        );
    }
}
