//! The mutation gate in the suite: without a guard something breaks, and the model finds it.
//!
//! Seeds are those from which it is found soon; should a change of the machines move it, others are tried.

use tidegate_model::gate::{Found, MUTANTS};
use tidegate_model::model::Search;

#[test]
fn without_any_guard_that_is_needed_alone_something_breaks() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let Found::From(seed) = mutant.found else {
            continue;
        };
        let mut search = Search::of(mutant.scope).without(mutant.removed);
        search.heals_every = 1;
        let soon = search.walk(seed, 60).broken;
        let found = soon.or_else(|| search.walk(0, 6_000).broken);
        if found.is_none() {
            missed.push(mutant.name);
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "nothing breaks without {missed:?}");
}

#[test]
fn every_guard_that_nothing_refutes_alone_says_why() {
    for mutant in MUTANTS {
        if let Found::Never(why) = mutant.found {
            assert!(why.len() > 20, "{}", mutant.name);
        }
    }
    let killed = MUTANTS
        .iter()
        .filter(|mutant| matches!(mutant.found, Found::From(_)));
    assert!(killed.count() >= 18);
}
