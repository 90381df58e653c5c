//! The account of what faults met: a cell for each kind of fault and each state of the protocol in which it
//! hit a replica.
//!
//! A cell that was never reached is a case that was never tried; they are printed by name.

use std::collections::BTreeMap;

use crate::fault::FaultKind;

/// States in which a fault may find what it hits.
pub const STATES: [&str; 12] = [
    "leading, idle",
    "leading, requests wait",
    "leading, a proposal is open",
    "leading, a follower is behind",
    "about to lead",
    "following, in sync",
    "following, behind",
    "attaching",
    "truncating",
    "not assigned yet",
    "no process",
    "other fault on it",
];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    cells: BTreeMap<(FaultKind, &'static str), u64>,
    /// What else was reached, by name.
    events: BTreeMap<String, u64>,
    faults: BTreeMap<FaultKind, u64>,
}

impl Coverage {
    pub(crate) fn hit(&mut self, fault: FaultKind, states: impl IntoIterator<Item = &'static str>) {
        *self.faults.entry(fault).or_default() += 1;
        for state in states {
            *self.cells.entry((fault, state)).or_default() += 1;
        }
    }

    pub(crate) fn reached(&mut self, what: &'static str) {
        *self.events.entry(what.to_owned()).or_default() += 1;
    }

    /// Adds another run's account.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.cells {
            *self.cells.entry(*cell).or_default() += count;
        }
        for (event, count) in &other.events {
            *self.events.entry(event.clone()).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    /// Faults in all.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// How often that was reached.
    #[must_use]
    pub fn count(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }

    /// Cells that were reached, and cells that there are.
    #[must_use]
    pub fn cells(&self) -> (usize, usize) {
        let hit = unit_faults().flat_map(|fault| STATES.map(|state| (fault, state)));
        let hit = hit.filter(|cell| self.cells.contains_key(cell)).count();
        (hit, unit_faults().count() * STATES.len())
    }

    /// The account as one word, for a line of a file.
    #[must_use]
    pub fn word(&self) -> String {
        let place = |fault: &FaultKind| FaultKind::ALL.iter().position(|at| at == fault);
        let mut word = String::new();
        for (fault, count) in &self.faults {
            word += &format!("f{}={count};", place(fault).unwrap_or_default());
        }
        for ((fault, state), count) in &self.cells {
            let state = STATES.iter().position(|at| at == state).unwrap_or_default();
            word += &format!("c{}.{state}={count};", place(fault).unwrap_or_default());
        }
        for (event, count) in &self.events {
            word += &format!("e{}={count};", event.replace(' ', "_"));
        }
        word
    }

    /// The account that such a word tells; none when it is no such word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let fault = |text: &str| FaultKind::ALL.get(text.parse::<usize>().ok()?).copied();
        let mut found = Self::default();
        for part in word.split_terminator(';') {
            let (name, count) = part.split_once('=')?;
            let count: u64 = count.parse().ok()?;
            let rest = name.get(1..)?;
            match name.get(..1)? {
                "f" => drop(found.faults.insert(fault(rest)?, count)),
                "c" => {
                    let (of, state) = rest.split_once('.')?;
                    let state = STATES.get(state.parse::<usize>().ok()?)?;
                    found.cells.insert((fault(of)?, state), count);
                }
                "e" => drop(found.events.insert(rest.replace('_', " "), count)),
                _ => return None,
            }
        }
        Some(found)
    }

    /// The whole account, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (fault, count) in &self.faults {
            text += &format!("{:22} {count:>9}\n", format!("{fault:?}"));
        }
        for (event, count) in &self.events {
            text += &format!("{event}: {count}\n");
        }
        let (hit, all) = self.cells();
        text += &format!("cells reached: {hit} of {all}; never:\n");
        for fault in unit_faults() {
            let missing = STATES
                .iter()
                .filter(|state| !self.cells.contains_key(&(fault, state)));
            let missing: Vec<&str> = missing.copied().collect();
            if !missing.is_empty() {
                text += &format!("  {fault:?}: {}\n", missing.join("; "));
            }
        }
        text
    }
}

/// Faults that hit a storage unit, or everybody: those find it in a state.
fn unit_faults() -> impl Iterator<Item = FaultKind> {
    FaultKind::ALL.into_iter()
}
