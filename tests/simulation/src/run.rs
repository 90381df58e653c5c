//! Runs of one seed, and the way to a smaller run that fails as well.

use crate::coverage::Coverage;
use crate::options::Options;
use crate::world::World;

/// What a run was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash over everything that happened: equal for equal runs.
    pub trace: u64,
    pub events: u64,
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Requests that clients made.
    pub requests: u64,
    pub coverage: Coverage,
    /// What went wrong.
    pub failure: Option<String>,
    /// What nodes said, when asked for.
    pub said: Vec<String>,
}

/// Runs what the options say.
#[must_use]
pub fn run(options: &Options) -> Report {
    play(options, false)
}

/// The same, and tells what happens.
#[must_use]
pub fn run_aloud(options: &Options) -> Report {
    play(options, true)
}

fn play(options: &Options, is_loud: bool) -> Report {
    let mut world = World::new(options.clone(), is_loud);
    let trace = world.run();
    Report {
        trace,
        events: world.events,
        acknowledged: world.history.acknowledged,
        requests: world.history.requests,
        coverage: std::mem::take(&mut world.coverage),
        failure: world.failure.take(),
        said: std::mem::take(&mut world.said),
    }
}

/// Leaves faults out, one after the other, as long as the run fails with the same first words.
#[must_use]
pub fn shrink(options: &Options) -> Options {
    let Some(failure) = run(options).failure else {
        return options.clone();
    };
    let name = first_words(&failure).to_owned();
    let mut best = options.clone();
    let mut chunk = (options.faults.len() / 2).max(1);
    loop {
        let left: Vec<usize> = (0..best.faults.len())
            .filter(|at| !best.without.contains(at))
            .collect();
        let mut is_smaller = false;
        for some in left.chunks(chunk) {
            let less = best.without(some.iter().copied());
            let failed = run(&less).failure;
            if failed.is_some_and(|failure| first_words(&failure) == name) {
                best = less;
                is_smaller = true;
            }
        }
        if chunk == 1 && !is_smaller {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

fn first_words(failure: &str) -> &str {
    failure.split(':').next().unwrap_or(failure)
}
