//! One pass over one replica, in steps: first the newest offset of each dirty key, then the segments
//! again, oldest first, each without what a later record supersedes.
//!
//! Invariant: a record goes only when a later one of its key is in a closed segment below the limits
//! of [`super::choice`], or when it is a tombstone whose time is up and below which its key has no
//! record left. The oldest segments are exchanged first, so that whenever a pass ends, a tombstone never
//! goes before what it deletes.

use std::io;
use std::sync::Arc;

use tidegate_proto::batch::{Batch, Kept};
use tidegate_proto::position::Offset;

use super::choice::Candidate;
use super::keys::KeyMap;
use super::output::{self, Output};
use crate::compacted::Compacted;
use crate::error::DiskError;
use crate::files::FileKind;
use crate::limits::{COMPACTION_MERGE_MAX, COMPACTION_STEP_BYTES, READ_CHUNK_BYTES};
use crate::replica::Replica;
use crate::segment::{Home, Span};
use crate::stored::{BatchScanner, Scanned};

/// Why a pass is given up.
#[derive(Debug)]
pub(super) enum Halt {
    /// A segment could not be read, or is not what it should be.
    Unreadable(String),
    /// A staged segment could not be written.
    Staging(DiskError),
    /// An exchange failed half-way.
    Disk(DiskError),
    /// There is no room for the end of an exchange.
    Unsettled,
}

impl From<DiskError> for Halt {
    fn from(error: DiskError) -> Self {
        Self::Staging(error)
    }
}

impl Halt {
    /// Why the pass alone ends; the error when the log does. A disk without room for a copy is no
    /// reason to stop.
    pub(super) fn reason(self) -> Result<String, DiskError> {
        match self {
            Self::Unreadable(what) => Ok(what),
            Self::Unsettled => Ok("there is no room to finish an exchange".to_owned()),
            Self::Staging(error) if error.is_passing() => Ok(error.to_string()),
            Self::Staging(error) | Self::Disk(error) => Err(error),
        }
    }
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Progress {
    More,
    /// Segments are ready to be replaced by a staged one.
    Exchange {
        inputs: Vec<Span>,
        output: Span,
    },
    Done,
}

#[derive(Debug)]
pub(super) struct Pass {
    pub(super) replica: Arc<Replica>,
    /// Cuts of the replica when it began: after another one nothing that it knows holds.
    pub(super) cuts: u32,
    home: Home,
    compacted: Compacted,
    spans: Vec<Span>,
    segment_bytes: u64,
    keys: KeyMap,
    /// Up to here keys are noted.
    mapped: Offset,
    has_tombstones: bool,
    /// Tombstones below it go.
    expired: Offset,
    stage: Stage,
    /// Base of a staged segment that is not in place.
    staged: Option<Offset>,
    pub(super) read_bytes: u64,
    removed_records: u64,
}

#[derive(Debug)]
enum Stage {
    /// Notes keys of the segment of that number.
    Map(usize, Option<Reader>),
    /// At the segment of that number a group begins.
    Group(usize),
    /// Looks whether anything goes from the only segment of a group.
    Probe(usize, Reader),
    /// Writes what is left of segments from the first number on, so far up to the second.
    Write(usize, usize, Box<Writing>),
    Done,
}

#[derive(Debug)]
struct Writing {
    output: Output,
    reader: Reader,
}

impl Pass {
    /// `as_of`: the producers' table is saved up to there.
    pub(super) fn new(candidate: Candidate, as_of: Offset, now_ms: i64, map_bytes: usize) -> Self {
        let Candidate {
            replica,
            config,
            compacted,
            mut spans,
            cuts,
            ..
        } = candidate;
        spans.retain(|span| span.end <= as_of);
        let clean_end = compacted.clean_end;
        let first = spans.partition_point(|span| span.end <= clean_end);
        Self {
            home: replica.home.clone(),
            segment_bytes: replica.config().segment_bytes,
            keys: KeyMap::new(map_bytes),
            mapped: clean_end,
            has_tombstones: false,
            expired: compacted.expired(now_ms, config).unwrap_or(Offset::ZERO),
            stage: Stage::Map(first, None),
            staged: None,
            replica,
            cuts,
            compacted,
            spans,
            read_bytes: 0,
            removed_records: 0,
        }
    }

