//! The images that the suite boots: a sample of each workload's, the same each time.

mod mutants;

mod regressions;

mod rot;

use super::{Effort, Place, UnitReport, find_workload, replay_image, run_unit};

const EFFORT: Effort = Effort {
    per_moment: 13,
    random: 4,
    second_crash_every: 25,
    per_second_moment: 4,
};

const SEED: u64 = 1;

pub(super) fn assert_survived(name: &str, report: &UnitReport) {
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|failure| format!("  {} {}: {}", failure.place, failure.kind, failure.what))
        .collect();
    assert!(
        report.failed == 0,
        "{} of {} images of {name} fail:\n{}",
        report.failed,
        report.distinct(),
        failures.join("\n")
    );
}

fn boot_all(name: &str, at_least: u64) {
    let name = name.replace('_', "-");
    let recording = find_workload(&name).unwrap().record(SEED);
    let report = run_unit(&recording, SEED, &EFFORT);
    assert_survived(&name, &report);
    let distinct = report.distinct();
    assert!(distinct >= at_least, "{distinct} images of {name}");
}

/// A test for each workload, with the least number of images that it must come to.
macro_rules! workloads {
    ($($name:ident $at_least:literal)*) => {
        mod a_log_survives_every_crash_image_of {
            $(#[test] fn $name() { super::boot_all(stringify!($name), $at_least); })*
        }

        #[test]
        fn ten_thousand_images_of_all_workloads_are_booted() {
            let least: [(&str, u64); super::WORKLOADS.len()] =
                [$((stringify!($name), $at_least)),*];
            assert!(least.iter().map(|(_, count)| count).sum::<u64>() >= 10_000);
        }
    };
}

workloads! {
    format 30
    append 450
    append_many 650
    roll 1_050
    retention 950
    cut 600
    reset 350
    recycle 1_200
    metadata 170
    snapshot 700
    retire 550
    quarantine 150
    checkpoint 550
    close 750
    kill 600
    deferred 600
    everything 1_700
    compact 2_300
    compact_cut 1_500
    compact_mixed 1_600
}

#[test]
fn an_image_is_found_again_by_its_place() {
    let recording = find_workload("append").unwrap().record(SEED);
    for place in ["60.0", "60.3", "50.0.4.1"] {
        let place: Place = place.parse().unwrap();
        let (once, _) = replay_image(&recording, SEED, &EFFORT, place).unwrap();
        let again = find_workload("append").unwrap().record(SEED);
        let (twice, observed) = replay_image(&again, SEED, &EFFORT, place).unwrap();
        assert_eq!(once.fingerprint(), twice.fingerprint(), "{place}");
        assert!(observed.is_ok(), "{observed:?}");
        assert_eq!(place.to_string().parse(), Ok(place));
    }
}
