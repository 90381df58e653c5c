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
use crate::index::{self, IndexEntry};
use crate::limits::{DAMAGE_LOOK_BYTES, READ_CHUNK_BYTES};
use crate::places::{Place, Reading};
use crate::segment::{Home, SegmentInfo};
use crate::segments::is_crossed;
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

    /// The batch; what is left of it when a cut goes through a hole that segments still have whole.
    fn within(&self, batch: Batch) -> Batch {
        if !is_crossed(&batch, self.disk_end) {
            return batch;
        }
        let left = self.disk_end.distance_from(batch.placement.base_offset);
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Batch::hole(batch.placement, left).unwrap_or(batch)
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
            path: home.dir().to_path_buf(),
            position: 0,
            what: "the segment that held it is missing".to_owned(),
        })
    }
}

/// Batches from `from` below `upto`: at least one with records if there is any on disk, then up to
/// `bytes_max`. Says whether a reader can move on.
///
/// With the view comes the count of cuts and exchanges at the same moment: places where readers
/// stopped count as long as it stays.
pub(crate) fn read(
    home: &Home,
    (view, cut_count): (&View, u32),
    from: Offset,
    upto: Offset,
    bytes_max: usize,
) -> Result<(Vec<Batch>, bool), ReadError> {
    let upto = upto.min(view.disk_end);
    view.check_no_hole(home, from)?;
    let reading = |offset| Reading {
        replica: home.number,
        offset,
        cut_count,
    };
    let mut selection = Selection::new(from, upto, bytes_max);
    for (segment, end) in view.segments_from(from) {
        if segment.base >= upto || selection.has_progress() {
            break;
        }
        let chunk = bytes_max.clamp(index::ENTRY_LEN as usize * 512, READ_CHUNK_BYTES);
        let place = home.pool.places().find(reading(from));
        let mut walker = Walker::at_offset(home, segment, end, from, (chunk, place))?;
        let stands = loop {
            // A batch that there is no room for is not read to find that out.
            if !selection.has_room(walker.scanner.next_len()) {
                break true;
            }
            let next = walker.next();
            match next.map(|next| next.map(|batch| view.within(batch))) {
                Ok(Some(batch)) if selection.take(&batch) => {}
                // What is good before the damage is served; the next read will tell. And damage to
                // what is below is nothing to one who reads at the end.
                Err(_) if selection.has_progress() || from >= view.disk_end => break false,
                Err(error) => return Err(error),
                Ok(_) => break false,
            }
        };
        if stands && let Some(place) = walker.place() {
            home.pool.places().remember(reading(walker.expected), place);
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
        let mut walker = Walker::at_offset(home, segment, end, from, (READ_CHUNK_BYTES, None))?;
        while let Some(batch) = walker.next()? {
            let batch = view.within(batch);
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
    /// Where the next batch begins.
    expected: Offset,
    /// The last batch took offsets, so that nothing of `expected` stands before the next one.
    took_offsets: bool,
    /// Where the last batch must end.
    end: Offset,
    /// Damage to batches below this is not the reader's concern.
    from: Offset,
}

impl<'a> Walker<'a> {
    /// With the size of the first read, and where a reader stopped at that offset, if one did.
    fn at_offset(
        home: &'a Home,
        segment: SegmentInfo,
        end: Offset,
        offset: Offset,
        (chunk, place): (usize, Option<Place>),
    ) -> Result<Self, ReadError> {
        let place = place.filter(|place| place.segment == segment.base);
        if let Some(place) = place.filter(|place| place.position <= segment.len) {
            let mut walker = Self::open(home, segment, (offset, end), chunk)?;
            walker.scanner.seek(place.position);
            if walker.next_base()? == Some(offset) {
                walker.expected = offset;
                return Ok(walker);
            }
        }
        // Strictly below: a batch without offsets may stand at the same offset, before the entry.
        let precedes = |entry: &IndexEntry| entry.offset < offset;
        let mut walker = Self::after(home, segment, (offset, end), chunk, precedes)?;
        let passed = walker.scanner.pass(offset);
        let passed = passed.map_err(|source| walker.read_error(source))?;
        // A first batch that begins above the offset is damage, which is below it.
        if let Some(base) = passed.filter(|base| *base <= offset) {
            walker.expected = walker.expected.max(base);
        }
        Ok(walker)
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

    /// Begins at the last index entry for which that holds, or at the segment's beginning.
    fn after(
        home: &'a Home,
        segment: SegmentInfo,
        (from, end): (Offset, Offset),
        chunk: usize,
        precedes: impl Fn(&IndexEntry) -> bool,
    ) -> Result<Self, ReadError> {
        let entry = home
            .open(segment.base, FileKind::Index)
            .and_then(|file| {
                index::search(&*file, |entry| {
                    entry.position < segment.len && precedes(entry)
                })
            })
            // The index is a hint: without it the segment is read from its beginning.
            .unwrap_or(None);
        let mut walker = Self::open(home, segment, (from, end), chunk)?;
        if let Some(entry) = entry {
            walker.scanner.seek(entry.position);
            if walker.next_base()? == Some(entry.offset) {
                walker.expected = entry.offset;
            } else {
                walker.scanner.seek(0);
            }
        }
        Ok(walker)
    }

    fn open(
        home: &'a Home,
        segment: SegmentInfo,
        (from, end): (Offset, Offset),
        chunk: usize,
    ) -> Result<Self, ReadError> {
        let file = home
            .open(segment.base, FileKind::Records)
            .map_err(|source| io_error(home, segment.base, FileKind::Records, source))?;
        Ok(Self {
            home,
            segment,
            scanner: BatchScanner::new(file, home.key, 0, segment.len, chunk),
            expected: segment.base,
            took_offsets: false,
            end,
            from,
        })
    }

    /// Where a reader who stops here goes on, unless that must be looked up.
    fn place(&self) -> Option<Place> {
        self.took_offsets.then(|| Place {
            segment: self.segment.base,
            position: self.scanner.position(),
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
                    self.took_offsets = self.expected > base;
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
        let scanned = self.scanner.step();
        scanned.map_err(|source| self.read_error(source))
    }

    fn next_base(&mut self) -> Result<Option<Offset>, ReadError> {
        let base = self.scanner.next_base();
        base.map_err(|source| self.read_error(source))
    }

    fn resync(&mut self) -> Result<bool, ReadError> {
        let found = self.scanner.resync();
        found.map_err(|source| self.read_error(source))
    }

    fn read_error(&self, source: io::Error) -> ReadError {
        io_error(self.home, self.segment.base, FileKind::Records, source)
    }

    fn corrupt(&self, position: u64, what: &str) -> ReadError {
        // Not being able to look costs a hint.
        let until = self.scanner.good_base_behind(position, DAMAGE_LOOK_BYTES);
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
