//! The workload of everything: steps at random, so that they meet in ways that nobody thought of.

use crate::Entry;
use crate::images::Script;
use crate::images::setting::key;

/// Steps at random, weighted towards appends and rounds.
pub(super) fn everything(script: &mut Script) {
    for partition in 0..2 {
        script.create(partition, 1);
    }
    script.round();
    let mut generation = 1;
    for step in 0..34 {
        let partition = script.dice.below(2) as u32;
        let end = script.expected(partition).end;
        match script.dice.below(22) {
            0..6 => {
                let batches = 1 + script.dice.below(3) as u32;
                let records = 1 + script.dice.below(3) as u32;
                let bytes = script.dice.below(600) as usize;
                script.append(partition, batches, records, bytes);
            }
            6..10 => script.round(),
            10..13 => drop(script.step()),
            13 => script.append_marker(partition),
            14 => {
                let batches = script.dice.below(4) as usize;
                script.cut(partition, batches);
            }
            15 => {
                let start = script.expected(partition).log_start;
                let length = end.distance_from(start);
                let to = start.plus(script.dice.below(length + 1));
                script.trim(partition, to);
            }
            16 => script.checkpoint(),
            17 => script.accept(partition, step),
            18 => script.snapshot(partition, 20),
            19 => match script.dice.below(4) {
                0 => script.trim(partition, end.plus(2)),
                1 => script.reopen(),
                _ => script.kill(),
            },
            20 if script.dice.below(3) == 0 => {
                generation += 1;
                script.retire(partition);
                script.create(partition, generation);
            }
            20 => script.tick(40_000),
            _ => several(script, partition),
        }
    }
    script.settle();
}

/// A cut and what follows it in one submission.
fn several(script: &mut Script, partition: u32) {
    let replica = script.expected(partition);
    let Some(last) = replica.batches.last() else {
        return;
    };
    let to = last.placement.base_offset.max(replica.log_start);
    let batch = script.batch(partition, to, 2, 50);
    let key = key(partition);
    script.submit(vec![Entry::Cut { key, to }, Entry::Batch(batch)]);
}
