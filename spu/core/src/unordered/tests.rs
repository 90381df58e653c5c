//! The table of unordered producers against what a map of all sequence numbers says.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn stamp(epoch: u16, seq: u32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId(9),
        epoch,
        seq,
        unordered: true,
    }
}

fn seen(offset: u64, timestamp_ms: i64) -> Sight {
    Sight::Seen {
        base_offset: Offset::new(offset),
        timestamp_ms,
    }
}

#[test]
fn batches_come_in_any_order_and_each_is_known_when_it_comes_again() {
    let mut table = UnorderedTable::default();
    for (seq, count, offset) in [(10, 5, 0), (0, 2, 5), (15, 1, 7), (2, 1, 8)] {
        assert_eq!(table.look(&stamp(0, seq), count), Sight::New);
        table.observe(&stamp(0, seq), count, Offset::new(offset), 1);
    }
    assert_eq!(table.look(&stamp(0, 0), 2), seen(5, 1));
    assert_eq!(table.look(&stamp(0, 12), 3), seen(2, 1));
    assert_eq!(table.look(&stamp(0, 15), 1), seen(7, 1));
    assert_eq!(table.look(&stamp(0, 3), 7), Sight::New);
    let in_part = table.look(&stamp(0, 3), 8);
    assert!(matches!(in_part, Sight::Unclear { .. }), "{in_part:?}");
    assert_eq!(table.look(&stamp(1, 77), 1), Sight::New);
    table.observe(&stamp(1, 77), 1, Offset::new(9), 1);
    assert_eq!(table.look(&stamp(0, 0), 2), Sight::Fenced { current: 1 });
    assert_eq!(table.look(&stamp(1, 0), 2), Sight::New);
}

#[test]
fn neighbours_in_sequence_and_in_the_log_are_one_run() {
    let mut table = UnorderedTable::default();
    for n in 0..100_000_u32 {
        table.observe(&stamp(0, n * 2), 2, Offset::new(u64::from(n) * 2), 1);
    }
    assert_eq!(table.producers[&ProducerId(9)].runs.len(), 1);
    assert_eq!(table.look(&stamp(0, 77_776), 2), seen(77_776, 1));
}

#[test]
fn what_is_below_the_ring_or_too_old_is_not_taken_for_new() {
    let mut table = UnorderedTable::default();
    // Others write in between.
    let ring = u32::try_from(UNORDERED_RING).unwrap();
    for n in 0..ring {
        table.observe(&stamp(0, n), 1, Offset::new(u64::from(n) * 2), 1);
    }
    assert_eq!(table.look(&stamp(0, 0), 1), seen(0, 1));
    table.observe(&stamp(0, ring), 1, Offset::new(u64::from(ring) * 2), 1);
    assert_eq!(table.look(&stamp(0, 0), 1), Sight::Unclear { lowest: 1 });
    assert_eq!(table.look(&stamp(0, 1), 1), seen(2, 1));
    table.observe(&stamp(0, ring + 5), 1, Offset::new(1 << 20), 2);
    table.expire_runs(Offset::new(1 << 20));
    let unclear = Sight::Unclear { lowest: ring + 1 };
    assert_eq!(table.look(&stamp(0, ring), 1), unclear);
    assert_eq!(table.look(&stamp(0, ring + 1), 1), Sight::New);
}

#[test]
fn runs_that_are_too_old_go_by_time_alone_and_are_not_taken_for_new() {
    let mut table = UnorderedTable::default();
    // With gaps, so that none is the neighbour of another.
    for n in 0..100_u32 {
        let offset = Offset::new(u64::from(n));
        table.observe(&stamp(0, n * 2), 1, offset, i64::from(n));
    }
    let before = table.clone();
    table.expire_runs(Offset::ZERO);
    assert_eq!(table, before, "nothing is too old yet");

    table.expire_runs(Offset::new(49));
    assert_eq!(table.producers[&ProducerId(9)].runs.len(), 51);
    assert_eq!(table.look(&stamp(0, 96), 1), Sight::Unclear { lowest: 97 });
    assert_eq!(table.look(&stamp(0, 97), 1), Sight::New);
    assert_eq!(table.look(&stamp(0, 98), 1), seen(49, 49));

    table.expire_runs(Offset::new(100));
    assert!(table.producers[&ProducerId(9)].runs.is_empty());
    let unclear = Sight::Unclear { lowest: 199 };
    assert_eq!(table.look(&stamp(0, 198), 1), unclear);
    assert_eq!(table.look(&stamp(0, 199), 1), Sight::New);
}

#[test]
fn a_gateway_each_has_room_and_the_silent_make_room_for_new_ones() {
    let mut table = UnorderedTable::default();
    let of = |id: u64| ProducerStamp {
        id: ProducerId(id),
        ..stamp(0, 3)
    };
    let most = UNORDERED_PER_PARTITION_MAX as u64;
    for id in 0..most {
        table.observe(&of(id), 1, Offset::new(id), id as i64);
    }
    assert_eq!(table.look(&of(most), 1), Sight::Full);
    assert!(table.is_full_for(ProducerId(most)) && !table.is_full_for(ProducerId(0)));
    table.expire(Offset::ZERO, Offset::new(1));
    assert_eq!(table.len(), UNORDERED_PER_PARTITION_MAX - 1);
    assert_eq!(table.look(&of(most), 1), Sight::New);
    table.expire(Offset::new(1), Offset::new(7));
    assert_eq!(table.len(), UNORDERED_PER_PARTITION_MAX - 1);
    table.expire(Offset::new(most), Offset::new(most));
    assert_eq!(table.len(), 0);
}

proptest! {
    /// Batches that are handed out in sequence arrive in any order within a window, some never and some
    /// again, round the end of the circle too, with records of others in between.
    #[test]
    fn what_is_within_the_window_has_one_offset_however_often_it_comes(
        first in prop_oneof![Just(0), Just(u32::MAX - 50), any::<u32>()],
        arrivals in proptest::collection::vec((0..40_usize, 1..5_u32, 0..3_u64), 1..300),
    ) {
        let mut table = UnorderedTable::default();
        let mut handed: Vec<(u32, u32)> = Vec::new();
        let mut next = first;
        let mut known: HashMap<u32, u64> = HashMap::new();
        let mut end = 0;
        for (back, count, others) in arrivals {
            handed.push((next, count));
            next = next.wrapping_add(count);
            let (seq, count) = handed[handed.len() - 1 - back.min(handed.len() - 1)];
            let sight = table.look(&stamp(0, seq), count);
            match known.get(&seq) {
                Some(offset) => prop_assert_eq!(sight, seen(*offset, 1)),
                None => {
                    prop_assert_eq!(sight, Sight::New);
                    end += others;
                    table.observe(&stamp(0, seq), count, Offset::new(end), 1);
                    known.insert(seq, end);
                    end += u64::from(count);
                }
            }
        }
    }
}
