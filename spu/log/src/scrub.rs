//! Reads every stored byte again and again, a piece at a time, to find rot while it can be mended.
//!
//! Finds and tells. It mends indexes, of closed segments that are whole, for records can make them again;
//! no record is touched. It is never in anybody's way: no lock is held while the disk is read, and
//! segments may grow, be cut or go meanwhile. Reads of records go around the page cache. Invariant: a
//! finding about records was seen twice, and in a segment that was still there after it was seen.

mod mending;

use mending::Mending;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::files::FileKind;
use crate::inspect::index::{Extent, IndexCheck};
use crate::inspect::segment::{BadRange, Checked, SegmentCheck};
use crate::inspect::{Finding, FindingKind};
use crate::log::Log;
use crate::replica::{Replica, Sight};

/// What a step did.
#[derive(Debug, Default)]
pub struct Scrubbed {
    /// Bytes of segments that were checked.
    pub bytes: u64,
    /// What was found: `Rot`, `Missing`, `Unreadable`, `Index`.
    pub findings: Vec<Finding>,
    /// Indexes that did not fit their segments and were made anew.
    pub mended_indexes: u64,
    /// Everything was looked at once since the last time this was said.
    pub is_pass_done: bool,
}

/// Goes through all segments of a log, in the order of keys and offsets, over and over.
#[derive(Debug)]
pub struct Scrubber {
    log: Log,
    /// What is left of this pass.
    pass: VecDeque<Slice>,
    current: Option<Current>,
    /// Segments that could not be opened.
    unopened: Vec<Finding>,
}

/// A run of a replica's segments.
#[derive(Debug, Clone, Copy)]
struct Slice {
    key: ReplicaKey,
    bases: (Offset, Offset),
}

/// The segment that is being checked.
#[derive(Debug)]
struct Current {
    replica: Arc<Replica>,
    sight: Sight,
    check: SegmentCheck,
    index: Option<IndexCheck>,
    lacks_index: bool,
    is_whole: bool,
    /// The index that is being made; the segment is read for the second time.
    mending: Option<Mending>,
    /// The last place where damage was seen; seen there again it is real.
    doubt: Option<u64>,
}

impl Scrubber {
    /// Begins a pass in the middle: at that share of all bytes, from 0 to 1. Where a pass begins
    /// makes no difference to it; a share that follows the clock goes on, after a restart, about
    /// where the last run stopped.
    #[must_use]
    pub fn new(log: Log, share: f64) -> Self {
        let mut scrubber = Self {
            log,
            pass: VecDeque::new(),
            current: None,
            unopened: Vec::new(),
        };
        scrubber.begin(share);
        scrubber
    }

    /// Bytes that a pass goes through, by what there is now.
    #[must_use]
    pub fn bytes_in_all(&self) -> u64 {
        let replicas = self.log.replicas();
        replicas.iter().map(|replica| replica.size_bytes()).sum()
    }

    /// Checks about so many bytes, or up to the end of the pass. Blocks on the disk.
    pub fn step(&mut self, bytes_max: u64) -> Scrubbed {
        let mut scrubbed = Scrubbed::default();
        while scrubbed.bytes < bytes_max {
            let Some(mut current) = self.current.take().or_else(|| self.next()) else {
                scrubbed.is_pass_done = true;
                self.begin(0.0);
                break;
            };
            let left = bytes_max - scrubbed.bytes;
            if current.run(&self.log, left, &mut scrubbed) {
                self.current = Some(current);
            }
        }
        scrubbed.findings.append(&mut self.unopened);
        let is_loss = |finding: &Finding| finding.kind != FindingKind::Index;
        let mut is_news = false;
        for finding in scrubbed.findings.iter().filter(|found| is_loss(found)) {
            if let Some((key, _)) = finding.replica
                && let Some(replica) = self.log.replica(key)
            {
                is_news |= self.log.note_damage(&replica, finding.to_damage());
            }
        }
        if is_news {
            let _ = self.log.checkpoint();
        }
        scrubbed
    }

