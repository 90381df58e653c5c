//! Which journal files there are: in use, full, free, ready, being filled. Counts them against the
//! cap; touches no disk. Invariant: a file is in one of these states, and its number is below the
//! spare's.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::JournalSizes;
use crate::guard::{self, Guard};
use crate::vfs::VfsFile;

#[derive(Debug)]
pub(super) struct Files {
    pub(super) current: FileSpan,
    /// Filled, still needed, oldest first.
    pub(super) full: VecDeque<FullFile>,
    /// Needed no more; names are old ones. Oldest first.
    pub(super) free: VecDeque<FileSpan>,
    /// Ready to be the next current file.
    pub(super) spare: Option<Spare>,
    /// Bytes of the file being filled.
    pub(super) filling: u64,
    /// Bytes of the file that is on the way to another state, while the disk works on it.
    pub(super) taken: u64,
    /// The disk had no room for a spare; not tried again before a checkpoint made some.
    pub(super) is_refused: bool,
}

/// Where the next current file comes from.
#[derive(Debug)]
pub(super) enum Next {
    Spare(Spare),
    Free(FileSpan),
    New,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileSpan {
    pub(crate) file_seq: u64,
    pub(crate) len: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FullFile {
    pub(super) span: FileSpan,
    pub(super) last_round: u64,
}

#[derive(Debug)]
pub(super) struct Spare {
    pub(super) span: FileSpan,
    pub(super) file: Arc<dyn VfsFile>,
}

#[derive(Debug)]
pub(super) struct Filling {
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) path: PathBuf,
    pub(super) filled: u64,
}

impl Files {
    /// True when half of the current file is used and the next one is not there.
    pub(super) fn wants_spare(&self, used: u64, sizes: &JournalSizes) -> bool {
        let has_room = || !self.is_refused && self.total() + sizes.standard <= sizes.total_max;
        self.spare.is_none()
            && used >= self.current.len / 2
            && (!self.free.is_empty() || self.filling > 0 || has_room())
    }

    /// Takes what is to be the current file next; `None` at the cap. `advance` must follow.
    pub(super) fn take_next(
        &mut self,
        bytes: u64,
        needed: u64,
        sizes: &JournalSizes,
    ) -> Option<Next> {
        if let Some(spare) = self.spare.take() {
            self.taken = spare.span.len;
            return Some(Next::Spare(spare));
        }
        if let Some(old) = self.free.pop_front_if(|span| span.len >= bytes) {
            self.taken = old.len;
            return Some(Next::Free(old));
        }
        if !self.full.is_empty() && self.total() + needed > sizes.total_max {
            return None;
        }
        self.taken = needed;
        Some(Next::New)
    }

    /// The file that was taken is the current one; the one before is full.
    pub(super) fn advance(&mut self, next: FileSpan, last_round: u64) {
        let span = std::mem::replace(&mut self.current, next);
        if guard::stands(Guard::RecycleCoveredOnly) {
            self.full.push_back(FullFile { span, last_round });
        } else {
            self.free.push_back(span);
        }
        self.taken = 0;
    }

    /// What was taken could not be made the current file.
    pub(super) fn give_back(&mut self, next: Next) {
        self.taken = 0;
        match next {
            Next::Spare(spare) => self.spare = Some(spare),
            Next::Free(span) => self.free.push_front(span),
            Next::New => {}
        }
    }

    pub(super) fn total(&self) -> u64 {
        let full: u64 = self.full.iter().map(|file| file.span.len).sum();
        let free: u64 = self.free.iter().map(|span| span.len).sum();
        self.current.len
            + full
            + free
            + self.filling
            + self.taken
            + self.spare.as_ref().map_or(0, |spare| spare.span.len)
    }
}
