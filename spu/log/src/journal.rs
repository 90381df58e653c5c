//! The journal's files: rounds are appended to the current one, a spare waits, full ones are kept
//! until a checkpoint covers them, then used again, oldest first.
//!
//! Invariant (J1): a round is written only after the one before it is synced, at a multiple of
//! 4 KiB, never over blocks of an older round that is still needed; round numbers only grow.
//! Invariant (J3): a file is used again only when a durable checkpoint covers all its rounds.

mod file;

mod files;

pub(crate) use files::FileSpan;

use files::{Files, Filling, FullFile, Spare};

use file::{make_zeroed, reuse, zero_fill};

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_proto::id::StorageId;

use crate::checkpoint::JournalPosition;
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::{ROUND_ALIGN, ZERO_FILL_STEP_BYTES};
use crate::round::{RoundBuilder, RoundName};
use crate::vfs::{Place, VfsFile};

/// Sizes of journal files; tests make them small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalSizes {
    pub(crate) first: u64,
    pub(crate) standard: u64,
    pub(crate) total_max: u64,
}

#[derive(Debug)]
pub(crate) struct Journal {
    /// The directory `journal/`.
    place: Place,
    storage_id: StorageId,
    sizes: JournalSizes,
    head: Mutex<Head>,
    files: Mutex<Files>,
    filling: Mutex<Option<Filling>>,
}

/// Where the next round goes. Held while a round is written and synced.
#[derive(Debug)]
struct Head {
    file: Arc<dyn VfsFile>,
    position: JournalPosition,
    len: u64,
    last_round_empty: bool,
}

/// A round that is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) round_seq: u64,
    pub(crate) bytes: u64,
    /// Where the next one goes.
    pub(crate) next: JournalPosition,
}

const FILLING: &str = "filling.new";

/// Files kept for use again; more are deleted.
const FREE_FILES_MAX: usize = 2;

impl Journal {
    /// Goes on at `position` in a file that is there, or begins that file when it is not. `others`
    /// are all other files, in order; nothing needs what is in them.
    pub(crate) fn open(
        place: Place,
        storage_id: StorageId,
        sizes: JournalSizes,
        position: JournalPosition,
        others: Vec<FileSpan>,
    ) -> Result<Self, DiskError> {
        let mut spare = None;
        let mut free = VecDeque::new();
        for span in others {
            let path = place.path(layout::journal(span.file_seq));
            if span.file_seq == position.file_seq + 1 {
                let file = place.vfs.open(&path).during("open", &path)?;
                spare = Some(Spare { span, file });
            } else {
                free.push_back(span);
            }
        }
        while free.len() > FREE_FILES_MAX {
            let Some(span) = free.pop_front() else { break };
            let path = place.path(layout::journal(span.file_seq));
            place.vfs.remove_file(&path).during("remove", &path)?;
        }
        let path = place.path(layout::journal(position.file_seq));
        let _ = place.vfs.remove_file(&place.path(FILLING));
        let exists = place.vfs.exists(&path).during("stat", &path)?;
        let (file, len) = if exists {
            let file = place.vfs.open(&path).during("open", &path)?;
            let len = file.len().during("stat", &path)?;
            (file, len)
        } else if let Some(old) = free.pop_front() {
            (reuse(&place, old, position.file_seq)?, old.len)
        } else {
            let file = make_zeroed(&place, position.file_seq, sizes.first)?;
            (file, sizes.first)
        };
        let current = FileSpan {
            file_seq: position.file_seq,
            len,
        };
        let head = Head {
            file,
            position,
            len,
            last_round_empty: true,
        };
        let files = Files {
            current,
            current_used: position.at,
            full: VecDeque::new(),
            free,
            spare,
            filling: 0,
        };
        Ok(Self {
            place,
            storage_id,
            sizes,
            head: Mutex::new(head),
            files: Mutex::new(files),
            filling: Mutex::new(None),
        })
    }

