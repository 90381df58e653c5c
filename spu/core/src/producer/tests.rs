//! The table of producers: verdicts, wrapping sequences, room for newcomers.

use super::*;

fn stamp(epoch: u16, seq: u32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId(9),
        epoch,
        seq,
        unordered: false,
    }
}

fn table(batches: &[(u16, u32, u32, u64)]) -> ProducerTable {
    let mut table = ProducerTable::default();
    for (epoch, seq, count, offset) in batches {
        table.observe(&stamp(*epoch, *seq), *count, Offset::new(*offset), 5);
    }
    table
}

fn duplicate(offset: u64) -> Verdict {
    Verdict::Duplicate {
        base_offset: Offset::new(offset),
        timestamp_ms: 5,
    }
}

#[test]
fn verdicts_follow_the_sequence() {
    let table = table(&[(1, 0, 10, 100), (1, 10, 5, 200)]);
    let judge = |epoch, seq, count| table.judge(&stamp(epoch, seq), count, &[]);
    assert_eq!(judge(1, 15, 1), Verdict::New);
    assert_eq!(
        judge(1, 16, 1),
        Verdict::Early {
            expected: 15,
            known: true
        }
    );
    assert_eq!(judge(1, 3, 2), duplicate(103));
    assert_eq!(judge(1, 10, 5), duplicate(200));
    assert_eq!(judge(1, 12, 5), Verdict::Behind { expected: 15 });
    assert_eq!(judge(0, 15, 1), Verdict::Fenced { current: 1 });
    assert_eq!(judge(2, 0, 1), Verdict::New);
    assert_eq!(
        judge(2, 1, 1),
        Verdict::Early {
            expected: 0,
            known: true
        }
    );
}

#[test]
fn sequences_wrap() {
    let table = table(&[(1, u32::MAX - 1, 4, 7)]);
    assert_eq!(table.judge(&stamp(1, 2), 1, &[]), Verdict::New);
    assert_eq!(table.judge(&stamp(1, 0), 2, &[]), duplicate(9));
    assert_eq!(table.judge(&stamp(1, u32::MAX - 1), 4, &[]), duplicate(7));
}

#[test]
fn an_unknown_producer_starts_at_zero() {
    let table = table(&[]);
    assert_eq!(table.judge(&stamp(0, 0), 1, &[]), Verdict::New);
    assert_eq!(
        table.judge(&stamp(0, 4), 1, &[]),
        Verdict::Early {
            expected: 0,
            known: false
        }
    );
}

#[test]
fn batches_of_one_request_are_judged_in_line() {
    let table = table(&[(1, 0, 10, 100)]);
    let reached = [Reached {
        id: ProducerId(9),
        epoch: 1,
        next_seq: 14,
    }];
    assert_eq!(table.judge(&stamp(1, 14), 1, &reached), Verdict::New);
    let early = Verdict::Early {
        expected: 14,
        known: true,
    };
    assert_eq!(table.judge(&stamp(1, 15), 1, &reached), early);
}

#[test]
fn a_full_table_makes_room_for_the_silent_only() {
    let mut table = ProducerTable::default();
    for id in 0..PRODUCERS_PER_PARTITION_MAX as u64 {
        let stamp = ProducerStamp {
            id: ProducerId(id),
            epoch: 0,
            seq: 0,
            unordered: false,
        };
        table.observe(&stamp, 1, Offset::new(id), id as i64);
    }
    let newcomer = ProducerStamp {
        id: ProducerId(1 << 40),
        epoch: 0,
        seq: 0,
        unordered: false,
    };
    table.expire(0, Offset::ZERO, Offset::ZERO);
    assert_eq!(table.judge(&newcomer, 1, &[]), Verdict::Full);
    table.expire(0, Offset::ZERO, Offset::new(1));
    assert_eq!(table.judge(&newcomer, 1, &[]), Verdict::New);
    let later_ms = PRODUCER_IDLE_MS_MAX + 500;
    table.expire(later_ms, Offset::new(300), Offset::ZERO);
    assert_eq!(table.len(), PRODUCERS_PER_PARTITION_MAX - 300);
    table.expire(later_ms, Offset::new(1 << 30), Offset::ZERO);
    assert_eq!(table.len(), PRODUCERS_PER_PARTITION_MAX - 500);
}
#[test]
fn whoever_reads_a_log_knows_all_that_its_leader_knows_and_is_bounded_too() {
    let stamp = |id| ProducerStamp {
        id: ProducerId(id),
        epoch: 0,
        seq: 0,
        unordered: false,
    };
    let (mut leader, mut follower) = (ProducerTable::default(), ProducerTable::default());
    for id in 0..3 * PRODUCERS_PER_PARTITION_MAX as u64 {
        // Half of a table in the time in which it may be made room in.
        let silent = id.saturating_sub(PRODUCERS_PER_PARTITION_MAX as u64 / 2);
        if leader.is_full_for(stamp(id)) {
            leader.expire(0, Offset::ZERO, Offset::new(silent));
        }
        assert_eq!(leader.judge(&stamp(id), 1, &[]), Verdict::New);
        leader.observe(&stamp(id), 1, Offset::new(id), 0);
        follower.observe(&stamp(id), 1, Offset::new(id), 0);
    }
    assert!(follower.len() <= PRODUCERS_PER_PARTITION_MAX + PRODUCERS_EVICTED_MAX);
    let known =
        |(id, producer): (&ProducerId, &Producer)| follower.producers.get(id) == Some(producer);
    assert!(leader.iter().all(known));
}
