//! Reads of a replica's segments: by offset, by time, and in order. Blocks; takes no lock of the
//! replica while it does.
//!
//! A view is taken under the replica's lock and read without it: below `disk_end` segments only
//! grow at the end or disappear at the front, save for a cut, which the caller checks for.

use std::io;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::error::ReadError;
use crate::files::FileKind;
use crate::index;
use crate::limits::{DAMAGE_LOOK_BYTES, READ_CHUNK_BYTES};
use crate::segment::{Home, SegmentInfo};
use crate::stored::{BatchScanner, Scanned};
use crate::tail::Selection;

/// What of a replica was on disk at one moment.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) closed: Arc<Vec<SegmentInfo>>,
    pub(crate) active: Option<SegmentInfo>,
    /// Disk holds the log up to here; above, memory does.
    pub(crate) disk_end: Offset,
    /// A cut is submitted and not applied: what segments hold from `disk_end` on is gone.
    pub(crate) is_cut: bool,
}

impl View {
    /// Segments in order.
    fn segments(&self) -> impl Iterator<Item = SegmentInfo> + '_ {
        self.closed.iter().copied().chain(self.active)
    }

    /// The segment that holds `offset`, and those after it, each with the offset it must reach.
    fn segments_from(&self, offset: Offset) -> impl Iterator<Item = (SegmentInfo, Offset)> + '_ {
        let after = self
            .closed
            .partition_point(|segment| segment.base <= offset);
        let in_active = self.active.is_some_and(|active| active.base <= offset);
        let skip = if in_active {
            self.closed.len()
        } else {
            after.saturating_sub(1)
        };
        let ends = self.segments().map(|segment| segment.base).skip(skip + 1);
        self.segments().skip(skip).zip(ends.chain([self.disk_end]))
    }

    /// Fails when the first segment from `offset` on begins above it, though disk should hold it.
    fn check_no_hole(&self, home: &Home, offset: Offset) -> Result<(), ReadError> {
        let first = self.segments_from(offset).next();
        if offset >= self.disk_end || first.is_some_and(|(segment, _)| segment.base <= offset) {
            return Ok(());
        }
        Err(ReadError::Corrupt {
            key: home.key,
            at: offset,
            until: first.map(|(segment, _)| segment.base),
            path: home.dir.to_path_buf(),
            position: 0,
            what: "the segment that held it is missing".to_owned(),
        })
    }
}

