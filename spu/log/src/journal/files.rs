//! Which journal files there are: in use, full, free, ready, being filled. Counts them against the
//! cap; touches no disk. Invariant: a file is in one of these states, and its number is below the
//! spare's.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::JournalSizes;
use crate::vfs::VfsFile;

#[derive(Debug)]
pub(super) struct Files {
    pub(super) current: FileSpan,
    pub(super) current_used: u64,
    /// Filled, still needed, oldest first.
    pub(super) full: VecDeque<FullFile>,
    /// Needed no more; names are old ones. Oldest first.
    pub(super) free: VecDeque<FileSpan>,
    /// Ready to be the next current file.
    pub(super) spare: Option<Spare>,
    /// Bytes of the file being filled.
    pub(super) filling: u64,
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
    pub(super) fn wants_spare(&self, sizes: &JournalSizes) -> bool {
        self.spare.is_none()
            && self.current_used >= self.current.len / 2
            && (!self.free.is_empty() || self.total() + sizes.standard <= sizes.total_max)
    }

    pub(super) fn total(&self) -> u64 {
        let full: u64 = self.full.iter().map(|file| file.span.len).sum();
        let free: u64 = self.free.iter().map(|span| span.len).sum();
        self.current.len
            + full
            + free
            + self.filling
            + self.spare.as_ref().map_or(0, |spare| spare.span.len)
    }
}
