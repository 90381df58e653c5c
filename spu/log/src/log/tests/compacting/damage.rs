//! Damage to what compaction leaves beside the segments: the snapshot that it relied on, its own file in
//! the midst of an exchange, and a staged segment that does not fit.

use std::sync::{Arc, Mutex};

use tidegate_proto::position::Offset;

use super::super::hooked::HookedVfs;
use super::super::{create, files_named, key, open, settle, submit};
use super::{CONFIG, append_pairs, commit, compact, contents, roll};
use crate::segment::Span;
use crate::testing::MemVfs;
use crate::writer::Exchanged;
use crate::{Entry, Log, Replica};

fn fill(log: &Log, replica: &Replica) {
    replica.set_compaction(Some(CONFIG));
    for round in 0..160_u16 {
        let key = (round % 5) as u8;
        append_pairs(log, replica, &[(Some(key), Some(round))], 5);
        if round % 20 == 0 {
            append_pairs(log, replica, &[(Some(40), Some(round))], 5);
        }
    }
    roll(log, replica, &[(Some(50), Some(1))], 6);
}

#[test]
fn a_snapshot_that_is_needed_and_rotten_or_gone_leaves_a_replica_that_may_not_lead() {
    type Prepare = fn(&Log, &Replica);
    let nothing: Prepare = |_, _| {};
    let thinned: Prepare = |log, _| compact(log, 10);
    let trimmed: Prepare = |log, _| {
        let (key, to) = (key(0), Offset::new(100));
        submit(log, vec![Entry::Trim { key, to }]);
        settle(log);
    };
    for (prepare, is_needed) in [(nothing, false), (thinned, true), (trimmed, true)] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = create(&log, 0);
        fill(&log, &replica);
        prepare(&log, &replica);
        log.checkpoint().unwrap();
        assert_eq!(replica.is_whole(), !is_needed);
        let file = files_named(&vfs, "/snapshot").remove(0);
        for byte in 0..vfs.contents(&file).unwrap().len() {
            let rotten = vfs.killed();
            rotten.damage(&file, |bytes| bytes[byte] ^= 1);
            let opened = open(&rotten);
            assert_eq!(opened.replicas[0].intact, !is_needed, "byte {byte}");
            assert_eq!(opened.replicas[0].snapshot, None);
            let replica = opened.log.replica(key(0)).unwrap();
            assert_eq!(replica.snapshot().is_err(), is_needed);
        }
    }
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    fill(&log, &replica);
    compact(&log, 10);
    let gone = vfs.killed();
    crate::vfs::Vfs::remove_file(&gone, &files_named(&vfs, "/snapshot")[0]).unwrap();
    assert!(!open(&gone).replicas[0].intact);
}

#[test]
fn rot_in_the_file_on_compaction_loses_no_record_wherever_an_exchange_was_cut_short() {
    let disk = MemVfs::new();
    let vfs = HookedVfs::new(&disk);
    let log = vfs.open().log;
    let replica = create(&log, 0);
    fill(&log, &replica);
    let newest = |replica: &Replica| {
        let records = contents(replica).into_iter();
        let values = records.map(|(at, key, value)| (key, (at, value)));
        values.collect::<std::collections::BTreeMap<_, _>>()
    };
    let expected = newest(&replica);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, source) = (Arc::clone(&images), disk);
    vfs.before(move |_, _| taken.lock().unwrap().push(source.killed()));
    compact(&log, 1_000);
    assert!(log.stats().compaction.passes > 0);
    let images = std::mem::take(&mut *images.lock().unwrap());
    let (mut damaged, mut replaced) = (0, 0);
    for image in images {
        let Some(file) = files_named(&image, "/compaction").into_iter().next() else {
            continue;
        };
        if file.extension().is_some() {
            continue;
        }
        for byte in 0..image.contents(&file).unwrap().len() {
            let rotten = image.killed();
            rotten.damage(&file, |bytes| bytes[byte] ^= 0x10);
            for again in [false, true] {
                let opened = open(&rotten);
                let facts = &opened.replicas[0];
                assert!(!facts.intact, "rot is told");
                assert_eq!(facts.end, replica.end());
                let found = opened.log.replica(key(0)).unwrap();
                assert_eq!(newest(&found), expected, "byte {byte}, again: {again}");
            }
            replaced += files_named(&rotten, "/quarantine/").len();
            damaged += 1;
        }
    }
    assert!(damaged > 200 && replaced > 50, "{damaged}, {replaced}");
}

#[test]
fn a_staged_segment_that_takes_other_offsets_is_put_in_nobodys_place() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    fill(&log, &replica);
    commit(&log, &replica);
    let before = contents(&replica);
    let closed = Arc::clone(&replica.lock_applied().segments.closed);
    let inputs: Vec<Span> = (0..2)
        .map(|number| Span {
            info: closed[number],
            end: closed[number + 1].base,
        })
        .collect();
    let right = Span {
        info: closed[0],
        end: closed[2].base,
    };
    let mut longer = right;
    longer.end = right.end.plus(1);
    let mut other = right;
    other.info.base = closed[1].base;
    let writer = &log.inner.writer;
    let exchange =
        |cuts, inputs: &[Span], output| writer.exchange(&replica, cuts, inputs, output).unwrap();
    for (cuts, inputs, output) in [
        (0, &inputs[..], longer),
        (0, &inputs[..], inputs[0]),
        (0, &inputs[..], other),
        (0, &inputs[..1], right),
        (1, &inputs[..], right),
    ] {
        assert_eq!(
            exchange(cuts, inputs, output),
            Exchanged::Refused,
            "{output:?}"
        );
    }
    assert_eq!(contents(&replica), before);
    assert!(files_named(&vfs, "/compaction").is_empty());
}
