//! Levels by marks, with what lies between them.

use super::*;

const MIB: u64 = 1 << 20;

fn space(total: u64, available: u64) -> Space {
    Space {
        total,
        available,
        is_read_only: false,
    }
}

fn marks(soft: u64, hard: u64) -> Marks {
    Marks {
        soft,
        hard,
        ballast: 0,
    }
}

#[test]
fn marks_follow_the_size_of_the_disk_up_to_a_bound() {
    let of = |total| {
        let marks = Marks::new(SpaceConfig::BY_SIZE, total);
        (marks.soft / MIB, marks.hard / MIB, marks.ballast / MIB)
    };
    assert_eq!(of(8 << 30), (819, 409, 81), "a memory card");
    assert_eq!(of(250 << 30), (10 << 10, 5 << 10, 1 << 10));
    assert_eq!(of(16 << 40), (10 << 10, 5 << 10, 1 << 10));
    assert_eq!(of(u64::MAX), (0, 0, 0), "a disk that does not say");
}

#[test]
fn a_large_disk_with_little_left_in_percent_is_not_refused() {
    let mut gauge = Gauge::new(4 * MIB);
    let total = 250 << 30;
    let marks = Marks::new(SpaceConfig::BY_SIZE, total);
    let level = gauge.observe(marks, space(total, 20 << 30), marks.ballast);
    assert_eq!(level, SpaceLevel::Plenty);
}

#[test]
fn a_soft_mark_is_never_below_the_hard_one() {
    let config = SpaceConfig {
        hard_bytes: Some(7 << 30),
        soft_bytes: Some(GIB),
        ballast_bytes: Some(0),
    };
    assert_eq!(Marks::new(config, 100 << 30).soft, 7 << 30);
    let off = Marks::new(SpaceConfig::OFF, 100 << 30);
    assert_eq!((off.soft, off.hard, off.ballast), (0, 0, 0));
}

#[test]
fn levels_are_left_higher_than_they_are_entered() {
    let mut gauge = Gauge::new(0);
    let marks = marks(1_000, 800);
    let mut level = |available| gauge.observe(marks, space(10_000, available), 0);
    assert_eq!(level(1_000), SpaceLevel::Plenty);
    assert_eq!(level(999), SpaceLevel::Low);
    assert_eq!(level(800), SpaceLevel::Low);
    assert_eq!(level(799), SpaceLevel::Full);
    assert_eq!(level(899), SpaceLevel::Full);
    assert_eq!(level(900), SpaceLevel::Low);
    assert_eq!(level(1_124), SpaceLevel::Low);
    assert_eq!(level(1_125), SpaceLevel::Plenty);
}

#[test]
fn a_released_ballast_is_no_space_that_came_back() {
    let mut gauge = Gauge::new(0);
    let marks = marks(0, 800);
    assert_eq!(
        gauge.observe(marks, space(10_000, 700), 0),
        SpaceLevel::Full
    );
    let released = space(10_000, 700 + 500);
    assert_eq!(gauge.observe(marks, released, 500), SpaceLevel::Full);
    let freed = space(10_000, 700 + 500 + 200);
    assert_eq!(gauge.observe(marks, freed, 500), SpaceLevel::Plenty);
}

#[test]
fn a_refusal_makes_it_full_whatever_the_numbers_say_until_work_goes_on() {
    let mut gauge = Gauge::new(50);
    let (marks, roomy) = (marks(0, 0), space(10_000, 5_000));
    gauge.ran_out();
    // Work is tried again at each look; while it is refused, as by a quota, nothing changes.
    for _ in 0..5 {
        assert_eq!(gauge.observe(marks, roomy, 0), SpaceLevel::Full);
        gauge.ran_out();
    }
    assert_eq!(gauge.observe(marks, roomy, 0), SpaceLevel::Full);
    assert_eq!(gauge.observe(marks, roomy, 0), SpaceLevel::Plenty);
    gauge.ran_out();
    for _ in 0..5 {
        let tight = space(10_000, 49);
        assert_eq!(gauge.observe(marks, tight, 0), SpaceLevel::Full);
    }
}
