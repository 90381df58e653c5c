//! The seeds that every run of the tests tries, and the proof that a seed is one run.

use super::*;

/// Runs seeds and says which failed, with what is needed to run them again.
fn check(seeds: std::ops::Range<u64>, options: impl Fn(u64) -> Options) -> Coverage {
    let mut coverage = Coverage::default();
    let mut failed = Vec::new();
    for seed in seeds {
        let report = run(&options(seed));
        coverage.add(&report.coverage);
        failed.extend(
            report
                .failure
                .map(|what| format!("cargo xtask simulate --seed {seed}: {what}")),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    coverage
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let options = Options::of(seed);
        let (first, second) = (run(&options), run(&options));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn copies_that_stand_alone_keep_what_they_promised() {
    check(0..200, |seed| Options::of(seed).alone());
}
