//! Workloads about compacted replicas: passes from the first segment to the exchange, tombstones that
//! stay and go, kills in between; and compaction among everything else that a log does, at random.

use tidegate_proto::position::Offset;

use crate::images::Script;

/// As many steps as there are.
const ALL: usize = usize::MAX;

pub(super) fn compact(script: &mut Script) {
    script.create(0, 1);
    script.append_marker(0);
    for round in 0..7_u8 {
        let bytes = 200 + script.dice.below(150) as usize;
        let records = [(Some(round % 2), true), (Some(2 + round % 3), true)];
        script.append_keyed(0, &records, bytes);
        if round == 3 {
            script.append_keyed(0, &[(None, true), (Some(9), true)], 40);
        }
    }
    script.roll(0);
    script.commit_all(0);
    script.compact(0, ALL);
    // Tombstones, of a new epoch, over what is left.
    script.accept(0, 2);
    script.append_marker(0);
    for key in [0, 3, 9, 1] {
        let has_value = key == 1;
        script.append_keyed(0, &[(Some(key), has_value), (Some(5), true)], 330);
    }
    script.roll(0);
    script.commit_all(0);
    // The first exchange, and no more.
    script.compact(0, 1);
    script.kill();
    script.compact(0, ALL);
    script.tick(1_000);
    script.append_keyed(0, &[(Some(7), true)], 50);
    script.commit_all(0);
    script.compact(0, ALL);
    script.reopen();
}

pub(super) fn compact_cut(script: &mut Script) {
    script.create(0, 1);
    let last = 6 + script.dice.below(4) as u8;
    for round in 0..last {
        script.append_keyed(0, &[(Some(round / (last - 1)), true)], 260);
    }
    script.roll(0);
    script.commit_all(0);
    script.compact(0, ALL);
    let hole = u64::from(last) - 1;
    // Retention within the hole, then an operator's cut in it, and a shorter one in what that leaves.
    let to = script.dice.below(hole - 2);
    script.trim(0, Offset::new(to));
    script.settle();
    let cut = to + 1 + script.dice.below(hole - to - 1);
    script.cut_to(0, Offset::new(cut));
    script.append_keyed(0, &[(Some(0), true)], 100);
    script.round();
    script.checkpoint();
    script.append_keyed(0, &[(Some(0), true), (Some(1), true)], 500);
    script.append_keyed(0, &[(Some(1), true)], 900);
    script.roll(0);
    script.commit_all(0);
    script.compact(0, ALL);
    script.cut_to(0, Offset::new(cut));
    script.settle();
    script.checkpoint();
}

pub(super) fn compact_mixed(script: &mut Script) {
    script.create(0, 1);
    script.round();
    for step in 0..40 {
        let end = script.expected(0).end;
        match script.dice.below(24) {
            0..9 => {
                let count = 1 + script.dice.below(3);
                let records: Vec<_> = (0..count)
                    .map(|_| {
                        let key = script.dice.below(5) as u8;
                        (Some(key).filter(|key| *key < 4), script.dice.below(4) > 0)
                    })
                    .collect();
                let bytes = script.dice.below(500) as usize;
                script.append_keyed(0, &records, bytes);
            }
            9..11 => script.round(),
            11 => drop(script.step()),
            12 => script.append_marker(0),
            13..16 => script.commit_all(0),
            16 => script.roll(0),
            17..20 => {
                script.round();
                let steps = 1 + script.dice.below(6) as usize;
                script.compact(0, steps);
            }
            20 => script.tick(700),
            21 => match script.dice.below(3) {
                0 => {
                    let batches = 1 + script.dice.below(12) as usize;
                    script.cut(0, batches);
                }
                _ => {
                    let start = script.expected(0).log_start;
                    let length = script.expected(0).high_watermark.distance_from(start);
                    let to = start.plus(script.dice.below(length + 1));
                    script.trim(0, to.min(end));
                }
            },
            22 => script.accept(0, step),
            _ => match script.dice.below(3) {
                0 => script.reopen(),
                _ => script.kill(),
            },
        }
    }
    script.settle();
    script.commit_all(0);
    script.compact(0, ALL);
}