    /// Writes and syncs a round; `None` when the journal is at its cap and a checkpoint must come
    /// first.
    pub(crate) fn append(&self, round: &mut RoundBuilder) -> Result<Option<Written>, DiskError> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = round.padded_len();
        if head.position.at + bytes > head.len && !self.next_file(&mut head, bytes)? {
            return Ok(None);
        }
        let JournalPosition {
            file_seq,
            at,
            round_seq,
        } = head.position;
        let path = self.place.path(layout::journal(file_seq));
        let empty = round.is_empty();
        let buffers = round.finish(RoundName {
            storage_id: self.storage_id,
            file_seq,
            round_seq,
        });
        durable::write_all_at(&*head.file, &buffers, at).during("write", &path)?;
        head.file.sync_data().during("sync", &path)?;
        head.position = JournalPosition {
            file_seq,
            at: at + bytes,
            round_seq: round_seq + 1,
        };
        head.last_round_empty = empty;
        self.lock_files().current_used = head.position.at;
        Ok(Some(Written {
            round_seq,
            bytes,
            next: head.position,
        }))
    }

    /// True when the last round holds something, so that an empty one should follow it soon.
    pub(crate) fn wants_closing_round(&self) -> bool {
        !self
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last_round_empty
    }

    /// Where the next round goes.
    pub(crate) fn position(&self) -> JournalPosition {
        self.head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .position
    }

    /// Marks the files whose rounds are all below `round_seq`, which a durable checkpoint covers,
    /// as free. Small ones and those beyond what is soon needed are deleted.
    pub(crate) fn release(&self, round_seq: u64) -> Result<(), DiskError> {
        let mut surplus = Vec::new();
        {
            let mut files = self.lock_files();
            while files
                .full
                .front()
                .is_some_and(|file| file.last_round < round_seq)
            {
                let Some(file) = files.full.pop_front() else {
                    break;
                };
                files.free.push_back(file.span);
            }
            while files.free.len() > FREE_FILES_MAX {
                surplus.extend(files.free.pop_front());
            }
        }
        for span in surplus {
            let path = self.place.path(layout::journal(span.file_seq));
            self.place.vfs.remove_file(&path).during("remove", &path)?;
        }
        Ok(())
    }

    /// Does a piece of making the next file ready; false when there is nothing to do. A directory
    /// that is hardly written to never pays for a large file.
    pub(crate) fn prepare_step(&self) -> Result<bool, DiskError> {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if filling.is_none() {
            let mut files = self.lock_files();
            if !files.wants_spare(&self.sizes) {
                return Ok(false);
            }
            if let Some(old) = files.free.pop_front() {
                let span = FileSpan {
                    file_seq: files.current.file_seq + 1,
                    len: old.len,
                };
                let file = reuse(&self.place, old, span.file_seq)?;
                files.spare = Some(Spare { span, file });
                return Ok(true);
            }
            let path = self.place.path(FILLING);
            let file = self.place.vfs.create(&path).during("create", &path)?;
            file.set_len(0).during("truncate", &path)?;
            files.filling = self.sizes.standard;
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
            return Ok(true);
        }
        let Some(work) = filling.take() else {
            return Ok(false);
        };
        self.adopt(work)?;
        Ok(true)
    }

    /// True when the next file should be made ready.
    pub(crate) fn wants_spare(&self) -> bool {
        self.lock_files().wants_spare(&self.sizes)
    }

    /// Bytes on disk, and the cap.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.lock_files().total(), self.sizes.total_max)
    }

    fn adopt(&self, work: Filling) -> Result<(), DiskError> {
        work.file.sync_all().during("sync", &work.path)?;
        // The lock is held over the rename, so that the number cannot be taken meanwhile.
        let mut files = self.lock_files();
        files.filling = 0;
        if files.spare.is_some() {
            drop(files);
            return self
                .place
                .vfs
                .remove_file(&work.path)
                .during("remove", &work.path);
        }
        let span = FileSpan {
            file_seq: files.current.file_seq + 1,
            len: work.filled,
        };
        let path = self.place.path(layout::journal(span.file_seq));
        self.place
            .vfs
            .rename(&work.path, &path)
            .during("rename", &path)?;
        self.place
            .vfs
            .sync_dir(&self.place.root)
            .during("sync directory", &self.place.root)?;
        files.spare = Some(Spare {
            span,
            file: work.file,
        });
        Ok(())
    }

    /// Moves the head to the next file; false at the cap.
    fn next_file(&self, head: &mut Head, bytes: u64) -> Result<bool, DiskError> {
        let mut files = self.lock_files();
        let file_seq = head.position.file_seq + 1;
        let needed = self.sizes.first.max(bytes.next_multiple_of(ROUND_ALIGN));
        let (file, len) = match files.spare.take() {
            Some(spare) if spare.span.len >= bytes => (spare.file, spare.span.len),
            Some(spare) => {
                let path = self.place.path(layout::journal(file_seq));
                zero_fill(&*spare.file, spare.span.len, needed - spare.span.len)
                    .during("write", &path)?;
                spare.file.sync_all().during("sync", &path)?;
                (spare.file, needed)
            }
            None => match files.free.pop_front_if(|span| span.len >= bytes) {
                Some(old) => (reuse(&self.place, old, file_seq)?, old.len),
                None if !files.full.is_empty() && files.total() + needed > self.sizes.total_max => {
                    return Ok(false);
                }
                None => (make_zeroed(&self.place, file_seq, needed)?, needed),
            },
        };
        let span = FileSpan {
            file_seq: head.position.file_seq,
            len: head.len,
        };
        files.full.push_back(FullFile {
            span,
            last_round: head.position.round_seq - 1,
        });
        files.current = FileSpan { file_seq, len };
        files.current_used = 0;
        head.position = JournalPosition {
            file_seq,
            at: 0,
            ..head.position
        };
        head.len = len;
        let old = std::mem::replace(&mut head.file, file);
        durable::close(old, &self.place.path(layout::journal(span.file_seq)))?;
        Ok(true)
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
