//! Workloads about batches and segments: written, closed, trimmed, cut.

use tidegate_proto::position::Offset;

use crate::images::Script;

pub(super) fn format(script: &mut Script) {
    script.register(1);
    script.create(0, 1);
    script.round();
}

pub(super) fn append(script: &mut Script) {
    script.create(0, 1);
    script.round();
    for (records, bytes) in [(1, 20), (3, 60), (2, 900), (1, 5_000), (4, 1_200)] {
        let bytes = bytes + script.dice.below(40) as usize;
        script.append(0, 1, records, bytes);
        script.round();
        script.step();
    }
    script.append_marker(0);
    script.append(0, 2, 2, 30);
    script.settle();
}

pub(super) fn append_many(script: &mut Script) {
    for partition in 0..3 {
        script.create(partition, 1);
    }
    script.round();
    for _ in 0..3 {
        for partition in 0..3 {
            let bytes = 30 + script.dice.below(500) as usize;
            script.append(partition, 1 + partition % 2, 2, bytes);
        }
        script.round();
        script.step();
    }
    script.settle();
}

pub(super) fn roll(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..4 {
        let bytes = 500 + script.dice.below(300) as usize;
        script.append(0, 2, 1, bytes);
        script.settle();
    }
    script.tick(2_000_000);
    script.settle();
    script.append(0, 1, 1, 50);
    script.settle();
    script.checkpoint();
    script.append(0, 2, 1, 800);
    script.settle();
}

pub(super) fn retention(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..3 {
        script.append(0, 2, 2, 380);
    }
    script.settle();
    script.checkpoint();
    let to = Offset::new(5 + script.dice.below(4));
    script.trim(0, to);
    script.append(0, 1, 2, 300);
    script.settle();
    script.trim(0, script.expected(0).end);
    script.settle();
    script.append(0, 2, 1, 400);
    script.settle();
    script.checkpoint();
    script.step();
}

pub(super) fn cut(script: &mut Script) {
    script.create(0, 1);
    for _ in 0..3 {
        script.append(0, 2, 1, 450);
    }
    script.settle();
    script.checkpoint();
    // Into what the checkpoint knows, then again into what only the journal does.
    let batches = 1 + script.dice.below(4) as usize;
    script.cut(0, batches);
    script.append(0, 1, 2, 200);
    script.round();
    script.append(0, 2, 1, 500);
    script.settle();
    script.cut(0, 2);
    script.append(0, 3, 1, 350);
    script.round();
    script.cut(0, 1);
    script.settle();
    script.checkpoint();
}

pub(super) fn reset(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 4, 1, 500);
    script.settle();
    if script.dice.below(2) == 0 {
        script.checkpoint();
    }
    let beyond = script.expected(0).end.plus(5);
    script.trim(0, beyond);
    script.round();
    script.append(0, 3, 1, 600);
    script.settle();
    script.checkpoint();
    script.cut(0, 1);
    let beyond = script.expected(0).end.plus(3);
    script.trim(0, beyond);
    script.append(0, 1, 1, 100);
    script.settle();
}