/// Batches from `from` below `upto`: at least one with records if there is any on disk, then up to
/// `bytes_max`. Says whether a reader can move on.
pub(crate) fn read(
    home: &Home,
    view: &View,
    from: Offset,
    upto: Offset,
    bytes_max: usize,
) -> Result<(Vec<Batch>, bool), ReadError> {
    let upto = upto.min(view.disk_end);
    view.check_no_hole(home, from)?;
    let mut selection = Selection::new(from, upto, bytes_max);
    for (segment, end) in view.segments_from(from) {
        if segment.base >= upto || selection.has_progress() {
            break;
        }
        let chunk = bytes_max.clamp(index::ENTRY_LEN as usize * 512, READ_CHUNK_BYTES);
        let mut walker = Walker::at_offset(home, segment, end, from, chunk)?;
        loop {
            match walker.next() {
                Ok(Some(batch)) if selection.take(&batch) => {}
                // What is good before the damage is served; the next read will tell. And damage to
                // what is below is nothing to one who reads at the end.
                Err(_) if selection.has_progress() || from >= view.disk_end => break,
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
    }
    let progress = selection.has_progress();
    Ok((selection.batches, progress))
}

/// Every batch that reaches above `from`, in order, until `take` says to stop.
pub(crate) fn each(
    home: &Home,
    view: &View,
    from: Offset,
    mut take: impl FnMut(&Batch) -> bool,
) -> Result<(), ReadError> {
    view.check_no_hole(home, from)?;
    for (segment, end) in view.segments_from(from) {
        let mut walker = Walker::at_offset(home, segment, end, from, READ_CHUNK_BYTES)?;
        while let Some(batch) = walker.next()? {
            // A batch without offsets stands at the end and is still the log's.
            let is_beyond = batch.next_offset() > view.disk_end || view.is_cut;
            if batch.placement.base_offset >= view.disk_end && is_beyond {
                return Ok(());
            }
            if (batch.next_offset() > from || batch.placement.base_offset >= from) && !take(&batch)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The first batch on disk above `from` that holds a record of that time or later.
pub(crate) fn batch_at_time(
    home: &Home,
    view: &View,
    from: Offset,
    time_ms: i64,
) -> Result<Option<Batch>, ReadError> {
    for (segment, end) in view.segments_from(from) {
        if segment.max_timestamp_ms < time_ms {
            continue;
        }
        let mut walker = Walker::at_time(home, segment, end, time_ms)?;
        while let Some(batch) = walker.next()? {
            if batch.placement.base_offset >= view.disk_end {
                return Ok(None);
            }
            if batch.next_offset() > from && batch.max_timestamp_ms() >= time_ms {
                return Ok(Some(batch));
            }
        }
    }
    Ok(None)
}

/// Steps through one segment and turns what is wrong into the reader's error.
struct Walker<'a> {
    home: &'a Home,
    segment: SegmentInfo,
    scanner: BatchScanner,
    /// The batch at the index entry, which was read to see whether the entry is right.
    first: Option<Scanned>,
    /// Where the next batch begins.
    expected: Offset,
    /// Where the last batch must end.
    end: Offset,
    /// Damage to batches below this is not the reader's concern.
    from: Offset,
}

impl<'a> Walker<'a> {
    fn at_offset(
        home: &'a Home,
        segment: SegmentInfo,
        end: Offset,
        offset: Offset,
        chunk: usize,
    ) -> Result<Self, ReadError> {
        // Strictly below: a batch without offsets may stand at the same offset, before the entry.
        Self::after(home, segment, (offset, end), chunk, |entry| {
            entry.offset < offset
        })
    }

    fn at_time(
        home: &'a Home,
        segment: SegmentInfo,
        end: Offset,
        time_ms: i64,
    ) -> Result<Self, ReadError> {
        Self::after(
            home,
            segment,
            (Offset::ZERO, end),
            READ_CHUNK_BYTES,
            |entry| entry.timestamp_before_ms < time_ms,
        )
    }

    fn after(
        home: &'a Home,
        segment: SegmentInfo,
        (from, end): (Offset, Offset),
        chunk: usize,
        precedes: impl Fn(&index::IndexEntry) -> bool,
    ) -> Result<Self, ReadError> {
        let fault = |kind, source| io_error(home, segment.base, kind, source);
        let entry = home
            .pool
            .get(home.id(segment.base, FileKind::Index), &home.dir)
            .and_then(|file| {
                index::search(&*file, |entry| {
                    entry.position < segment.len && precedes(entry)
                })
            })
            // The index is a hint: without it the segment is read from its beginning.
            .unwrap_or(None);
        let file = home
            .pool
            .get(home.id(segment.base, FileKind::Records), &home.dir)
            .map_err(|source| fault(FileKind::Records, source))?;
        let scan = |at| BatchScanner::new(Arc::clone(&file), home.key, at, segment.len, chunk);
        if let Some(entry) = entry {
            let mut scanner = scan(entry.position);
            let first = scanner.step();
            let first = first.map_err(|source| fault(FileKind::Records, source))?;
            if matches!(&first, Scanned::Batch { batch, .. } if batch.placement.base_offset == entry.offset)
            {
                return Ok(Self {
                    home,
                    segment,
                    scanner,
                    first: Some(first),
                    expected: entry.offset,
                    end,
                    from,
                });
            }
        }
        Ok(Self {
            home,
            segment,
            scanner: scan(0),
            first: None,
            expected: segment.base,
            end,
            from,
        })
    }

    fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        loop {
            match self.step()? {
                Scanned::End if self.expected < self.end => {
                    return Err(self.corrupt(self.segment.len, "batches after it are missing"));
                }
                Scanned::End => return Ok(None),
                Scanned::Batch { batch, at } => {
                    let base = batch.placement.base_offset;
                    let is_next = base == self.expected;
                    if !is_next && (base < self.expected || base > self.from) {
                        return Err(self.corrupt(at, "the batch does not follow the one before it"));
                    }
                    self.expected = batch.next_offset();
                    return Ok(Some(batch));
                }
                Scanned::Bad { at, what } => {
                    // Before the reader's place: what comes after it may be good.
                    if self.expected >= self.from || !self.resync()? {
                        return Err(self.corrupt(at, what));
                    }
                }
            }
        }
    }

    fn step(&mut self) -> Result<Scanned, ReadError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        self.scanner
            .step()
            .map_err(|source| io_error(self.home, self.segment.base, FileKind::Records, source))
    }

    fn resync(&mut self) -> Result<bool, ReadError> {
        self.scanner
            .resync()
            .map_err(|source| io_error(self.home, self.segment.base, FileKind::Records, source))
    }

    fn corrupt(&self, position: u64, what: &str) -> ReadError {
        // Not being able to look costs a hint.
        let until = self.scanner.next_base(position, DAMAGE_LOOK_BYTES);
        let is_last = self.segment.len.saturating_sub(position) <= DAMAGE_LOOK_BYTES;
        let until = until.ok().flatten().or(is_last.then_some(self.end));
        ReadError::Corrupt {
            key: self.home.key,
            at: self.expected,
            until: until.filter(|until| *until > self.expected),
            path: self.home.path(self.segment.base, FileKind::Records),
            position,
            what: what.to_owned(),
        }
    }
}

fn io_error(home: &Home, base: Offset, kind: FileKind, source: io::Error) -> ReadError {
    ReadError::Io {
        path: home.path(base, kind),
        source,
    }
}
