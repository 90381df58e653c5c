//! Checks the directory of one replica against what checkpoint and journal say of it.
//!
//! Decides what is torn and what is rot with the very rules that a start uses ([`Judge`]), and
//! changes nothing.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LeaderEpoch, Offset};

use super::finding::{Finding, FindingKind, Listener};
use super::index::{Extent, IndexCheck};
use super::segment::{BadRange, Checked, SegmentCheck};
use crate::checkpoint::ReplicaState;
use crate::fold::Folded;
use crate::layout;
use crate::recovery::Judge;
use crate::snapshot;
use crate::vfs::Place;

/// What one replica's files were found to hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) batches: u64,
    pub(super) records: u64,
    /// Batches that the next start writes from the journal.
    pub(super) to_replay: u64,
}

pub(super) struct ReplicaCheck<'a> {
    place: Place,
    /// As the checkpoint knew it.
    state: ReplicaState,
    folded: &'a Folded,
    judge: Judge<'a>,
    sink: &'a mut dyn Listener,
    held: Held,
    /// Where the next segment must begin.
    expected: Offset,
    epoch: LeaderEpoch,
    /// All below it was synced, and is kept.
    synced_end: Offset,
}

/// How a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    /// Nothing from here on is kept by the next start, nor need it be.
    Torn,
}

impl<'a> ReplicaCheck<'a> {
    pub(super) fn new(place: Place, folded: &'a Folded, sink: &'a mut dyn Listener) -> Self {
        let state = folded.state;
        let applied = folded.applied_end;
        let cut = folded.cut.unwrap_or(applied);
        Self {
            place,
            synced_end: folded.reset.unwrap_or(applied.min(cut)),
            state,
            judge: Judge::new(folded, &state),
            folded,
            sink,
            held: Held::default(),
            expected: state.log_start,
            epoch: LeaderEpoch(0),
        }
    }

    pub(super) fn run(mut self) -> Held {
        let (bases, indexes) = match self.names() {
            Ok(names) => names,
            Err(error) => {
                let path = self.place.root.to_path_buf();
                self.unreadable(path, &error);
                return self.held;
            }
        };
        self.snapshot();
        for base in indexes.iter().filter(|base| !bases.contains(base)) {
            let path = self.place.path(layout::index(*base));
            let what = "an index without a segment";
            self.tell(Finding::new(FindingKind::Leftover, path, what));
        }
        let bases = self.without_trimmed(bases);
        self.segments(&bases);
        self.held
    }

    fn names(&self) -> io::Result<(Vec<Offset>, Vec<Offset>)> {
        let items = self.place.vfs.list_dir(&self.place.root)?;
        let of = |parse: fn(&str) -> Option<Offset>| {
            let mut bases: Vec<Offset> = items
                .iter()
                .filter(|item| !item.is_dir)
                .filter_map(|item| parse(&item.name))
                .collect();
            bases.sort_unstable();
            bases
        };
        Ok((of(layout::parse_segment), of(layout::parse_index)))
    }

    /// Segments that the next start removes, or the writer was about to.
    fn without_trimmed(&mut self, mut bases: Vec<Offset>) -> Vec<Offset> {
        let state = self.state;
        if let Some(reset) = self.folded.reset {
            let start = reset.max(state.log_start);
            while let Some(base) = bases.first().copied()
                && (base < reset || base > start || !self.folded.begins(base))
            {
                self.leftover(bases.remove(0), "a segment below a reset");
            }
        }
        while let Some(base) = bases.first().copied() {
            let next = bases.get(1).copied();
            let tail = Some(state.tail_base).filter(|tail| *tail > base);
            if next
                .into_iter()
                .chain(tail)
                .all(|next| next > state.log_start)
            {
                break;
            }
            self.leftover(bases.remove(0), "a segment below the first offset kept");
        }
        bases
    }

