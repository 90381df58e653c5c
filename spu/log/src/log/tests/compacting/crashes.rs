//! The power goes at every change of a name in a pass, and readers read there: each state that a disk
//! may be left in opens with every newest record, intact.

use std::sync::{Arc, Mutex};

use tidegate_proto::position::Offset;

use super::super::hooked::HookedVfs;
use super::super::{create, files_named, key, open};
use super::{CONFIG, Pair, append_pairs, commit, compact, contents, roll};
use crate::testing::{Dice, MemVfs};

/// What a reader may rely on: of each key the newest value, tombstones without effect.
fn newest(contents: &[(u64, Option<u64>, Option<u64>)]) -> Vec<(u64, u64)> {
    let mut state = std::collections::BTreeMap::new();
    for (_, key, value) in contents {
        match value {
            Some(value) => state.insert(key.unwrap(), *value),
            None => state.remove(&key.unwrap()),
        };
    }
    state.into_iter().collect()
}

#[test]
fn whatever_a_crash_leaves_of_a_pass_has_every_newest_record_and_is_intact() {
    let disk = MemVfs::new();
    let vfs = HookedVfs::new(&disk);
    let log = vfs.open().log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    for round in 0..160_u16 {
        let key = u8::try_from(round % 5).unwrap();
        let value = Some(round).filter(|round| round % 3 > 0);
        let pairs: [Pair; 2] = [(Some(key), value), (Some(40 + key), Some(round))];
        append_pairs(&log, &replica, &pairs, 5);
    }
    roll(&log, &replica, &[(Some(50), Some(1))], 6);
    let expected = newest(&contents(&replica));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, source) = (Arc::clone(&images), disk);
    let reader = Arc::clone(&replica);
    let while_it_changes = expected.clone();
    let mut seed = 0;
    let readers = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::clone(&readers);
    vfs.before(move |_, _| {
        // It may have to wait for the end of the change that is about to happen.
        let (reader, expected) = (Arc::clone(&reader), while_it_changes.clone());
        let read = move || assert_eq!(newest(&contents(&reader)), expected);
        started.lock().unwrap().push(std::thread::spawn(read));
        for _ in 0..12 {
            seed += 1;
            taken
                .lock()
                .unwrap()
                .push(source.power_lost(&mut Dice::new(seed)));
        }
        taken.lock().unwrap().push(source.killed());
    });
    compact(&log, 1_000);
    // Tombstones go in a second pass.
    compact(&log, 2_000);
    for reader in std::mem::take(&mut *readers.lock().unwrap()) {
        reader.join().unwrap();
    }
    let (left, passes) = (contents(&replica), log.stats().compaction.passes);
    assert_eq!((newest(&left), passes), (expected.clone(), 2));
    assert!(left.iter().all(|(.., value)| value.is_some()));
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 200);
    for image in images {
        let opened = open(&image);
        let facts = &opened.replicas[0];
        assert!(facts.intact);
        assert_eq!((facts.end, facts.torn_bytes), (Offset::new(321), 0));
        assert!(files_named(&image, "/quarantine/").is_empty());
        assert!(files_named(&image, ".compact").is_empty());
        let replica = opened.log.replica(key(0)).unwrap();
        assert_eq!(newest(&contents(&replica)), expected);
        // It goes on from there.
        replica.set_compaction(Some(CONFIG));
        append_pairs(&opened.log, &replica, &[(Some(50), Some(2))], 7);
        commit(&opened.log, &replica);
        compact(&opened.log, 5_000);
        compact(&opened.log, 9_000);
        let mut expected = expected.clone();
        expected.last_mut().unwrap().1 = 2;
        assert_eq!(newest(&contents(&replica)), expected);
    }
}