    /// Plans a pass over what there is now.
    fn begin(&mut self, share: f64) {
        let replicas = self.log.replicas();
        let all: u64 = replicas.iter().map(|replica| replica.size_bytes()).sum();
        let mut skip = (all as f64 * share.clamp(0.0, 1.0)) as u64;
        let last = Offset::new(u64::MAX);
        let (mut ahead, mut behind) = (VecDeque::new(), VecDeque::new());
        for replica in &replicas {
            let key = replica.key();
            let bytes = replica.size_bytes();
            let slice = |from, to| Slice {
                key,
                bases: (from, to),
            };
            if ahead.is_empty() && bytes <= skip {
                skip -= bytes;
                behind.push_back(slice(Offset::ZERO, last));
            } else if ahead.is_empty() && skip > 0 {
                let base = replica.base_at_byte(skip);
                ahead.push_back(slice(base, last));
                behind.push_back(slice(Offset::ZERO, base));
            } else {
                ahead.push_back(slice(Offset::ZERO, last));
            }
        }
        ahead.append(&mut behind);
        self.pass = ahead;
    }

    /// The next segment of the pass.
    fn next(&mut self) -> Option<Current> {
        loop {
            let slice = self.pass.front_mut()?;
            let (from, to) = slice.bases;
            let replica = self.log.replica(slice.key);
            let found = replica.and_then(|replica| {
                let sight = replica.sight(from, to)?;
                Some((replica, sight))
            });
            let Some((replica, sight)) = found else {
                self.pass.pop_front();
                continue;
            };
            slice.bases.0 = sight.info.base.checked_add(1).unwrap_or(to);
            let at = Place {
                at: 0,
                expected: sight.info.base,
                epoch: LeaderEpoch(0),
            };
            let check = match open(&replica, &sight, at) {
                Ok(check) => check,
                Err(error) => {
                    let whole = 0..sight.info.len;
                    if replica.still_holds(&sight) {
                        self.unopened
                            .push(unreadable(&replica, &sight, whole, &error));
                    }
                    continue;
                }
            };
            let mut current = Current {
                replica,
                sight,
                check,
                index: None,
                lacks_index: false,
                is_whole: true,
                mending: None,
                doubt: None,
            };
            if sight.is_closed {
                current.open_index();
            }
            return Some(current);
        }
    }
}

/// Where a check goes on.
struct Place {
    at: u64,
    expected: Offset,
    epoch: LeaderEpoch,
}

fn open(replica: &Replica, sight: &Sight, from: Place) -> io::Result<SegmentCheck> {
    let home = &replica.home;
    let path = home.path(sight.info.base, FileKind::Records);
    let file = home.pool.vfs().open_direct(&path)?;
    let bytes = from.at..sight.info.len;
    Ok(SegmentCheck::new(
        file,
        home.key,
        bytes,
        from.expected,
        from.epoch,
    ))
}

fn unreadable(replica: &Replica, sight: &Sight, bytes: Range<u64>, error: &io::Error) -> Finding {
    let offsets = sight.info.base..sight.end.max(sight.info.base);
    finding(
        replica,
        sight,
        FindingKind::Unreadable,
        FileKind::Records,
        error.to_string(),
    )
    .bytes(bytes)
    .offsets(offsets)
}

fn finding(
    replica: &Replica,
    sight: &Sight,
    kind: FindingKind,
    file: FileKind,
    what: impl Into<String>,
) -> Finding {
    let path = replica.home.path(sight.info.base, file);
    Finding::new(kind, path, what).of(replica.key(), replica.replica_gen())
}

