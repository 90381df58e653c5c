//! What opening after a crash costs, and what it leaves when it is itself cut short.

use super::{append, create, key, open_with, read_all, small};
use crate::LogConfig;
use crate::testing::MemVfs;

#[test]
fn batches_that_stand_together_in_the_journal_are_read_back_together() {
    let vfs = MemVfs::new();
    let config = LogConfig {
        journal_file_bytes_first: 1 << 20,
        unflushed_bytes_max: 8 << 20,
        ..small()
    };
    let log = open_with(&vfs, config.clone()).unwrap().0.log;
    let (replicas, rounds, run) = (10, 5, 40);
    let all: Vec<_> = (0..replicas).map(|number| create(&log, number)).collect();
    for _ in 0..rounds {
        for replica in &all {
            (0..run).for_each(|number| drop(append(&log, replica, 1, 50, number)));
        }
        log.run_round().unwrap();
    }
    let image = vfs.killed();
    let opened = open_with(&image, config).unwrap().0;
    let counts = image.counts();
    let batches = u64::from(replicas) * rounds * run as u64;
    assert!(counts.reads < batches / 4, "{counts:?}");
    assert!(counts.opens < 100, "{counts:?}");
    for number in 0..replicas {
        let replica = opened.log.replica(key(number)).unwrap();
        assert_eq!(read_all(&replica).len() as u64, rounds * run as u64);
    }
}
