//! Walks a segment from its last usable index entry to its end, and gives back what a writer needs
//! to go on there; on the way the index is made right.
//!
//! Starts at an index entry, not at the segment's first byte, so that opening costs one index
//! interval whatever the segment's size; an index that lies is found out and not used.

use std::io;

use tidegate_proto::batch::{Batch, PLACEMENT_LEN, PlacementHeader};
use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::files::FileKind;
use crate::index::{self, ENTRY_LEN, IndexEntry, IndexRule};
use crate::limits::INDEX_INTERVAL_BYTES;
use crate::segment::{Active, Home};
use crate::stored::{BatchScanner, Scanned};

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The segment up to where the walk stopped.
    pub(crate) active: Active,
    /// End of the last batch kept.
    pub(crate) end: Offset,
    pub(crate) stop: WalkStop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalkStop {
    /// The file's end, exactly after a batch.
    End,
    /// `keep` said no.
    Refused,
    /// What follows is no right batch.
    Bad { what: &'static str },
}

/// Walks the segment `base`, whose file is `len` long. Starts at the last index entry that is
/// `usable` and lies before the end, or at the beginning; stops at the first batch that `keep`
/// (batch, position) refuses. The index file then ends with the last batch kept.
pub(crate) fn walk(
    home: &Home,
    base: Offset,
    len: u64,
    usable: impl Fn(&IndexEntry) -> bool,
    mut keep: impl FnMut(&Batch, u64) -> bool,
) -> Result<Walk, DiskError> {
    let (path, index_path) = (
        home.path(base, FileKind::Records),
        home.path(base, FileKind::Index),
    );
    let index_file = home
        .open_or_create(base, FileKind::Index)
        .during("create", &index_path)?;
    let start = index::last_entry(&*index_file, |entry| {
        entry.position < len && entry.offset >= base && usable(entry)
    });
    // It is a hint: without it the segment is walked from its beginning, and the index written anew.
    let start = match start.unwrap_or_default() {
        Some((number, entry)) if stands_at(home, base, len, &entry).during("read", &path)? => {
            Some((number, entry))
        }
        _ => None,
    };
    let first_append_ms = first_append_ms(home, base, len).during("read", &path)?;
    let mut active = Active::new(base, first_append_ms);
    if active.first_append_ms == i64::MAX {
        active.info.last_append_ms = i64::MIN;
    }
    let mut end = base;
    if let Some((number, entry)) = start {
        active.info.len = entry.position;
        active.info.max_timestamp_ms = entry.timestamp_before_ms;
        active.rule = IndexRule::resume(&entry);
        active.index_len = (number + 1) * ENTRY_LEN;
        end = entry.offset;
    }
    let mut entries = Vec::new();
    let mut scanner = scanner(home, base, active.info.len, len).during("open", &path)?;
    let stop = loop {
        match scanner.step().during("read", &path)? {
            Scanned::End => break WalkStop::End,
            Scanned::Bad { what, .. } => break WalkStop::Bad { what },
            Scanned::Batch { batch, at } => {
                if batch.placement.base_offset != end {
                    break WalkStop::Bad {
                        what: "the batch does not follow the one before it",
                    };
                }
                if !keep(&batch, at) {
                    break WalkStop::Refused;
                }
                entries.extend(active.note(&batch).map(|entry| entry.encode()));
                end = batch.next_offset();
            }
        }
    };
    if index_file.len().during("stat", &index_path)? != active.index_len {
        index_file
            .set_len(active.index_len)
            .during("truncate", &index_path)?;
    }
    if !entries.is_empty() {
        durable::write_all_at(&*index_file, &[&entries.concat()], active.index_len)
            .during("write", &index_path)?;
        active.index_len += entries.len() as u64 * ENTRY_LEN;
    }
    Ok(Walk { active, end, stop })
}

/// A scanner of a segment's records from a position on.
pub(crate) fn scanner(home: &Home, base: Offset, at: u64, len: u64) -> io::Result<BatchScanner> {
    let file = home.open(base, FileKind::Records)?;
    Ok(BatchScanner::new(
        file,
        home.key,
        at,
        len,
        INDEX_INTERVAL_BYTES as usize * 2,
    ))
}

fn stands_at(home: &Home, base: Offset, len: u64, entry: &IndexEntry) -> io::Result<bool> {
    Ok(match scanner(home, base, entry.position, len)?.step()? {
        Scanned::Batch { batch, .. } => batch.placement.base_offset == entry.offset,
        // The entry may be right and the batch rotten; walking from the beginning finds out.
        Scanned::End | Scanned::Bad { .. } => false,
    })
}

fn first_append_ms(home: &Home, base: Offset, len: u64) -> io::Result<i64> {
    if len < PLACEMENT_LEN as u64 {
        return Ok(i64::MAX);
    }
    let file = home.open(base, FileKind::Records)?;
    let mut bytes = [0; PLACEMENT_LEN];
    durable::read_full_at(&*file, &mut bytes, 0)?;
    // A damaged first header makes the segment young: it is then closed later, not lost.
    Ok(PlacementHeader::parse(&bytes).map_or(i64::MAX, |header| header.placement.append_time_ms))
}
