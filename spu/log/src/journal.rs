//! The journal's files: rounds are appended to the current one, a spare waits, full ones are kept
//! until a checkpoint covers them, then used again, oldest first.
//!
//! Invariant (J1): a round is written at a multiple of 4 KiB, never over blocks of an older round that
//! is still needed; round numbers only grow. One that is written before the last is synced says so,
//! and unsynced rounds are all in the current file.
//! Invariant (J3): a file is used again only when a durable checkpoint covers all its rounds.
//!
//! Order of locks: head or filling, then naming, then files. The last is never held across disk
//! work: acknowledgements and metrics take it.

mod file;

mod files;

mod spare;

pub(crate) use files::FileSpan;

use files::{Files, Filling, Next, Spare};

use file::{make_zeroed, reuse, zero_fill};

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::id::StorageId;

use crate::checkpoint::JournalPosition;
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::ROUND_ALIGN;
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
    /// Bytes written of the current file.
    used: AtomicU64,
    files: Mutex<Files>,
    /// Held while a file gets the number after the current one.
    naming: Mutex<()>,
    filling: Mutex<Option<Filling>>,
}

/// Where the next round goes. Held while a round is written, and while rounds are synced.
#[derive(Debug)]
struct Head {
    file: Arc<dyn VfsFile>,
    position: JournalPosition,
    len: u64,
    last_round_empty: bool,
    /// Number of the last round that is synced.
    synced: u64,
    /// A write at `position` failed, and what it left there may be a whole round of that number.
    is_soiled: bool,
}

/// A round that is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) round_seq: u64,
    pub(crate) bytes: u64,
    /// Where the next one goes.
    pub(crate) next: JournalPosition,
}

const FILLING: &str = "filling.new";

/// Removes what a crash left of a file that was being filled: nothing of it is known, and recovery
/// may need its room.
pub(crate) fn remove_leftover(place: &Place) {
    // Not being able to costs room, no more.
    let _ = place.vfs.remove_file(&place.path(FILLING));
}

/// Files kept for use again; more are deleted.
const FREE_FILES_MAX: usize = 2;

impl Head {
    fn is_synced(&self) -> bool {
        self.synced == self.position.round_seq - 1
    }
}

