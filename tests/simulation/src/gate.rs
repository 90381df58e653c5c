//! The mutation gate of the simulation: with a rule taken away, some seed fails, and by which invariant.
//!
//! A machine may also stop by itself, which counts: it noticed. Invariant: a mutant is on for one run, on this
//! thread, and nowhere else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_sc_core::rule::{self, Rule};
use tidegate_spu_core::guard::{self, Guard};

pub use crate::mutants::MUTANTS;
use crate::options::Options;
use crate::plant::Plant;
use crate::run::run;

/// A rule that is taken away.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    pub name: &'static str,
    pub machine: &'static [Guard],
    pub control: &'static [Rule],
    pub plant: Option<Plant>,
    pub found: Found,
}

/// Who notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// From this seed on, soon, by what begins with these words.
    From(u64, &'static str),
    /// Nobody: why.
    Never(&'static str),
}

impl Mutant {
    /// Runs a seed without the rule: what failed, if anything did.
    #[must_use]
    pub fn run(&self, seed: u64) -> Option<String> {
        let mut options = Options::of(seed);
        options.plant = self.plant;
        let run = || {
            guard::without(self.machine, || {
                rule::without(self.control, || run(&options).failure)
            })
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(format!("panic: {}", text.unwrap_or_default()))
        })
    }

    /// The first of these seeds that fails.
    pub fn find(&self, seeds: impl IntoIterator<Item = u64>) -> Option<(u64, String)> {
        seeds
            .into_iter()
            .find_map(|seed| Some((seed, self.run(seed)?)))
    }
}