    fn segments(&mut self, bases: &[Offset]) {
        let (folded, synced_end) = (self.folded, self.synced_end);
        let log_start = self.state.log_start;
        let first = bases.first().copied().unwrap_or(synced_end);
        let floor = first.min(log_start);
        self.judge.kept = folded
            .batches
            .partition_point(|batch| batch.next <= floor && batch.base < floor);
        if first <= synced_end {
            self.judge.kept = 0;
        }
        if synced_end > log_start && (log_start < first || bases.is_empty()) {
            let until = first.min(synced_end).max(log_start);
            let until = if bases.is_empty() { synced_end } else { until };
            let what = "segments are missing at the front";
            self.missing(self.place.root.to_path_buf(), log_start..until, what);
        }
        self.expected = first;
        let mut stop = Stop::End;
        for (number, base) in bases.iter().copied().enumerate() {
            if stop == Stop::Torn {
                let what = "a segment behind what a crash tore";
                self.torn_segment(base, what);
                continue;
            }
            if base > self.expected && base <= self.judge.tail_base {
                let what = "the segment before it is missing, or ends too early";
                self.missing(self.path(base), self.expected..base, what);
                self.expected = base;
            }
            if base != self.expected {
                stop = Stop::Torn;
                self.does_not_follow(base);
                continue;
            }
            stop = self.segment(base, bases.get(number + 1).copied());
        }
        if self.expected < synced_end && !bases.is_empty() {
            let what = "the end of what was synced is missing";
            let path = self.place.root.to_path_buf();
            self.missing(path, self.expected..synced_end, what);
        }
        self.held.to_replay =
            (folded.batches.len() - self.judge.kept.min(folded.batches.len())) as u64;
    }

    fn segment(&mut self, base: Offset, next: Option<Offset>) -> Stop {
        let path = self.path(base);
        let opened = self.place.vfs.open_read(&path);
        let (file, len) = match opened.and_then(|file| file.len().map(|len| (file, len))) {
            Ok(opened) => opened,
            Err(error) => {
                self.unreadable(path, &error);
                self.expected = next.unwrap_or(self.expected);
                return Stop::End;
            }
        };
        self.held.segments += 1;
        self.held.bytes += len;
        let synced = self.judge.synced_len(base, len);
        let is_cut = self.judge.cut.is_some();
        if synced > len && !is_cut {
            let what = format!("the file ends {} bytes early", synced - len);
            let finding = Finding::new(FindingKind::Rot, path.clone(), what);
            self.judge.rot = true;
            self.tell(
                finding
                    .bytes(len..synced)
                    .offsets(self.expected..self.expected),
            );
        }
        let mut index = self.index(base);
        let key = self.state.key;
        let mut check = SegmentCheck::new(file, key, 0..len, self.expected, self.epoch);
        let mut lost_until = Offset::ZERO;
        let stop = loop {
            let before = check.position();
            match check.step() {
                Ok(Checked::End) => break Stop::End,
                Ok(Checked::Batch { batch, at }) => {
                    if !self.batch(&batch, base, at) {
                        let what = "written before a cut, or out of step with the journal";
                        self.torn(&path, at..len, what);
                        break Stop::Torn;
                    }
                    note(&mut index, |index| index.batch(&batch, at));
                }
                Ok(Checked::Bad(bad)) => {
                    if let Some(index) = &mut index {
                        index.damage();
                    }
                    if !self.bad(&path, &bad, synced.min(len), next) {
                        self.torn(&path, bad.bytes.start..len, bad.what);
                        break Stop::Torn;
                    }
                    if bad.next.is_none() {
                        lost_until = next.unwrap_or(self.synced_end);
                    }
                }
                Err(error) => {
                    self.unreadable_from(&path, before..len, check.expected, &error);
                    self.expected = next.unwrap_or(check.expected);
                    self.sink.progress(len.saturating_sub(before));
                    return Stop::End;
                }
            }
            self.sink.progress(check.position().saturating_sub(before));
            if self.sink.is_stopped() {
                return Stop::Torn;
            }
        };
        self.expected = check.expected.max(lost_until);
        self.epoch = check.epoch;
        if stop == Stop::End {
            self.end_index(base, index, len, next.is_some());
        }
        if let Some(next) =
            next.filter(|next| *next <= self.judge.tail_base && *next > self.expected)
            && stop == Stop::End
        {
            let what = "batches are missing at the end of the segment";
            self.missing(path, self.expected..next, what);
            self.expected = next;
        }
        stop
    }

    /// Takes note of a good batch; false when the next start does not keep it.
    fn batch(&mut self, batch: &Batch, base: Offset, at: u64) -> bool {
        let was_rot = std::mem::take(&mut self.judge.rot);
        let keeps = self.judge.keeps(batch, base, at);
        if self.judge.rot {
            let path = self.path(base);
            let what =
                "a whole batch that the journal does not know: a round is gone that was synced";
            let offsets = batch.placement.base_offset..batch.next_offset();
            let end = at + batch.encoded_len() as u64;
            self.tell(
                Finding::new(FindingKind::Rot, path, what)
                    .bytes(at..end)
                    .offsets(offsets),
            );
        }
        self.judge.rot |= was_rot;
        if keeps {
            self.held.batches += 1;
            self.held.records += u64::from(batch.client.record_count());
        }
        keeps
    }

