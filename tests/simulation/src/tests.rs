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

/// A quarter of the seeds that every run of the tests tries.
fn quarter(number: u64) {
    let coverage = check(number * 500..(number + 1) * 500, Options::of);
    // What was not reached was not tried.
    let (hit, all) = coverage.cells();
    assert!(hit * 10 >= all * 7, "{}", coverage.table());
    for event in [
        "a follower cuts",
        "a follower resets",
        "a leader ships its snapshot",
        "a disk is lost",
        "a disk goes back in time",
        "a commit loses",
        "an answer of the store is lost",
    ] {
        assert!(coverage.count(event) > 0, "{event}: never");
    }
}

#[test]
fn the_first_quarter_of_the_seeds_keeps_every_promise() {
    quarter(0);
}

#[test]
fn the_second_quarter_of_the_seeds_keeps_every_promise() {
    quarter(1);
}

#[test]
fn the_third_quarter_of_the_seeds_keeps_every_promise() {
    quarter(2);
}

#[test]
fn the_fourth_quarter_of_the_seeds_keeps_every_promise() {
    quarter(3);
}

#[test]
fn copies_that_stand_alone_keep_what_they_promised() {
    check(0..50, |seed| Options::of(seed).alone());
}

/// Clocks of units are up to 25 minutes apart, and leap: a leader that took over forgot by its own wall clock
/// what its predecessor had taken, and took it again (D6, D7).
#[test]
fn no_leader_forgets_what_was_taken_by_its_own_wall_clock() {
    let seeds = [
        50, 94, 113, 117, 138, 182, 261, 269, 400, 415, 530, 565, 572, 652, 654, 661, 662,
    ];
    for seed in seeds {
        let report = run(&Options::of(seed));
        assert_eq!(report.failure, None, "seed {seed}");
    }
}

/// Connections between units break and come back while all of them are there: no append is refused for that (A4).
#[test]
fn who_attaches_again_is_still_in_sync() {
    let coverage = check(0..60, |seed| Options::of(seed).with_breaking_links());
    assert!(coverage.faults() > 300, "{}", coverage.faults());
    assert_eq!(coverage.count("too few copies are attached"), 0);
}

/// A replica whose log fails while its unit lives leads no more, and is not elected again while it fails.
#[test]
fn a_failed_replica_keeps_no_partition_without_a_leader() {
    let coverage = check(0..150, |seed| Options::of(seed).with_failing_replicas());
    for event in [
        "a leader's log fails",
        "all that can be is led beside what failed",
    ] {
        assert!(coverage.count(event) > 20, "{event}: {}", coverage.table());
    }
}

/// Journal, segments, snapshots, cuts and recovery are the real ones, crashed in the middle of what they do.
#[test]
fn units_on_the_real_log_keep_every_promise() {
    let coverage = check(0..100, |seed| Options::of(seed).on_the_log());
    for event in ["a follower cuts", "a disk goes back in time"] {
        assert!(coverage.count(event) > 0, "{event}: never");
    }
    for seed in 0..3 {
        let options = Options::of(seed).on_the_log();
        assert_eq!(run(&options).trace, run(&options).trace, "seed {seed}");
    }
}

/// Found over the real log: a survey waited for ever for proof, though a member of the in-sync set that it was
/// begun without had come back; and a log was judged
/// while the cut of a marker was on its way.
#[test]
fn a_survey_ends_when_a_complete_copy_comes_back() {
    for seed in [849, 1876] {
        let report = run(&Options::of(seed).on_the_log());
        assert_eq!(report.failure, None, "seed {seed}");
    }
}

/// Found over the real log: one without records was read as empty after a restart, though the marker of its
/// epoch stood in it (E4).
#[test]
fn an_idle_partition_keeps_its_epoch() {
    for seed in [15, 240, 246, 272, 297] {
        let report = run(&Options::of(seed).on_the_log());
        assert_eq!(report.failure, None, "seed {seed}");
    }
}

/// Found over the real log: a unit stopped in order between its start after a power loss and its registration,
/// and the mark of that stop passed for a stop before the loss (S2, `interval` topics).
#[test]
fn a_stop_before_the_registration_hides_no_power_loss() {
    let report = run(&Options::of(137).on_the_log());
    assert_eq!(report.failure, None);
}

/// Found by the survey of partitions: a unit whose disk was replaced said that its empty copy was intact, and
/// was counted among those of which one must have what was committed (L3, S3).
#[test]
fn a_survey_does_not_count_copies_that_lost_their_disk() {
    for seed in [794, 2335, 3064, 3087] {
        let report = run(&Options::of(seed));
        assert_eq!(report.failure, None, "seed {seed}");
    }
}

/// A frozen controller that had a registration of a process before the last in its sockets took it for a
/// disk that went back: the connection had gone with that process, and so has its request.
#[test]
fn a_registration_goes_with_the_process_that_asked_for_it() {
    let report = run(&Options::of(8239));
    assert_eq!(report.failure, None);
}

/// Who lowers `min_in_sync` while a copy is lost allows more to be lost than was: a survey then needs all copies,
/// of which one does not count, and only an operator who gives it up or accepts a loss ends it (L3).
#[test]
fn min_in_sync_is_not_lowered_while_a_copy_is_lost() {
    for seed in [9269, 14199, 14274, 16164] {
        let report = run(&Options::of(seed));
        assert_eq!(report.failure, None, "seed {seed}");
    }
}

/// A disk that is put back within one registration is one that lies, and no fault that is to be found (S2).
#[test]
fn a_disk_goes_back_only_beyond_its_registration() {
    let report = run(&Options::of(5340));
    assert_eq!(report.failure, None);
}

/// A rule that is taken away, or broken by a shell, is noticed, and by the invariant that it serves.
#[test]
fn what_is_broken_on_purpose_is_noticed_by_name() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutant in gate::MUTANTS {
        let gate::Found::From(seed, words) = mutant.found else {
            continue;
        };
        // Seeds are those that notice soon; should a change of the machines move them, others are tried.
        let found = mutant.find((seed..seed + 3).chain(0..60));
        let is_it = found
            .as_ref()
            .is_some_and(|(_, told)| told.starts_with(words));
        if !is_it {
            missed.push((mutant.name, words, found));
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Which invariants some mutant is noticed by; 9 and 10 are tried by themselves (`truth`).
#[test]
fn every_invariant_that_is_watched_is_the_one_that_notices_something() {
    let names = [
        "1 ", "2 ", "3 ", "4 ", "5 ", "7 ", "8 ", "12 ", "18 ", "21 ", "history", "Breach", "alarm",
    ];
    for name in names {
        let notices = |mutant: &&gate::Mutant| matches!(mutant.found, gate::Found::From(_, words) if words.starts_with(name));
        assert!(
            gate::MUTANTS.iter().any(|mutant| notices(&mutant)),
            "{name}"
        );
    }
}

#[test]
fn every_rule_that_nobody_misses_says_why() {
    for mutant in gate::MUTANTS {
        if let gate::Found::Never(why) = mutant.found {
            assert!(why.len() > 20, "{}", mutant.name);
        }
    }
}
