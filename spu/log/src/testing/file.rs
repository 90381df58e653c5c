//! An open file of the disk in memory: every operation first asks the disk whether it is to fail,
//! then is recorded as unsynced. Invariant: what `sync_data` returned `Ok` for is in every later
//! image.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::image::{Change, Inode, write_into};
use super::{Disk, MemVfs, Operation, lock};
use crate::vfs::{FileSystem, VfsFile};

#[derive(Debug)]
pub(super) struct MemFile {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) inode: Arc<Mutex<Inode>>,
    pub(super) holds_lock: AtomicBool,
}

impl VfsFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        lock(&self.disk).check(Operation::Read)?;
        let inode = lock(&self.inode);
        let rest = inode.live.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        drop(inode);
        let mut disk = lock(&self.disk);
        disk.counts.reads += 1;
        disk.counts.read_bytes += count as u64;
        drop(disk);
        Ok(count)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let data: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        {
            let mut disk = lock(&self.disk);
            disk.check(Operation::Write)?;
            disk.check_room(&self.inode, at + data.len() as u64)?;
            disk.counts.writes += 1;
            disk.counts.bytes += data.len() as u64;
        }
        let mut inode = lock(&self.inode);
        write_into(&mut inode.live, at, &data);
        let count = data.len();
        inode.unsynced.push(Change::Write(at, data));
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        {
            let mut disk = lock(&self.disk);
            disk.check(Operation::Sync)?;
            disk.counts.syncs += 1;
        }
        lock(&self.inode).sync();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        {
            let mut disk = lock(&self.disk);
            disk.check(Operation::Write)?;
            disk.check_room(&self.inode, len)?;
        }
        let mut inode = lock(&self.inode);
        inode.live.resize(len as usize, 0);
        inode.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn preallocate(&self, _from: u64, _bytes: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut inode = lock(&self.inode);
        if inode.is_locked {
            return Ok(false);
        }
        inode.is_locked = true;
        self.holds_lock.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        lock(&self.disk).check(Operation::Close)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if self.holds_lock.load(Ordering::Relaxed) {
            lock(&self.inode).is_locked = false;
        }
    }
}

impl FileSystem for MemVfs {
    fn sync(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.check(Operation::Sync)?;
        disk.counts.whole_syncs += 1;
        disk.unsynced.clear();
        disk.durable = disk.live.clone();
        for inode in disk.live.files.values() {
            lock(inode).sync();
        }
        Ok(())
    }
}
