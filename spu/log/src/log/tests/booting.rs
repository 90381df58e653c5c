//! Whether the memory of the system that ran before is still there: what interval durability rests on.

use tidegate_proto::id::Incarnation;

use super::hooked::HookedVfs;
use super::{append, create, open, settle};
use crate::testing::{Dice, MemVfs};
use crate::{Log, OsVfs, Vfs as _};

/// A directory with something in it that serves under a registration.
fn serving(disk: &MemVfs) -> Log {
    let opened = open(disk);
    assert!(opened.same_boot, "there was nothing to lose");
    opened.log.set_incarnation(Incarnation(1)).unwrap();
    let replica = create(&opened.log, 0);
    append(&opened.log, &replica, 1, 10, 5);
    settle(&opened.log);
    opened.log
}

#[test]
fn a_kill_leaves_the_systems_memory_and_a_power_loss_does_not() {
    let disk = MemVfs::new();
    let _log = serving(&disk);
    let killed = open(&disk.killed());
    assert!(!killed.clean && killed.same_boot);
    let lost = open(&disk.power_lost(&mut Dice::new(1)));
    assert!(!lost.clean && !lost.same_boot);
    assert!(
        lost.replicas[0].intact,
        "nothing that was synced is missing"
    );
}

#[test]
fn a_power_loss_is_told_until_a_registration_stands() {
    let disk = MemVfs::new();
    let _log = serving(&disk);
    let image = disk.power_lost(&mut Dice::new(1));
    for _ in 0..3 {
        // Killed before it could register.
        assert!(!open(&image.killed()).same_boot);
        drop(open(&image));
    }
    let opened = open(&image);
    assert!(!opened.same_boot);
    opened.log.set_incarnation(Incarnation(2)).unwrap();
    drop(opened);
    assert!(open(&image).same_boot);
    assert!(!open(&image.power_lost(&mut Dice::new(2))).same_boot);
}

#[test]
fn what_was_closed_in_order_needs_no_memory() {
    let disk = MemVfs::new();
    let log = serving(&disk);
    log.close().unwrap();
    let image = disk.power_lost(&mut Dice::new(1));
    let opened = open(&image);
    assert!(opened.clean && opened.same_boot);
    drop(opened);
    let killed = open(&image.killed());
    assert!(
        !killed.clean && killed.same_boot,
        "all of it was synced when it was opened"
    );
}

#[test]
fn an_orderly_close_before_a_registration_hides_no_power_loss() {
    let disk = MemVfs::new();
    let _log = serving(&disk);
    let image = disk.power_lost(&mut Dice::new(1));
    for _ in 0..2 {
        // Stopped in order before it could register: the controllers have not heard of the loss.
        open(&image).log.close().unwrap();
        let opened = open(&image);
        assert!(opened.clean && !opened.same_boot);
    }
    let log = open(&image).log;
    log.set_incarnation(Incarnation(2)).unwrap();
    log.close().unwrap();
    let opened = open(&image);
    assert!(opened.clean && opened.same_boot);
}

#[test]
fn where_runs_of_the_system_have_no_name_every_unclean_end_counts_as_a_loss() {
    let disk = MemVfs::new();
    // It does not pass the name on.
    let open = || HookedVfs::new(&disk).open();
    let opened = open();
    opened.log.set_incarnation(Incarnation(1)).unwrap();
    drop(opened);
    assert!(!open().same_boot);
    let log = open().log;
    log.set_incarnation(Incarnation(2)).unwrap();
    log.close().unwrap();
    assert!(open().same_boot);
}

#[test]
#[cfg(target_os = "linux")]
fn this_systems_run_has_a_name_that_stays() {
    assert!(OsVfs.boot_id().is_some());
    assert_eq!(OsVfs.boot_id(), OsVfs.boot_id());
}
