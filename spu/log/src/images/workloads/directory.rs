//! Workloads about the rest of a data directory: journal files, metadata, snapshots, the trash,
//! quarantine, checkpoints, the clean marker.

use std::path::Path;
use std::sync::Arc;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::Offset;
use uuid::Uuid;

use crate::images::setting::{DIR, key};
use crate::images::{Moment, Script};
use crate::layout;
use crate::vfs::Vfs as _;

pub(super) fn recycle(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    for round in 0..9 {
        let bytes = 700 + script.dice.below(2_000) as usize;
        script.append(round % 2, 1, 1, bytes);
        script.round();
        script.step();
        script.step();
        if round == 4 {
            script.commit(0);
        }
    }
    script.settle();
}

pub(super) fn metadata(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.round();
    for epoch in 1..4 {
        script.accept(0, epoch);
        script.round();
        script.append_marker(0);
        script.append(0, 1, 2, 40);
        script.commit(0);
        script.round();
        if epoch == 2 {
            script.checkpoint();
        }
    }
    script.accept(1, 7);
    script.register(2);
    script.settle();
    script.checkpoint();
}

pub(super) fn snapshot(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 3, 2, 200);
    script.snapshot(0, 60);
    script.settle();
    script.checkpoint();
    script.append(0, 3, 1, 300);
    script.snapshot(0, 700);
    script.settle();
    // Below the snapshot, which goes, and above what the checkpoint knows.
    script.cut(0, 1);
    script.round();
    script.append(0, 2, 1, 100);
    script.settle();
    script.snapshot(0, 30);
    script.cut(0, 4);
    script.append(0, 5, 1, 100);
    script.settle();
    script.checkpoint();
}

pub(super) fn retire(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.append(0, 2, 2, 300);
    script.append(1, 1, 2, 100);
    script.settle();
    if script.dice.below(2) == 0 {
        script.checkpoint();
    }
    script.append(0, 2, 1, 300);
    script.round();
    script.retire(0);
    script.round();
    script.create(0, 2);
    script.append(0, 1, 3, 100);
    script.settle();
    script.checkpoint();
    script.tick(5_000);
    script.retire(1);
    script.settle();
    script.checkpoint();
    script.purge();
    script.append(0, 1, 1, 20);
    script.settle();
}

pub(super) fn quarantine(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 2, 1, 300);
    script.settle();
    script.checkpoint();
    // Somebody restores a directory that this log never had.
    let name = layout::replica_dir(key(9), ReplicaGen(Uuid::from_u128(1)));
    let replicas = Path::new(DIR).join(layout::REPLICAS);
    let dir = replicas.join(name);
    let bytes: Arc<[u8]> = b"records of somebody else".as_slice().into();
    let vfs = script.vfs().clone();
    let put = || -> std::io::Result<()> {
        vfs.create_dir(&dir)?;
        let file = vfs.create(&dir.join(layout::segment(Offset::ZERO)))?;
        crate::durable::write_all_at(&*file, &[&bytes], 0)?;
        file.sync_all()?;
        vfs.sync_dir(&dir)?;
        vfs.sync_dir(&replicas)
    };
    put().expect("a disk in memory takes a file");
    script.note(Moment::Foreign(Arc::clone(&bytes)));
    script.append(0, 1, 1, 200);
    script.round();
    script.kill();
    script.append(0, 1, 1, 30);
    script.settle();
    script.checkpoint();
}

pub(super) fn checkpoint(script: &mut Script) {
    for partition in 0..2 {
        script.create(partition, 1);
    }
    for turn in 0..4 {
        let bytes = 100 + script.dice.below(400) as usize;
        script.append(turn % 2, 2, 1, bytes);
        script.round();
        script.append(1 - turn % 2, 1, 1, 40);
        script.checkpoint();
        script.round();
    }
    script.checkpoint();
}

pub(super) fn close(script: &mut Script) {
    script.create(0, 1);
    script.append(0, 2, 2, 300);
    script.round();
    script.closing_round();
    script.register(3);
    script.append(0, 1, 1, 50);
    script.reopen();
    script.reopen();
    script.append(0, 1, 2, 700);
    script.round();
    script.closing_round();
    script.append(0, 1, 1, 20);
    script.snapshot(0, 40);
    script.reopen();
    script.register(4);
}

pub(super) fn kill(script: &mut Script) {
    script.create(0, 1);
    script.create(1, 1);
    script.append(0, 3, 1, 400);
    script.append(1, 1, 1, 100);
    script.settle();
    script.append(0, 2, 1, 700);
    script.round();
    script.append(1, 1, 1, 100);
    script.kill();
    script.append(0, 1, 1, 100);
    script.append(1, 2, 1, 100);
    script.round();
    script.step();
    script.kill();
    script.kill();
    script.append(0, 1, 1, 90);
    script.settle();
}
