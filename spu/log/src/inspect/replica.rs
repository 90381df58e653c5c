//! Checks the directory of one replica against what checkpoint and journal say of it.
//!
//! Decides what is torn and what is rot with the very rules that a start uses ([`Judge`]), and
//! changes nothing.

mod telling;

mod walking;

use std::io;

use tidegate_proto::position::{LeaderEpoch, Offset};

use super::finding::{Finding, FindingKind, Listener};
use crate::checkpoint::ReplicaState;
use crate::compacted::Compacted;
use crate::fold::Folded;
use crate::layout;
use crate::recovery::Judge;
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
        self.noted();
        let compacted = self.compacted();
        self.snapshot(&compacted);
        let bases = self.without_replaced(bases, &compacted);
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

    /// What the file on compaction says.
    fn compacted(&mut self) -> Compacted {
        let found = Compacted::load(&*self.place.vfs, &self.place.root);
        let found = found.unwrap_or_else(|what| {
            let path = self.place.path(layout::COMPACTION);
            self.judge.rot = true;
            self.tell(Finding::new(FindingKind::Rot, path, what));
            None
        });
        found.unwrap_or_default()
    }

    /// Segments that compaction has put another one in the place of, and a crash kept it from removing.
    fn without_replaced(&mut self, bases: Vec<Offset>, compacted: &Compacted) -> Vec<Offset> {
        let Some(exchange) = &compacted.exchange else {
            return bases;
        };
        let is_staged = exchange.is_staged(&*self.place.vfs, &self.place.root);
        if is_staged.unwrap_or(true) {
            return bases;
        }
        let replaced = exchange.inputs.get(1..).unwrap_or_default();
        let (replaced, bases): (Vec<_>, Vec<_>) =
            bases.into_iter().partition(|base| replaced.contains(base));
        for base in replaced {
            self.leftover(base, "a segment that compaction replaced");
        }
        bases
    }

    /// Segments that the next start removes, or the writer was about to.
    fn without_trimmed(&mut self, mut bases: Vec<Offset>) -> Vec<Offset> {
        while let Some(base) = bases.first().copied()
            && self.folded.is_given_up_by_reset(base)
        {
            self.leftover(bases.remove(0), "a segment below a reset");
        }
        while let Some(base) = bases.first().copied()
            && self.folded.is_trimmed(base, bases.get(1).copied())
        {
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
            if base > self.expected && self.judge.trusts_up_to(base) {
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
}
