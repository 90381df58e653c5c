//! Makes the next journal file ready in the background, a piece at a time, so that rounds do not
//! wait for one.
//!
//! Invariant: a spare carries the number after the current file's, and its name lasts.

use super::file::{reuse, zero_fill};
use super::files::{Filling, Next, Spare};
use super::{FILLING, FileSpan, Journal, lock};
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::ZERO_FILL_STEP_BYTES;
use std::io;
use std::sync::atomic::Ordering;

impl Journal {
    /// True when the next file should be made ready.
    pub(crate) fn wants_spare(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        self.lock_files().wants_spare(used, &self.sizes)
    }

    /// The disk may have room for a spare again.
    pub(crate) fn allow_spare(&self) {
        self.lock_files().is_refused = false;
    }

    /// Does a piece of making the next file ready; false when there is nothing to do. A directory
    /// that is hardly written to never pays for a large file. A disk without room for it is none
    /// to die of: the current file has some.
    pub(crate) fn prepare_step(&self) -> Result<bool, DiskError> {
        let mut filling = lock(&self.filling);
        if filling.is_none() {
            if !self.wants_spare() {
                return Ok(false);
            }
            if self.adopt_free()? {
                return Ok(true);
            }
        }
        match self.fill(&mut filling) {
            Ok(false) => Ok(true),
            Ok(true) => {
                let Some(whole) = filling.take() else {
                    return Ok(true);
                };
                match self.adopt(whole) {
                    Err(error) if error.is_passing() => self.give_up(&mut filling)?,
                    other => other?,
                }
                Ok(true)
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "no room to prepare a journal file");
                self.give_up(&mut filling)?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a free file the spare; false when there is none.
    fn adopt_free(&self) -> Result<bool, DiskError> {
        let _naming = lock(&self.naming);
        let (old, file_seq) = {
            let mut files = self.lock_files();
            if files.spare.is_some() {
                return Ok(true);
            }
            let Some(old) = files.free.pop_front() else {
                return Ok(false);
            };
            files.taken = old.len;
            (old, files.current.file_seq + 1)
        };
        let file = match reuse(&self.place, old, file_seq) {
            Ok(file) => file,
            Err(error) => {
                self.lock_files().give_back(Next::Free(old));
                return Err(error);
            }
        };
        let span = FileSpan {
            file_seq,
            len: old.len,
        };
        let mut files = self.lock_files();
        files.taken = 0;
        files.spare = Some(Spare { span, file });
        Ok(true)
    }

    /// Writes a piece of the file being filled, which it begins when there is none; true when it is
    /// whole and synced.
    fn fill(&self, filling: &mut Option<Filling>) -> Result<bool, DiskError> {
        if filling.is_none() {
            let path = self.place.path(FILLING);
            let file = self.place.vfs.create(&path).during("create", &path)?;
            file.set_len(0).during("truncate", &path)?;
            // So that a lack of room shows here, and not at a sync, where it would be final.
            file.preallocate(0, self.sizes.standard)
                .during("preallocate", &path)?;
            self.lock_files().filling = self.sizes.standard;
            *filling = Some(Filling {
                file,
                path,
                filled: 0,
            });
        }
        let Some(work) = filling.as_mut() else {
            return Ok(false);
        };
        if work.filled < self.sizes.standard {
            let step = (self.sizes.standard - work.filled).min(ZERO_FILL_STEP_BYTES as u64);
            zero_fill(&*work.file, work.filled, step).during("write", &work.path)?;
            work.filled += step;
            // Synced piece by piece: one sync of it all would hold up the rounds meanwhile.
            work.file.sync_data().during("sync", &work.path)?;
            return Ok(false);
        }
        work.file.sync_all().during("sync", &work.path)?;
        Ok(true)
    }

    /// Gives a whole file its number. It is not needed when a round could not wait for it and made
    /// one of its own.
    fn adopt(&self, work: Filling) -> Result<(), DiskError> {
        let _naming = lock(&self.naming);
        let file_seq = {
            let files = self.lock_files();
            files.spare.is_none().then(|| files.current.file_seq + 1)
        };
        let Some(file_seq) = file_seq else {
            self.lock_files().filling = 0;
            return self.remove_filling();
        };
        let path = self.place.path(layout::journal(file_seq));
        self.place
            .vfs
            .rename(&work.path, &path)
            .during("rename", &path)?;
        self.place
            .vfs
            .sync_dir(&self.place.root)
            .during("sync directory", &self.place.root)?;
        let span = FileSpan {
            file_seq,
            len: work.filled,
        };
        let mut files = self.lock_files();
        files.filling = 0;
        files.spare = Some(Spare {
            span,
            file: work.file,
        });
        Ok(())
    }

    fn give_up(&self, filling: &mut Option<Filling>) -> Result<(), DiskError> {
        // An open file keeps its room.
        *filling = None;
        {
            let mut files = self.lock_files();
            files.filling = 0;
            files.is_refused = true;
        }
        self.remove_filling()
    }

    fn remove_filling(&self) -> Result<(), DiskError> {
        let path = self.place.path(FILLING);
        match self.place.vfs.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).during("remove", &path)
            }
            _ => Ok(()),
        }
    }
}
