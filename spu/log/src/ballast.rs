//! The ballast: a file that only takes space, so that there is some to give when the disk is full.
//!
//! It is allocated really: a sparse file holds nothing back. It is made by and by, and its loss costs
//! nothing, so nothing of it is synced.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::BALLAST_STEP_BYTES;
use crate::vfs::Place;

#[derive(Debug)]
pub(crate) struct Ballast {
    place: Place,
    held: Mutex<u64>,
}

impl Ballast {
    /// Takes over what an earlier run left.
    pub(crate) fn open(place: Place) -> Result<Self, DiskError> {
        let path = place.path(layout::BALLAST);
        let held = match place.vfs.open_read(&path) {
            Ok(file) => file.len().during("stat", &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error).during("open", &path),
        };
        let held = Mutex::new(held);
        Ok(Self { place, held })
    }

    /// Bytes held back.
    pub(crate) fn held(&self) -> u64 {
        *self.lock()
    }

    /// Gives all of it back to the disk; false when there was nothing to give.
    pub(crate) fn release(&self) -> Result<bool, DiskError> {
        let mut held = self.lock();
        if *held == 0 {
            return Ok(false);
        }
        self.remove()?;
        *held = 0;
        Ok(true)
    }

    /// Brings it nearer to a size; true when it has it. When there is no room, gives up what it had
    /// begun.
    pub(crate) fn approach(&self, target: u64) -> Result<bool, DiskError> {
        let mut held = self.lock();
        if *held > target {
            // Made anew in the size wanted: cutting would do, if file systems all freed space by it.
            self.remove()?;
            *held = 0;
        }
        if *held == target {
            return Ok(true);
        }
        match self.grow(*held, target) {
            Ok(now) => {
                *held = now;
                Ok(now == target)
            }
            Err(error) => {
                *held = 0;
                self.remove()?;
                if error.is_passing() {
                    Ok(true)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn grow(&self, from: u64, target: u64) -> Result<u64, DiskError> {
        let path = self.place.path(layout::BALLAST);
        let file = self.place.vfs.create(&path).during("create", &path)?;
        let is_reserved = file
            .preallocate(from, target - from)
            .during("preallocate", &path)?;
        if is_reserved {
            file.set_len(target).during("truncate", &path)?;
            return Ok(target);
        }
        let step = (target - from).min(BALLAST_STEP_BYTES as u64);
        let bytes = noise(from, usize::try_from(step).unwrap_or(BALLAST_STEP_BYTES));
        durable::write_all_at(&*file, &[&bytes], from).during("write", &path)?;
        Ok(from + step)
    }

    fn remove(&self) -> Result<(), DiskError> {
        let path = self.place.path(layout::BALLAST);
        match self.place.vfs.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).during("remove", &path)
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a compressing file system cannot make small.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Xorshift: not random, and not compressible either.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
