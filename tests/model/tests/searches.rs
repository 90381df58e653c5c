//! The searches that every run of the suite makes: 200,000 states breadth first, and walks beyond them.
//!
//! `cargo xtask model` makes the same ones longer.

use tidegate_model::model::Search;
use tidegate_model::scope::Scope;
use tidegate_model::scopes;

/// Steps of the search of one scope: about half of them come to states that are known.
const STEPS: usize = 34_000;
/// States that the searches of all scopes come to, at least.
const STATES_MIN: usize = 200_000;
/// Walks of one scope, each with everything at rest in the end.
const WALKS: u64 = 60;
/// One state of so many is healed.
const HEALS_EVERY: u64 = 512;

fn quietly<T>(run: impl FnOnce() -> T) -> T {
    // An assertion of a machine is told as what was found.
    std::panic::set_hook(Box::new(|_| {}));
    let result = run();
    let _ = std::panic::take_hook();
    result
}

#[test]
fn nothing_breaks_in_two_hundred_thousand_states_around_a_cluster_that_is_up() {
    let search = |scope: &Scope| {
        let mut search = Search::of(*scope);
        search.heals_every = HEALS_EVERY;
        let report = search.run(STEPS);
        (scope.name, report)
    };
    let reports = quietly(|| scopes::ALL.each_ref().map(search));
    for (scope, report) in &reports {
        assert_eq!(report.broken, None, "{scope}");
    }
    let states: usize = reports.iter().map(|(_, report)| report.states).sum();
    assert!(states >= STATES_MIN, "{states} states");
}

#[test]
fn nothing_breaks_on_long_ways_and_everything_comes_to_rest_after_them() {
    let walk = |scope: &Scope| {
        let mut search = Search::of(*scope);
        search.heals_every = 1;
        (scope.name, search.walk(1_000_000, WALKS).broken)
    };
    for (scope, broken) in quietly(|| scopes::ALL.each_ref().map(walk)) {
        assert_eq!(broken, None, "{scope}");
    }
}
