//! Compares an index file with the segment that it belongs to, batch by batch as the segment is
//! checked, and makes the entries of a new one.
//!
//! In a segment without damage every entry must be the one that the rule gives. Behind damage the
//! rule has lost count: there each entry must lead to a batch, or into the damage.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::index::{ENTRY_LEN, IndexEntry, IndexRule, read_entry};
use crate::vfs::VfsFile;

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexFault {
    pub(crate) bytes: Range<u64>,
    pub(crate) what: &'static str,
}

/// How much of an index must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All entries and the closing one.
    Closed,
    /// Entries may be missing at the end, and the closing one may be there.
    Active,
}

#[derive(Debug)]
pub(crate) struct IndexCheck {
    file: Arc<dyn VfsFile>,
    len: u64,
    /// Number of the next entry.
    next: u64,
    rule: IndexRule,
    is_exact: bool,
    fault: Option<IndexFault>,
}

impl IndexCheck {
    pub(crate) fn new(file: Arc<dyn VfsFile>) -> io::Result<Self> {
        Ok(Self {
            len: file.len()?,
            file,
            next: 0,
            rule: IndexRule::new(),
            is_exact: true,
            fault: None,
        })
    }

    /// Takes note of the segment's next batch.
    pub(crate) fn batch(&mut self, batch: &Batch, at: u64) -> io::Result<()> {
        let base = batch.placement.base_offset;
        let due = self.rule.batch(base, at, batch.max_timestamp_ms());
        if self.fault.is_some() {
            return Ok(());
        }
        if self.is_exact {
            if let Some(entry) = due
                && self.next < self.count()
            {
                self.expect(&entry, "an entry is not the one that belongs there")?;
            } else if due.is_some() {
                // Entries are missing from here on.
                self.next = u64::MAX;
                self.is_exact = false;
            }
            return Ok(());
        }
        while self.next < self.count() {
            match read_entry(&*self.file, self.next)? {
                None => self.set_fault("an entry cannot be read"),
                Some(entry) if entry.position > at => return Ok(()),
                Some(entry) if entry.position == at && entry.offset != base => {
                    self.set_fault("an entry names another offset than the batch it leads to");
                }
                Some(_) => self.next += 1,
            }
            if self.fault.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// From here on the rule is not known to give what it gave when the segment was written.
    pub(crate) fn damage(&mut self) {
        self.is_exact = false;
    }

    /// The segment's end; gives what is wrong.
    pub(crate) fn finish(
        mut self,
        len: u64,
        end: Offset,
        extent: Extent,
    ) -> io::Result<Option<IndexFault>> {
        if self.fault.is_some() || (!self.is_exact && extent == Extent::Active) {
            return Ok(self.fault);
        }
        let closing = IndexEntry {
            offset: end,
            position: len,
            timestamp_before_ms: self.rule.max_timestamp_ms,
            // When it was appended to last, the segment need not show: compaction takes batches out.
            last_append_s: match self.next < self.count() {
                true => read_entry(&*self.file, self.next)?.map_or(0, |entry| entry.last_append_s),
                false => 0,
            },
        };
        if self.next == u64::MAX || (extent == Extent::Closed && self.next >= self.count()) {
            self.next = self.count();
            self.set_fault("entries are missing at the end");
            return Ok(self.fault);
        }
        if self.is_exact && self.next < self.count() {
            self.expect(&closing, "the closing entry does not fit the segment")?;
        } else if self.next < self.count() {
            match read_entry(&*self.file, self.count() - 1)? {
                Some(entry) if entry.position == len && entry.offset >= end => {
                    self.next = self.count();
                }
                _ => self.set_fault("the closing entry does not fit the segment"),
            }
        }
        if self.fault.is_none() && self.next * ENTRY_LEN != self.len {
            self.set_fault("something follows the last entry");
        }
        Ok(self.fault)
    }

    fn expect(&mut self, entry: &IndexEntry, what: &'static str) -> io::Result<()> {
        if read_entry(&*self.file, self.next)? == Some(*entry) {
            self.next += 1;
        } else {
            self.set_fault(what);
        }
        Ok(())
    }

    fn set_fault(&mut self, what: &'static str) {
        let from = (self.next * ENTRY_LEN).min(self.len);
        self.fault = Some(IndexFault {
            bytes: from..self.len,
            what,
        });
    }

    /// Whole entries in the file.
    fn count(&self) -> u64 {
        self.len / ENTRY_LEN
    }
}
