//! The sparse index of a segment: where to begin reading for an offset or a time.
//!
//! Entries of 32 bytes, one before the first batch and then one before the next batch that begins
//! 8 KiB or more after the last: `u64 offset | u64 position | i64 greatest timestamp before it |
//! u32 zero | u32 crc32c`. A closed segment has one more, whose position is the segment's length; instead
//! of zero it has the second in which the segment was appended to last.
//! The index is a hint that can be rebuilt: it is not synced, every entry is checked, and one that
//! is wrong costs time only.

use std::io;

use crate::durable;
use crate::limits::INDEX_INTERVAL_BYTES;
use crate::scalar::{Put as _, Reader};
use crate::vfs::VfsFile;
use tidegate_proto::position::Offset;

pub(crate) const ENTRY_LEN: u64 = 32;

/// A place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Base offset of the batch at `position`; the segment's end in a closing entry.
    pub(crate) offset: Offset,
    pub(crate) position: u64,
    /// Greatest timestamp of all batches before it; `i64::MIN` when there are none.
    pub(crate) timestamp_before_ms: i64,
    /// In a closing entry the last append, in epoch seconds rounded up; 0 when it is not known.
    pub(crate) last_append_s: u32,
}

impl IndexEntry {
    /// The entry of a closed segment's end.
    pub(crate) fn closing(
        end: Offset,
        len: u64,
        max_timestamp_ms: i64,
        last_append_ms: i64,
    ) -> Self {
        let seconds = last_append_ms.max(0).saturating_add(999) / 1000;
        Self {
            offset: end,
            position: len,
            timestamp_before_ms: max_timestamp_ms,
            last_append_s: u32::try_from(seconds).unwrap_or(u32::MAX),
        }
    }

    /// When the segment that it closes was appended to last; not before its newest record when that
    /// is not known.
    pub(crate) fn last_append_ms(&self) -> i64 {
        match self.last_append_s {
            0 => self.timestamp_before_ms,
            seconds => i64::from(seconds) * 1000,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENTRY_LEN as usize);
        bytes.put_u64(self.offset.get());
        bytes.put_u64(self.position);
        bytes.put_i64(self.timestamp_before_ms);
        bytes.put_u32(self.last_append_s);
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let offset = Offset::new(reader.u64()?);
        let position = reader.u64()?;
        let timestamp_before_ms = reader.i64()?;
        let last_append_s = reader.u32()?;
        let crc = reader.u32()?;
        (crc32c::crc32c(&bytes[..28]) == crc).then_some(Self {
            offset,
            position,
            timestamp_before_ms,
            last_append_s,
        })
    }
}

/// Decides, batch by batch, where entries go. The same batches give the same entries, whether they
/// are being appended or scanned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexRule {
    last_position: Option<u64>,
    pub(crate) max_timestamp_ms: i64,
}

impl IndexRule {
    pub(crate) fn new() -> Self {
        Self {
            last_position: None,
            max_timestamp_ms: i64::MIN,
        }
    }

    /// Goes on after an entry of a file, with the batch at its position still to come.
    pub(crate) fn resume(entry: &IndexEntry) -> Self {
        Self {
            last_position: Some(entry.position),
            max_timestamp_ms: entry.timestamp_before_ms,
        }
    }

    /// Takes note of a batch; gives the entry that belongs before it, if one does.
    pub(crate) fn batch(
        &mut self,
        offset: Offset,
        position: u64,
        max_timestamp_ms: i64,
    ) -> Option<IndexEntry> {
        let due = self
            .last_position
            .is_none_or(|last| position > last && position - last >= INDEX_INTERVAL_BYTES);
        let entry = due.then_some(IndexEntry {
            offset,
            position,
            timestamp_before_ms: self.max_timestamp_ms,
            last_append_s: 0,
        });
        if due {
            self.last_position = Some(position);
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(max_timestamp_ms);
        entry
    }
}

/// The last entry of an index file whose position satisfies `usable`, with its number; entries
/// after it are not to be trusted.
pub(crate) fn last_entry(
    file: &dyn VfsFile,
    usable: impl Fn(&IndexEntry) -> bool,
) -> io::Result<Option<(u64, IndexEntry)>> {
    let mut count = file.len()? / ENTRY_LEN;
    while count > 0 {
        count -= 1;
        if let Some(entry) = read_entry(file, count)?.filter(&usable) {
            return Ok(Some((count, entry)));
        }
    }
    Ok(None)
}

/// The last entry before which `precedes` holds for all; `None` when there is none or the file
/// cannot be trusted.
pub(crate) fn search(
    file: &dyn VfsFile,
    precedes: impl Fn(&IndexEntry) -> bool,
) -> io::Result<Option<IndexEntry>> {
    let (mut low, mut high) = (0, file.len()? / ENTRY_LEN);
    let mut best = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(entry) = read_entry(file, middle)? else {
            return Ok(None);
        };
        if precedes(&entry) {
            best = Some(entry);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(best)
}

pub(crate) fn read_entry(file: &dyn VfsFile, number: u64) -> io::Result<Option<IndexEntry>> {
    let mut bytes = [0; ENTRY_LEN as usize];
    let read = durable::read_full_at(file, &mut bytes, number * ENTRY_LEN)?;
    Ok(if read == bytes.len() {
        IndexEntry::decode(&bytes)
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_first_and_then_by_distance() {
        let mut rule = IndexRule::new();
        let first = rule.batch(Offset::new(5), 0, 10);
        assert_eq!(first.map(|entry| entry.timestamp_before_ms), Some(i64::MIN));
        assert_eq!(
            rule.batch(Offset::new(6), INDEX_INTERVAL_BYTES - 1, 30),
            None
        );
        let next = rule.batch(Offset::new(7), INDEX_INTERVAL_BYTES, 20);
        assert_eq!(
            next,
            Some(IndexEntry {
                offset: Offset::new(7),
                position: INDEX_INTERVAL_BYTES,
                timestamp_before_ms: 30,
                last_append_s: 0,
            })
        );
        assert_eq!(rule.max_timestamp_ms, 30);
    }

    #[test]
    fn a_flipped_bit_makes_an_entry_unreadable() {
        let entry = IndexEntry {
            offset: Offset::new(1),
            position: 2,
            timestamp_before_ms: -3,
            last_append_s: 4,
        };
        let bytes = entry.encode();
        assert_eq!(IndexEntry::decode(&bytes), Some(entry));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(IndexEntry::decode(&damaged), None, "bit {bit}");
        }
    }
}
