//! The journal's next file, made in the background: a full disk does not end the log for its sake,
//! and nobody waits for its name.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::hooked::{Change, HookedVfs};
use super::{append, create, dir, files_named, open, read_all};
use crate::Vfs;
use crate::testing::{Dice, MemVfs};

#[test]
fn a_disk_without_room_for_a_spare_does_not_stop_the_log() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    // Two rounds fill half of the file.
    for _ in 0..2 {
        append(&log, &replica, 1, 100, 5);
        log.run_round().unwrap();
    }
    vfs.set_room(Some(12 << 10));
    assert!(log.run_writer_step().unwrap(), "it tries");
    assert!(!log.run_writer_step().unwrap(), "it does not try again");
    assert!(files_named(&vfs, "filling").is_empty());
    let before = log.stats().journal_bytes;
    append(&log, &replica, 1, 100, 5);
    log.run_round().unwrap();
    log.checkpoint().unwrap();
    assert!(
        log.run_writer_step().unwrap(),
        "a checkpoint may have made room"
    );
    assert!(!log.run_writer_step().unwrap());
    vfs.set_room(None);
    append(&log, &replica, 1, 100, 5);
    log.run_round().unwrap();
    log.checkpoint().unwrap();
    while log.run_writer_step().unwrap() {}
    assert!(log.stats().journal_bytes > before, "there is a spare");
    assert_eq!(read_all(&replica).len(), 4);
    assert_eq!(
        open(&vfs.power_lost(&mut Dice::new(1))).replicas[0].end,
        replica.end()
    );
}

#[test]
fn a_file_half_filled_when_the_power_went_leaves_its_room_to_recovery() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 6_000, 5);
    log.run_round().unwrap();
    let path = dir().join("journal").join("filling.new");
    let file = vfs.create(&path).unwrap();
    crate::durable::write_all_at(&*file, &[&[0; 20_000]], 0).unwrap();
    let image = vfs.killed();
    image.set_room(Some(0));
    let opened = open(&image);
    assert_eq!(opened.replicas[0].end, replica.end());
}

/// The hook runs while a journal file gets its name; meanwhile another thread asks for numbers, and
/// gets them.
#[test]
fn numbers_do_not_wait_for_the_disk() {
    let vfs = HookedVfs::new(&MemVfs::new());
    let log = vfs.open().log;
    let replica = create(&log, 0);
    let (asked, waited) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (asked_there, waited_there, there) = (asked.clone(), waited.clone(), log.clone());
    let journal = dir().join("journal");
    let is_naming = move |change: Change, path: &Path| match change {
        Change::Rename => path.starts_with(&journal),
        Change::SyncDir => path == journal,
        Change::Remove | Change::RemoveDir => false,
    };
    vfs.before(move |change, path| {
        if !is_naming(change, path) || waited_there.load(Ordering::Relaxed) > 0 {
            return;
        }
        asked_there.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = mpsc::sync_channel(1);
        let log = there.clone();
        std::thread::spawn(move || tell.send(log.stats().journal_bytes));
        if told.recv_timeout(Duration::from_secs(5)).is_err() {
            waited_there.fetch_add(1, Ordering::Relaxed);
        }
    });
    for number in 0..60 {
        append(&log, &replica, 1, 3_000, number);
        log.run_round().unwrap();
        if number % 2 == 0 {
            log.run_writer_step().unwrap();
        }
        let stats = log.stats();
        assert!(stats.journal_bytes <= stats.journal_bytes_max, "{stats:?}");
    }
    vfs.before(|_, _| ());
    assert!(asked.load(Ordering::Relaxed) > 3);
    assert_eq!(waited.load(Ordering::Relaxed), 0);
}
