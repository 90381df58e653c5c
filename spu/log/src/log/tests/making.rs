//! Replicas made and given up while rounds and checkpoints go on: what was acknowledged is found.

use std::time::Duration;

use tidegate_proto::position::Offset;

use super::{append, create, files_named, generation, key, open, settle, small};
use crate::testing::{Dice, MemVfs};

#[test]
fn nothing_about_a_replica_is_queued_before_checkpoints_know_it() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let inner = &log.inner;
    std::thread::scope(|scope| {
        let registry = inner.registry.read();
        let creating = scope.spawn(|| create(&log, 0));
        // As long as nobody can be made known, nothing may get into a round.
        for _ in 0..50 {
            assert_eq!(inner.lock_queue().bytes, 0);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        drop(registry);
        creating.join().unwrap();
    });
    assert!(log.run_round().unwrap());
    log.checkpoint().unwrap();
    append(&log, &log.replica(key(0)).unwrap(), 4, 10, 5);
    log.run_round().unwrap();
    let opened = open(&vfs.power_lost(&mut Dice::new(1)));
    assert_eq!(opened.replicas[0].end, Offset::new(4));
}

#[test]
fn numbers_can_be_asked_for_while_replicas_are_made() {
    let log = open(&MemVfs::new()).log;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..2_000).for_each(|number| drop(create(&log, number))));
        while log.stats().replicas < 2_000 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_checkpoint_before_the_rounds_of_a_change_of_hands_speaks_of_the_old_replica() {
    for (old, new) in [(1, 2), (2, 1)] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let make = |number| {
            log.create_replica(key(0), generation(number), small().segment)
                .unwrap()
        };
        append(&log, &make(old), 3, 10, 5);
        settle(&log);
        log.retire_replica(key(0)).unwrap();
        append(&log, &make(new), 7, 10, 5);
        log.checkpoint().unwrap();
        // Neither round is durable: nothing was given up.
        let opened = open(&vfs.killed());
        assert_eq!(opened.replicas.len(), 1);
        let facts = &opened.replicas[0];
        assert_eq!(
            (facts.replica_gen, facts.end),
            (generation(old), Offset::new(3))
        );
        assert!(facts.intact);
        while log.run_round().unwrap() {}
        let image = vfs.killed();
        let opened = open(&image);
        let facts = &opened.replicas[0];
        assert_eq!(
            (facts.replica_gen, facts.end),
            (generation(new), Offset::new(7))
        );
        assert!(facts.intact);
        assert!(files_named(&image, "/quarantine/").is_empty());
    }
}
