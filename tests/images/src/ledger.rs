//! The account of what was booted: a line for each unit, in a file that later runs go on with.
//!
//! ```text
//! effort <per moment> <random> <second crash every> <per second moment>
//! unit <workload> <seed> moments <n> boots <n> images <n> failed <n> [<kind> <n>]..
//! ```
//! Invariant: the kinds of a line add up to its images; a file where they do not is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tidegate_log::images::{Effort, Kind, UnitReport};

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    file: Option<File>,
    units: BTreeSet<(String, u64)>,
    by_workload: BTreeMap<String, Sums>,
}

#[derive(Debug, Default, Clone)]
struct Sums {
    units: u64,
    moments: u64,
    boots: u64,
    images: u64,
    failed: u64,
    by_kind: BTreeMap<String, u64>,
}

impl Ledger {
    /// Reads the file, if there is one, and checks that it adds up.
    pub(crate) fn open(path: Option<&Path>, effort: &Effort) -> Result<Self> {
        let mut ledger = Self::default();
        let Some(path) = path else { return Ok(ledger) };
        let head = format!(
            "effort {} {} {} {}",
            effort.per_moment, effort.random, effort.second_crash_every, effort.per_second_moment
        );
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| path.display().to_string())?,
        };
        for (number, line) in text.lines().enumerate() {
            let at = || format!("{}, line {}", path.display(), number + 1);
            if number == 0 {
                ensure!(line == head, "{}: it is of another effort", at());
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

    pub(crate) fn has(&self, workload: &str, seed: u64) -> bool {
        self.units.contains(&(workload.to_owned(), seed))
    }

    /// Distinct images so far. Those of different units differ: each seed has its own storage id.
    pub(crate) fn images(&self) -> u64 {
        self.by_workload.values().map(|sums| sums.images).sum()
    }

    pub(crate) fn add(&mut self, workload: &str, seed: u64, report: &UnitReport) -> Result<()> {
        let mut line = format!(
            "unit {workload} {seed} moments {} boots {} images {} failed {}",
            report.moments,
            report.boots,
            report.distinct(),
            report.failed
        );
        for (kind, count) in &report.images {
            line += &format!(" {kind} {count}");
        }
        self.line(&line)?;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    /// Counts by workload and kind.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:14} {:>6} {:>9}", "workload", "seeds", "images");
        for kind in Kind::ALL {
            text += &format!(" {:>12}", kind.word());
        }
        text += &format!(" {:>9} {:>6}\n", "boots", "failed");
        let mut total = Sums::default();
        for (workload, sums) in &self.by_workload {
            text += &sums.row(workload);
            total.add(sums);
        }
        text + &total.row("all")
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["unit", workload, seed, rest @ ..] = &words[..] else {
            bail!("not a unit");
        };
        let mut sums = Sums {
            units: 1,
            ..Sums::default()
        };
        for pair in rest.chunks(2) {
            let [name, count] = pair else {
                bail!("{} has no number", pair[0]);
            };
            let count: u64 = count.parse()?;
            match *name {
                "moments" => sums.moments = count,
                "boots" => sums.boots = count,
                "images" => sums.images = count,
                "failed" => sums.failed = count,
                kind => drop(sums.by_kind.insert(kind.to_owned(), count)),
            }
        }
        let kinds: u64 = sums.by_kind.values().sum();
        ensure!(
            kinds == sums.images,
            "it does not add up: {} images, {kinds} by kind",
            sums.images
        );
        ensure!(
            self.units.insert(((*workload).to_owned(), seed.parse()?)),
            "the unit stands there twice"
        );
        let known = self.by_workload.entry((*workload).to_owned()).or_default();
        known.add(&sums);
        Ok(())
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.moments += other.moments;
        self.boots += other.boots;
        self.images += other.images;
        self.failed += other.failed;
        for (kind, count) in &other.by_kind {
            *self.by_kind.entry(kind.clone()).or_default() += count;
        }
    }

    fn row(&self, name: &str) -> String {
        let mut text = format!("{name:14} {:>6} {:>9}", self.units, self.images);
        for kind in Kind::ALL {
            let count = self.by_kind.get(kind.word()).copied().unwrap_or(0);
            text += &format!(" {count:>12}");
        }
        text + &format!(" {:>9} {:>6}\n", self.boots, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EFFORT;

    const LINE: &str = "unit cut 4 moments 9 boots 8 images 7 failed 0 kill 3 lost 4";

    #[test]
    fn lines_add_up_or_are_refused() {
        let mut ledger = Ledger::default();
        ledger.line(LINE).unwrap();
        assert!(ledger.has("cut", 4) && !ledger.has("cut", 5));
        assert_eq!(ledger.images(), 7);
        assert!(ledger.line(LINE).is_err(), "twice");
        for bad in [
            "unit cut 5 moments 9 boots 8 images 8 failed 0 kill 3 lost 4",
            "unit cut x images 0",
            "unit cut 6 images",
            "what",
        ] {
            assert!(ledger.line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_unit_that_ran_is_found_in_the_file_and_not_run_again() {
        let path = std::env::temp_dir().join(format!("tidegate-ledger-{}", std::process::id()));
        let seed = 3;
        let workload = &tidegate_log::images::WORKLOADS[0];
        let report = tidegate_log::images::run_unit(&workload.record(seed), seed, &EFFORT);
        assert_eq!(report.failed, 0, "{:?}", report.failures);
        let mut ledger = Ledger::open(Some(&path), &EFFORT).unwrap();
        ledger.add(workload.name, seed, &report).unwrap();
        let again = Ledger::open(Some(&path), &EFFORT).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(again.has(workload.name, seed));
        assert_eq!(again.table(), ledger.table());
        assert_eq!(again.images(), report.distinct());
    }
}