    /// True when there is nothing that it may look at.
    pub(super) fn is_empty(&self) -> bool {
        let clean_end = self.compacted.clean_end;
        let has_dirty = self.spans.iter().any(|span| span.end > clean_end);
        !has_dirty && (self.expired == Offset::ZERO || self.spans.is_empty())
    }

    /// Goes on for about one step's bytes.
    pub(super) fn step(&mut self) -> Result<Progress, Halt> {
        let until = self.read_bytes + COMPACTION_STEP_BYTES;
        while self.read_bytes < until {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            match stage {
                Stage::Map(number, reader) => self.map(number, reader)?,
                Stage::Group(number) => self.group(number)?,
                Stage::Probe(number, reader) => self.probe(number, reader)?,
                Stage::Write(from, to, writing) => {
                    if let Some(exchange) = self.write(from, to, writing)? {
                        return Ok(exchange);
                    }
                }
                Stage::Done => return Ok(Progress::Done),
            }
        }
        Ok(Progress::More)
    }

    /// What is so when the pass is done.
    pub(super) fn outcome(&self, now_ms: i64) -> Compacted {
        let mut compacted = self.compacted.clone();
        compacted.passes.retain(|pass| pass.end > self.expired);
        compacted.pass(self.mapped, now_ms, self.has_tombstones);
        compacted
    }

    /// Why the pass alone ends: its replica was given up, and the directory is in the trash. Any other
    /// error is the log's.
    pub(super) fn end_of(&self, error: DiskError) -> Result<String, DiskError> {
        let is_gone = error.source.kind() == io::ErrorKind::NotFound
            && self.replica.lock_applied().is_retired;
        if is_gone {
            Ok("its replica was given up".to_owned())
        } else {
            Err(error)
        }
    }

    /// Removes what it staged and did not get into place.
    pub(super) fn discard(self) -> Result<(), DiskError> {
        drop(self.stage);
        match self.staged {
            Some(base) => output::discard(&self.home, base),
            None => Ok(()),
        }
    }

    /// The staged segment is in place, or announced: it is not the pass's any more. Says how many records
    /// it lacks.
    pub(super) fn leave_staged(&mut self) -> u64 {
        self.staged = None;
        std::mem::take(&mut self.removed_records)
    }

    fn map(&mut self, number: usize, reader: Option<Reader>) -> Result<(), Halt> {
        let Some(span) = self.spans.get(number).copied() else {
            self.stage = Stage::Group(0);
            return Ok(());
        };
        let mut reader = match reader {
            Some(reader) => reader,
            None => Reader::open(&self.home, span)?,
        };
        let Some(batch) = reader.next(&mut self.read_bytes)? else {
            self.mapped = span.end;
            self.stage = Stage::Map(number + 1, None);
            return Ok(());
        };
        let clean_end = self.compacted.clean_end;
        if batch.next_offset() > clean_end && batch.client.record_count() > 0 {
            let records = batch
                .client
                .records()
                .map_err(|error| reader.undecodable(&error))?;
            for record in &records {
                let record = record.map_err(|error| reader.undecodable(&error))?;
                let offset = batch.offset_of(&record);
                let Some(key) = record.key.as_bytes().filter(|_| offset >= clean_end) else {
                    continue;
                };
                if !self.keys.note(key, offset) {
                    // The rest is left to the next pass.
                    self.mapped = offset;
                    self.stage = Stage::Group(0);
                    return Ok(());
                }
                self.has_tombstones |= record.value.is_absent();
            }
        }
        self.stage = Stage::Map(number, Some(reader));
        Ok(())
    }

    /// Begins with the next segment: right away when the one after it fits in as well.
    fn group(&mut self, from: usize) -> Result<(), Halt> {
        let is_in = |span: &&Span| span.info.base < self.mapped;
        let Some(first) = self.spans.get(from).filter(is_in).copied() else {
            return Ok(());
        };
        let next = self.spans.get(from + 1).filter(is_in);
        if next.is_some_and(|next| first.info.len + next.info.len <= self.segment_bytes) {
            return self.begin(from);
        }
        self.stage = Stage::Probe(from, Reader::open(&self.home, first)?);
        Ok(())
    }

    fn probe(&mut self, number: usize, mut reader: Reader) -> Result<(), Halt> {
        let Some(batch) = reader.next(&mut self.read_bytes)? else {
            self.stage = Stage::Group(number + 1);
            return Ok(());
        };
        let is_changed = batch.client.record_count() > 0
            && !matches!(self.filter(&batch, &reader)?.0, Kept::All);
        if is_changed {
            return self.begin(number);
        }
        self.stage = Stage::Probe(number, reader);
        Ok(())
    }

