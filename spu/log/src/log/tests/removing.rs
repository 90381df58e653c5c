//! Files that go while readers are about: nothing is written to, or kept open of, what is gone.

use tidegate_proto::position::Offset;

use super::hooked::{Change, HookedVfs, name};
use super::{append, create, key, open, read_all, settle, submit};
use crate::Entry;
use crate::files::FileKind;
use crate::testing::{Dice, MemVfs};

/// A cut to a segment's base makes a file of the same name again. A reader that opens the old one
/// just before it goes must not leave it where the writer finds it.
#[test]
fn what_follows_a_cut_is_not_written_to_a_file_that_a_reader_held() {
    let vfs = HookedVfs::new(&MemVfs::new());
    let log = vfs.open().log;
    let replica = create(&log, 0);
    append(&log, &replica, 3, 3_000, 5);
    settle(&log);
    log.checkpoint().unwrap();
    let home = replica.home.clone();
    vfs.before(move |change, _| {
        if change == Change::Remove {
            for kind in [FileKind::Records, FileKind::Index] {
                let _ = home.open(Offset::ZERO, kind);
            }
        }
    });
    let to = Offset::ZERO;
    submit(&log, vec![Entry::Cut { key: key(0), to }]);
    settle(&log);
    log.checkpoint().unwrap();
    let kept = append(&log, &replica, 2, 3_000, 6);
    settle(&log);
    log.checkpoint().unwrap();
    let opened = open(&vfs.disk.power_lost(&mut Dice::new(1)));
    assert!(opened.replicas[0].intact);
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), [kept]);
}

#[test]
fn a_file_that_was_trimmed_away_does_not_stay_open() {
    let vfs = HookedVfs::new(&MemVfs::new());
    let log = vfs.open().log;
    let replica = create(&log, 0);
    for number in 0..30 {
        append(&log, &replica, 1, 3_000, number);
    }
    settle(&log);
    let home = replica.home.clone();
    vfs.before(move |change, path| {
        if change == Change::Remove && name(path).ends_with(".log") {
            let _ = home.open(Offset::ZERO, FileKind::Records);
        }
    });
    let to = Offset::new(20);
    submit(&log, vec![Entry::Trim { key: key(0), to }]);
    settle(&log);
    log.checkpoint().unwrap();
    while log.run_writer_step().unwrap() {}
    let id = replica.home.id(Offset::ZERO, FileKind::Records);
    assert!(replica.home.pool.get(id, || replica.home.dir()).is_err());
}
