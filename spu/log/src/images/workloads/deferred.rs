//! The workload about rounds that nobody syncs at once: several of them are lost or kept in any order,
//! beside records that wait for their sync.

use crate::images::Script;

pub(super) fn deferred(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.round();
    script.defer(0);
    for rounds in [4, 1] {
        append_unsynced(script, rounds);
        script.sync();
    }
    // Somebody waits: what was written before is synced with it.
    append_unsynced(script, 2);
    script.append(1, 1, 2, 80);
    script.round();
    script.step();
    // Over the end of a journal file, and killed behind it.
    append_unsynced(script, 4);
    script.kill();
    script.defer(0);
    append_unsynced(script, 2);
    let to = script.expected(0).end.minus_or_zero(1);
    script.trim(0, to);
    script.commit(0);
    script.write();
    append_unsynced(script, 1);
    script.cut(0, 1);
    script.round();
    append_unsynced(script, 1);
    script.reopen();
}

/// Rounds of their own, none synced by itself.
fn append_unsynced(script: &mut Script, rounds: usize) {
    for _ in 0..rounds {
        let bytes = 20 + script.dice.below(700) as usize;
        script.append(0, 1, 1, bytes);
        script.write();
    }
}
