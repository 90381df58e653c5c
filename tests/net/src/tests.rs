//! The seeds that every run of the tests tries, and what a seed repeats.

use super::*;

/// Runs seeds and says which failed, with what is needed to run them again.
fn check(seeds: std::ops::Range<u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        let report = run(&Options::of(seed));
        failed.extend(
            report
                .failure
                .map(|what| format!("cargo xtask net-sim --seed {seed}: {what}")),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn without_faults_all_that_is_written_is_on_every_copy() {
    let report = run(&Options::calm(0));
    assert_eq!(report.failure, None);
    assert!(report.acknowledged > 100 && report.read > 100, "{report:?}");
    assert_eq!((report.lives, report.exclusions), (3, 0));
}

#[test]
fn the_first_ten_seeds_keep_every_promise() {
    check(0..10);
}

#[test]
fn the_next_ten_seeds_keep_every_promise() {
    check(10..20);
}

#[test]
fn a_seed_repeats_its_faults() {
    let options = Options::of(3);
    assert_eq!(options, Options::of(3));
    let (first, second) = (run(&options), run(&options));
    assert_eq!(first.said, second.said);
}
