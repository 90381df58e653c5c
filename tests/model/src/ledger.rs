//! The account of what was searched: a line for each slice, in a file that later runs go on with.
//!
//! ```text
//! model <steps of a slice>
//! slice <scope> <order> states <n> steps <n> depth <n> broken <0 or 1>
//! ```
//! Beside it, in `.sketch`, stands which states were met, so that distinct ones are counted over all runs.
//! Invariant: no slice stands there twice, and none has more states than steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tidegate_model::model::Report;
use tidegate_model::sketch::Sketch;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    path: Option<PathBuf>,
    slices: BTreeSet<(String, u64)>,
    by_scope: BTreeMap<String, Sums>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    slices: u64,
    states: u64,
    steps: u64,
    depth: u64,
    broken: u64,
}

impl Ledger {
    /// Reads the file, if there is one, and checks that it adds up.
    pub(crate) fn open(path: Option<&Path>, steps: usize, sketch: &Sketch) -> Result<Self, String> {
        let mut ledger = Self::default();
        let Some(path) = path else { return Ok(ledger) };
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let head = format!("model {steps}");
        match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::write(path, head + "\n").map_err(told)?;
            }
            Err(error) => return Err(told(error)),
            Ok(text) => {
                let mut lines = text.lines();
                if lines.next() != Some(&head) || !text.ends_with('\n') {
                    return Err(format!("{}: it is of other slices", path.display()));
                }
                for line in lines {
                    ledger.line(line)?;
                }
                let met = fs::read(path.with_extension("sketch")).map_err(told)?;
                if !ledger.slices.is_empty() && !sketch.merge(&met) {
                    return Err(format!("{}: its sketch is not whole", path.display()));
                }
            }
        }
        ledger.path = Some(path.to_owned());
        Ok(ledger)
    }

    pub(crate) fn has(&self, scope: &str, order: u64) -> bool {
        self.slices.contains(&(scope.to_owned(), order))
    }

    /// States of all slices; each slice counts its own once.
    pub(crate) fn states(&self) -> u64 {
        self.by_scope.values().map(|sums| sums.states).sum()
    }

    pub(crate) fn add(
        &mut self,
        scope: &str,
        order: u64,
        report: &Report,
        sketch: &Sketch,
    ) -> Result<(), String> {
        let line = format!(
            "slice {scope} {order} states {} steps {} depth {} broken {}",
            report.states,
            report.steps,
            report.depth,
            u8::from(report.broken.is_some())
        );
        self.line(&line)?;
        if let Some(path) = &self.path {
            let told = |error: std::io::Error| format!("{}: {error}", path.display());
            fs::write(path.with_extension("sketch"), sketch.bytes()).map_err(told)?;
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(path)
                .map_err(told)?;
            writeln!(file, "{line}").map_err(told)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let bad = |what: &str| Err(format!("{what}: {line}"));
        let words: Vec<&str> = line.split(' ').collect();
        let [
            "slice",
            scope,
            order,
            "states",
            states,
            "steps",
            steps,
            "depth",
            depth,
            "broken",
            broken,
        ] = words[..]
        else {
            return bad("not a slice");
        };
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("no number: {line}"))
        };
        let sums = Sums {
            slices: 1,
            states: number(states)?,
            steps: number(steps)?,
            depth: number(depth)?,
            broken: number(broken)?,
        };
        // The first state is there without a step.
        if sums.states > sums.steps + 1 || sums.broken > 1 {
            return bad("it does not add up");
        }
        if !self.slices.insert((scope.to_owned(), number(order)?)) {
            return bad("the slice stands there twice");
        }
        self.by_scope.entry(scope.to_owned()).or_default().add(sums);
        Ok(())
    }

    /// Sums by scope.
    pub(crate) fn table(&self, sketch: &Sketch) -> String {
        let mut text = format!(
            "{:10} {:>6} {:>11} {:>12} {:>5} {:>6}\n",
            "scope", "slices", "states", "steps", "depth", "broken"
        );
        let mut total = Sums::default();
        for (scope, sums) in &self.by_scope {
            text += &sums.row(scope);
            total.add(*sums);
        }
        text += &total.row("all");
        text + &format!(
            "about {:.0} of these states are different ones\n",
            sketch.distinct()
        )
    }
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.slices += other.slices;
        self.states += other.states;
        self.steps += other.steps;
        self.depth = self.depth.max(other.depth);
        self.broken += other.broken;
    }

    fn row(&self, name: &str) -> String {
        format!(
            "{name:10} {:>6} {:>11} {:>12} {:>5} {:>6}\n",
            self.slices, self.states, self.steps, self.depth, self.broken
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_or_are_refused() {
        let line = "slice sets 4 states 90 steps 100 depth 7 broken 0";
        let mut ledger = Ledger::default();
        ledger.line(line).unwrap();
        assert!(ledger.has("sets", 4) && !ledger.has("sets", 5));
        assert_eq!(ledger.states(), 90);
        assert!(ledger.line(line).is_err(), "twice");
        for bad in [
            "slice sets 5 states 102 steps 100 depth 7 broken 0",
            "slice sets x states 90 steps 100 depth 7 broken 0",
            "slice sets 6 states 90 steps 100 depth 7",
            "what",
        ] {
            assert!(ledger.line(bad).is_err(), "{bad}");
        }
    }
}