impl Current {
    fn open_index(&mut self) {
        let home = &self.replica.home;
        let path = home.path(self.sight.info.base, FileKind::Index);
        // Read as readers read it: damage costs them time, and no record.
        match home.pool.vfs().open_read(&path) {
            Ok(file) => self.index = IndexCheck::new(file).ok(),
            Err(error) => self.lacks_index = error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Goes on for about so many bytes; false when the segment is done, or gone.
    fn run(&mut self, log: &Log, bytes_max: u64, scrubbed: &mut Scrubbed) -> bool {
        let start = scrubbed.bytes;
        loop {
            let before = self.check.position();
            if scrubbed.bytes - start >= bytes_max {
                return true;
            }
            let checked = self.check.step();
            scrubbed.bytes += self.check.position().saturating_sub(before);
            match checked {
                Ok(Checked::Batch { batch, at }) => {
                    let noted = self.index.as_mut().map(|index| index.batch(&batch, at));
                    if matches!(noted, Some(Err(_))) {
                        self.index = None;
                    }
                    if let Some(mending) = &mut self.mending {
                        mending.batch(&batch, at);
                    }
                }
                Ok(Checked::Bad(bad)) => {
                    if !self.bad(bad, before, scrubbed) {
                        return false;
                    }
                }
                Ok(Checked::End) => {
                    if !self.end(log, scrubbed) {
                        return false;
                    }
                }
                Err(error) => {
                    // What follows may be good, but a disk that fails is not asked a thousand times.
                    if self.replica.still_holds(&self.sight) {
                        let bytes = before..self.sight.info.len;
                        let found = unreadable(&self.replica, &self.sight, bytes, &error);
                        scrubbed.findings.push(found);
                    }
                    return false;
                }
            }
        }
    }

    /// Looks at damage a second time, through a new handle; false when the segment is gone.
    fn bad(&mut self, bad: BadRange, before: u64, scrubbed: &mut Scrubbed) -> bool {
        if !self.replica.still_holds(&self.sight) || self.mending.is_some() {
            return false;
        }
        if self.doubt.replace(bad.bytes.start) == Some(bad.bytes.start) {
            self.is_whole = false;
            if let Some(index) = &mut self.index {
                index.damage();
            }
            let end = bad.next.unwrap_or(self.sight.end).max(bad.from);
            if bad.next.is_none() {
                self.check.expected = self.check.expected.max(self.sight.end);
            }
            // What was given up since needs no word.
            if end > self.replica.log_start() {
                let found = self.finding(FindingKind::Rot, FileKind::Records, bad.what);
                let found = found.bytes(bad.bytes).offsets(bad.from..end);
                scrubbed.findings.push(found);
            }
            return true;
        }
        let at = Place {
            at: before,
            expected: bad.from,
            epoch: self.check.epoch,
        };
        match open(&self.replica, &self.sight, at) {
            Ok(check) => {
                self.check = check;
                true
            }
            Err(_) => false,
        }
    }

    /// The end of the segment; true when it is read once more, for the sake of its index.
    fn end(&mut self, log: &Log, scrubbed: &mut Scrubbed) -> bool {
        let (info, end) = (self.sight.info, self.sight.end);
        if !self.replica.still_holds(&self.sight) {
            return false;
        }
        let is_missing = self.check.expected < end;
        if let Some(mending) = self.mending.take() {
            let entries = mending.finish(&info, end);
            // A log that is dead tells it to everybody.
            let is_done = !is_missing
                && log
                    .replace_index(&self.replica, &self.sight, &entries)
                    .unwrap_or(false);
            scrubbed.mended_indexes += u64::from(is_done);
            return false;
        }
        if is_missing {
            let what = "batches are missing at the end of the segment";
            let found = self.finding(FindingKind::Missing, FileKind::Records, what);
            scrubbed
                .findings
                .push(found.offsets(self.check.expected..end));
        }
        let Some(found) = self.index_fault() else {
            return false;
        };
        scrubbed.findings.push(found);
        self.is_whole && !is_missing && self.begin_mending()
    }

    /// What is wrong with the index.
    fn index_fault(&mut self) -> Option<Finding> {
        let (info, end) = (self.sight.info, self.sight.end);
        if self.lacks_index {
            return Some(self.finding(FindingKind::Index, FileKind::Index, "it is not there"));
        }
        let checked = self.index.take()?.finish(info.len, end, Extent::Closed);
        let fault = checked.ok()??;
        let found = self.finding(FindingKind::Index, FileKind::Index, fault.what);
        Some(found.bytes(fault.bytes))
    }

    /// Goes back to the segment's front; false when it cannot be opened any more.
    fn begin_mending(&mut self) -> bool {
        let front = Place {
            at: 0,
            expected: self.sight.info.base,
            epoch: LeaderEpoch(0),
        };
        let Ok(check) = open(&self.replica, &self.sight, front) else {
            return false;
        };
        self.check = check;
        self.mending = Some(Mending::new());
        true
    }

    fn finding(&self, kind: FindingKind, file: FileKind, what: &'static str) -> Finding {
        finding(&self.replica, &self.sight, kind, file, what)
    }
}