    /// Tells of damage; false when a crash explains it.
    fn bad(&mut self, path: &Path, bad: &BadRange, synced: u64, next: Option<Offset>) -> bool {
        let was_synced = bad.bytes.start < synced;
        let is_cut = self.folded.cut.is_some_and(|cut| cut <= bad.from);
        if is_cut || (!was_synced && !self.is_unexplained(bad.next.is_some())) {
            return false;
        }
        self.judge.rot = true;
        let end = bad.next.or(next).unwrap_or(self.synced_end);
        let finding = Finding::new(FindingKind::Rot, path.to_path_buf(), bad.what)
            .bytes(bad.bytes.clone())
            .offsets(bad.from..end.max(bad.from));
        self.tell(finding);
        true
    }

    fn is_unexplained(&mut self, has_batch_after: bool) -> bool {
        self.judge
            .is_unexplained(|| Ok(has_batch_after))
            .unwrap_or(true)
    }

    /// A segment that begins where nothing ends.
    fn does_not_follow(&mut self, base: Offset) {
        let known = self.folded.has_cut || self.judge.kept < self.folded.batches.len();
        if known {
            self.torn_segment(base, "a segment that does not follow");
            return;
        }
        self.judge.rot = true;
        let what = "a segment that does not follow, and that the journal does not explain";
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Rot, path, what).offsets(base..base));
    }

    fn index(&mut self, base: Offset) -> Option<IndexCheck> {
        let path = self.place.path(layout::index(base));
        let opened = self.place.vfs.open_read(&path).and_then(IndexCheck::new);
        match opened {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if base < self.judge.tail_base {
                    let what = "a segment without an index";
                    self.tell(Finding::new(FindingKind::Index, path, what));
                }
                None
            }
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    fn end_index(&mut self, base: Offset, index: Option<IndexCheck>, len: u64, is_closed: bool) {
        // What a crash left of a newer one is mended at the next start.
        let is_settled = is_closed && base < self.judge.tail_base;
        let extent = if is_settled {
            Extent::Closed
        } else {
            Extent::Active
        };
        let Some(index) = index else { return };
        let path = self.place.path(layout::index(base));
        match index.finish(len, self.expected, extent) {
            Ok(Some(fault)) if is_settled => {
                let finding = Finding::new(FindingKind::Index, path, fault.what);
                self.tell(finding.bytes(fault.bytes));
            }
            Ok(_) => {}
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn snapshot(&mut self) {
        let path = self.place.path(layout::SNAPSHOT);
        let what = match self.place.vfs.exists(&path) {
            Ok(false) => return,
            Err(error) => return self.unreadable(path, &error),
            Ok(true) => match snapshot::load(&self.place.vfs, &self.place.root) {
                Some((as_of, _)) if as_of <= self.folded.state.end => return,
                Some(_) => "it knows more than the log holds",
                None => "it is damaged; what producers did is read from the whole log instead",
            },
        };
        self.tell(Finding::new(FindingKind::Snapshot, path, what));
    }

    fn path(&self, base: Offset) -> PathBuf {
        self.place.path(layout::segment(base))
    }

    fn leftover(&mut self, base: Offset, what: &str) {
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Leftover, path, what));
    }

    fn torn_segment(&mut self, base: Offset, what: &str) {
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Torn, path, what));
    }

    fn torn(&mut self, path: &Path, bytes: std::ops::Range<u64>, what: &str) {
        let finding = Finding::new(FindingKind::Torn, path.to_path_buf(), what);
        self.tell(finding.bytes(bytes));
    }

    fn missing(&mut self, path: PathBuf, offsets: std::ops::Range<Offset>, what: &str) {
        self.judge.rot = true;
        self.tell(Finding::new(FindingKind::Missing, path, what).offsets(offsets));
    }

    fn unreadable(&mut self, path: PathBuf, error: &io::Error) {
        self.tell(Finding::new(
            FindingKind::Unreadable,
            path,
            error.to_string(),
        ));
    }

    fn unreadable_from(
        &mut self,
        path: &Path,
        bytes: std::ops::Range<u64>,
        from: Offset,
        error: &io::Error,
    ) {
        let finding = Finding::new(
            FindingKind::Unreadable,
            path.to_path_buf(),
            error.to_string(),
        );
        self.tell(finding.bytes(bytes).offsets(from..from));
    }

    fn tell(&mut self, finding: Finding) {
        let (key, replica_gen) = (self.state.key, self.state.meta.replica_gen);
        self.sink.tell(finding.of(key, replica_gen));
    }
}

/// An index that cannot be read is not checked further.
fn note(index: &mut Option<IndexCheck>, step: impl FnOnce(&mut IndexCheck) -> io::Result<()>) {
    if let Some(check) = index
        && step(check).is_err()
    {
        *index = None;
    }
}