impl Journal {
    /// The directory that it belongs to.
    pub(crate) fn storage_id(&self) -> StorageId {
        self.storage_id
    }

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
            synced: position.round_seq - 1,
            is_soiled: false,
        };
        let files = Files {
            current,
            full: VecDeque::new(),
            free,
            spare,
            filling: 0,
            taken: 0,
            is_refused: false,
        };
        Ok(Self {
            place,
            storage_id,
            sizes,
            head: Mutex::new(head),
            used: AtomicU64::new(position.at),
            files: Mutex::new(files),
            naming: Mutex::new(()),
            filling: Mutex::new(None),
        })
    }

    /// Writes a round, which the next [`Self::sync`] makes durable; `None` when the journal is at its
    /// cap and a checkpoint must come first. It must have been begun with [`Self::synced`].
    pub(crate) fn write(&self, round: &mut RoundBuilder) -> Result<Option<Written>, DiskError> {
        let mut head = lock(&self.head);
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
        head.is_soiled = true;
        durable::write_all_at(&*head.file, &buffers, at).during("write", &path)?;
        head.is_soiled = false;
        head.position = JournalPosition {
            file_seq,
            at: at + bytes,
            round_seq: round_seq + 1,
        };
        head.last_round_empty = empty;
        self.used.store(head.position.at, Ordering::Relaxed);
        Ok(Some(Written {
            round_seq,
            bytes,
            next: head.position,
        }))
    }

    /// Makes every round durable that is written.
    pub(crate) fn sync(&self) -> Result<(), DiskError> {
        self.sync_head(&mut lock(&self.head))
    }

    fn sync_head(&self, head: &mut Head) -> Result<(), DiskError> {
        if !head.is_synced() {
            let path = self.place.path(layout::journal(head.position.file_seq));
            head.file.sync_data().during("sync", &path)?;
            head.synced = head.position.round_seq - 1;
        }
        Ok(())
    }

    /// Wipes what a failed write left of the next round, which goes to another file: found first, it
    /// would be taken for that round.
    fn wipe(&self, head: &mut Head) -> Result<(), DiskError> {
        if head.is_soiled {
            let path = self.place.path(layout::journal(head.position.file_seq));
            zero_fill(&*head.file, head.position.at, ROUND_ALIGN).during("write", &path)?;
            head.file.sync_data().during("sync", &path)?;
            head.is_soiled = false;
        }
        Ok(())
    }

    /// The last round that is durable, when it is not the last that is written.
    pub(crate) fn synced(&self) -> Option<u64> {
        let head = lock(&self.head);
        (!head.is_synced()).then_some(head.synced)
    }

    /// True when the last round holds something and is synced, so that an empty one should follow it
    /// soon.
    pub(crate) fn wants_closing_round(&self) -> bool {
        let head = lock(&self.head);
        !head.last_round_empty && head.is_synced()
    }

    /// Where the next round goes.
    pub(crate) fn position(&self) -> JournalPosition {
        lock(&self.head).position
    }

    /// Marks the files whose rounds are all below `round_seq`, which a durable checkpoint covers,
    /// as free. Small ones and those beyond what is soon needed are deleted.
    pub(crate) fn release(&self, round_seq: u64) -> Result<(), DiskError> {
        let mut surplus = Vec::new();
        {
            let mut files = self.lock_files();
            files.is_refused = false;
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

    /// Bytes on disk, and the cap. Never waits for the disk.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.lock_files().total(), self.sizes.total_max)
    }

    /// Moves the head to the next file; false at the cap.
    fn next_file(&self, head: &mut Head, bytes: u64) -> Result<bool, DiskError> {
        self.sync_head(head)?;
        self.wipe(head)?;
        // A spare that is getting its name right now is worth waiting for.
        let naming = lock(&self.naming);
        let file_seq = head.position.file_seq + 1;
        let needed = self.sizes.first.max(bytes.next_multiple_of(ROUND_ALIGN));
        let Some(next) = self.lock_files().take_next(bytes, needed, &self.sizes) else {
            return Ok(false);
        };
        let (file, len) = match self.make(next, file_seq, bytes, needed) {
            Ok(made) => made,
            Err((unused, error)) => {
                self.lock_files().give_back(unused);
                return Err(error);
            }
        };
        self.used.store(0, Ordering::Relaxed);
        self.lock_files()
            .advance(FileSpan { file_seq, len }, head.position.round_seq - 1);
        drop(naming);
        let path = self.place.path(layout::journal(head.position.file_seq));
        head.position = JournalPosition {
            file_seq,
            at: 0,
            ..head.position
        };
        head.len = len;
        let old = std::mem::replace(&mut head.file, file);
        durable::close(old, &path)?;
        Ok(true)
    }

    /// Makes a file ready to be the current one. With an error comes back what it was to be made of.
    fn make(
        &self,
        next: Next,
        file_seq: u64,
        bytes: u64,
        needed: u64,
    ) -> Result<(Arc<dyn VfsFile>, u64), (Next, DiskError)> {
        match next {
            Next::Spare(spare) if spare.span.len >= bytes => Ok((spare.file, spare.span.len)),
            Next::Spare(spare) => {
                let path = self.place.path(layout::journal(file_seq));
                let grown = extend(&spare, needed, &path);
                match grown {
                    Ok(()) => Ok((spare.file, needed)),
                    Err(error) => Err((Next::Spare(spare), error)),
                }
            }
            Next::Free(old) => match reuse(&self.place, old, file_seq) {
                Ok(file) => Ok((file, old.len)),
                Err(error) => Err((Next::Free(old), error)),
            },
            Next::New => match make_zeroed(&self.place, file_seq, needed) {
                Ok(file) => Ok((file, needed)),
                Err(error) => Err((Next::New, error)),
            },
        }
    }

    fn lock_files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }
}

fn extend(spare: &Spare, needed: u64, path: &Path) -> Result<(), DiskError> {
    let from = spare.span.len;
    zero_fill(&*spare.file, from, needed - from).during("write", path)?;
    spare.file.sync_all().during("sync", path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
