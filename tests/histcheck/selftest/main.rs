//! The checker tested: a thousand generated clean histories raise no alarm, and every anomaly planted in
//! such a history is found and named rightly.
//!
//! The histories come from a small model of a partitioned log with many clients, failovers and outcomes
//! that nobody knows, so they hold what real ones hold.

#![expect(
    clippy::ptr_arg,
    reason = "all plants are of one type, and most add events"
)]

mod plants;
mod small;
mod world;

use tidegate_histcheck::{check, lines};
use world::{Random, World};

const CLEAN: u64 = 1_000;
const SEEDS_PER_PLANT: u64 = 40;
/// Of so many seeds a plant finds what it needs at least as often.
const PLANTED_MIN: usize = 10;

#[test]
fn a_thousand_clean_histories_raise_no_alarm() {
    let (mut acked, mut unknown_seen, mut doubled, mut lost_of_leader, mut forgiven) =
        (0, 0, 0, 0, 0);
    for seed in 0..CLEAN {
        let history = World::history(seed);
        let verdict = check(&history).expect("a history");
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        acked += verdict.counts.acked;
        unknown_seen += verdict.counts.unknown_seen;
        doubled += verdict.counts.doubled;
        lost_of_leader += verdict.counts.lost_of_leader;
        forgiven += verdict.counts.forgiven;
    }
    // What is allowed did happen: the silence means something.
    for count in [acked, unknown_seen, doubled, lost_of_leader, forgiven] {
        assert!(
            count > 100,
            "{acked} {unknown_seen} {doubled} {lost_of_leader} {forgiven}"
        );
    }
}

#[test]
fn every_planted_anomaly_is_found_and_named() {
    let mut planted = 0;
    for (name, class, plant) in plants::all() {
        let mut here = 0;
        for seed in 0..SEEDS_PER_PLANT {
            let mut history = World::history(seed);
            let mut random = Random::new(seed);
            if plant(&mut history, &mut random).is_none() {
                continue;
            }
            let verdict =
                check(&history).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}"));
            let found = verdict.found().contains_key(&class);
            assert!(found, "{name}, seed {seed}: no {class:?} in {verdict}");
            here += 1;
        }
        assert!(here >= PLANTED_MIN, "{name} was planted {here} times only");
        planted += here;
    }
    assert!(planted > 1_000, "{planted} planted");
}

#[test]
fn a_history_is_the_same_after_a_way_over_the_disk() {
    let history = World::history(7);
    let mut file = Vec::new();
    lines::write(&history, &mut file).expect("memory");
    assert_eq!(lines::read(&file[..]).expect("lines"), history);
}