    fn begin(&mut self, from: usize) -> Result<(), Halt> {
        let first = self.spans[from];
        self.staged = Some(first.info.base);
        let writing = Writing {
            reader: Reader::open(&self.home, first)?,
            output: Output::create(&self.home, first.info.base)?,
        };
        self.stage = Stage::Write(from, from + 1, Box::new(writing));
        Ok(())
    }

    fn write(
        &mut self,
        from: usize,
        to: usize,
        mut writing: Box<Writing>,
    ) -> Result<Option<Progress>, Halt> {
        let Some(batch) = writing.reader.next(&mut self.read_bytes)? else {
            if let Some(next) = self.spans.get(to).filter(|next| {
                next.info.base < self.mapped
                    && writing.output.len() + next.info.len <= self.segment_bytes
                    && to - from < COMPACTION_MERGE_MAX
            }) {
                writing.reader = Reader::open(&self.home, *next)?;
                self.stage = Stage::Write(from, to + 1, writing);
                return Ok(None);
            }
            let end = self.spans[to - 1].end;
            let Some(output) = writing.output.finish(end)? else {
                let what = "what is left of segments does not take the offsets that they took";
                return Err(Halt::Unreadable(what.to_owned()));
            };
            self.stage = Stage::Group(to);
            let inputs = self.spans[from..to].to_vec();
            return Ok(Some(Progress::Exchange { inputs, output }));
        };
        let (kept, removed) = self.filter(&batch, &writing.reader)?;
        match kept {
            Kept::All => writing.output.push(&batch)?,
            Kept::Some(made) => {
                for batch in &made {
                    writing.output.push(batch)?;
                }
            }
            Kept::Nothing => writing.output.push_nothing(&batch),
        }
        self.removed_records += removed;
        self.stage = Stage::Write(from, to, writing);
        Ok(None)
    }

    /// What stays of a batch, and how many records do not.
    fn filter(&self, batch: &Batch, reader: &Reader) -> Result<(Kept, u64), Halt> {
        let mut removed = 0;
        let kept = batch.keep_records(|offset, record| {
            // A record without a key is superseded by nothing.
            let stays = record.key.as_bytes().is_none_or(|key| {
                let is_over = record.value.is_absent() && offset < self.expired;
                !is_over && !self.keys.is_superseded(key, offset)
            });
            removed += u64::from(!stays);
            stays
        });
        let kept = kept.map_err(|error| reader.undecodable(&error))?;
        Ok((kept, removed))
    }
}

/// Reads a segment from its first batch to its last, each checked and in its place.
#[derive(Debug)]
struct Reader {
    scanner: BatchScanner,
    expected: Offset,
    span: Span,
}

impl Reader {
    /// With a handle of its own, so that readers' files are not pushed out of the pool.
    fn open(home: &Home, span: Span) -> Result<Self, Halt> {
        let path = home.path(span.info.base, FileKind::Records);
        let file = home.pool.vfs().open_read(&path);
        let file =
            file.map_err(|error| Halt::Unreadable(format!("{}: {error}", path.display())))?;
        let (at, len) = (0, span.info.len);
        Ok(Self {
            scanner: BatchScanner::new(file, home.key, at, len, READ_CHUNK_BYTES),
            expected: span.info.base,
            span,
        })
    }

    fn next(&mut self, read_bytes: &mut u64) -> Result<Option<Batch>, Halt> {
        let fault =
            |what: &str| Halt::Unreadable(format!("segment {}: {what}", self.span.info.base));
        let scanned = self
            .scanner
            .step()
            .map_err(|error| fault(&error.to_string()))?;
        match scanned {
            Scanned::Batch { batch, .. } if batch.placement.base_offset == self.expected => {
                *read_bytes += batch.encoded_len() as u64;
                self.expected = batch.next_offset();
                Ok(Some(batch))
            }
            Scanned::Batch { .. } => Err(fault("a batch does not follow the one before it")),
            Scanned::End if self.expected == self.span.end => Ok(None),
            Scanned::End => Err(fault("batches are missing at its end")),
            Scanned::Bad { what, .. } => Err(fault(what)),
        }
    }

    fn undecodable(&self, error: &dyn std::fmt::Display) -> Halt {
        Halt::Unreadable(format!("segment {}: {error}", self.span.info.base))
    }
}
