//! Makes one replica's segments equal to the fold, and says whether they can be trusted.
//!
//! Below the checkpoint's tail everything had been synced: a bad batch there is rot. Above it a
//! crash may have left anything; what equals the fold stays, the rest is cut and written again from
//! the journal. Bytes that nothing accounts for are put into quarantine before they are cut.

mod aside;

mod exchange;

mod judge;

mod segment;

mod unreadable;

mod verdict;

pub(crate) use judge::Judge;
use segment::Walked;
pub(crate) use verdict::Verdicts;

use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::checkpoint::ReplicaState;
use crate::compacted::Compacted;
use crate::damage::FileDamage;
use crate::error::{Context as _, DiskError};
use crate::files::Unsynced;
use crate::fold::{Folded, FoldedSnapshot};
use crate::folded::FoldedBatch;
use crate::layout;
use crate::limits::ROUND_BYTES_MAX;
use crate::replay::Bodies;
use crate::segment::{Home, SegmentConfig, SegmentInfo};
use crate::segments::{CutSegment, Segments, none_closed, remove_file};
use crate::snapshot;
use crate::vfs::DirItem;

/// A replica ready to serve, with what was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Segments,
    pub(crate) state: ReplicaState,
    pub(crate) compacted: Option<Box<Compacted>>,
    /// Bytes of segments cut because a crash had torn them. Normal.
    pub(crate) torn_bytes: u64,
    /// What of its files could not be read, now or earlier.
    pub(crate) damage: Option<FileDamage>,
    /// True when anything changed on disk, or in the state.
    pub(crate) is_changed: bool,
}

/// What recovery of one replica works with.
pub(crate) struct Recovery<'a> {
    pub(crate) home: Home,
    pub(crate) config: SegmentConfig,
    pub(crate) unsynced: &'a mut Unsynced,
    pub(crate) bodies: &'a mut Bodies,
    pub(crate) verdicts: &'a mut Verdicts,
    /// The file that would say whether segments were being replaced is damaged.
    pub(crate) is_compaction_unknown: bool,
    /// What the directory says of damage, and what is found.
    pub(crate) damage: Option<FileDamage>,
}

impl Recovery<'_> {
    pub(crate) fn run(mut self, folded: Folded) -> Result<Recovered, DiskError> {
        let mut state = folded.state;
        let (compacted, items) = self.finish_exchange(&folded)?;
        if items.iter().any(|item| item.name == layout::DAMAGE) {
            self.damage = FileDamage::load(&**self.home.pool.vfs(), &self.home.dir());
            state.intact = false;
        }
        let mut bases = self.bases(&items)?;
        if folded.is_touched {
            // A process that was killed may have removed or made names that do not last yet, and the
            // checkpoint after this will not tell of them again.
            self.unsynced.renamed(&self.home.dir())?;
        }
        let mut segments = Segments {
            home: self.home.clone(),
            closed: none_closed(),
            active: None,
            end: state.end,
        };
        while let Some(base) = bases.first().copied()
            && folded.is_given_up_by_reset(base)
        {
            segments.remove(bases.remove(0), self.unsynced)?;
        }
        // Not when one may overlap the next.
        while let Some(base) = bases.first().copied()
            && !self.is_compaction_unknown
            && folded.is_trimmed(base, bases.get(1).copied())
        {
            segments.remove(bases.remove(0), self.unsynced)?;
        }
        let (kept, torn_bytes) = self.fit(&mut segments, &mut state, &folded, bases)?;
        let missing = folded.batches.get(kept..).unwrap_or_default();
        let is_changed = folded.is_touched || torn_bytes > 0 || !missing.is_empty();
        self.append_missing(&mut segments, &mut state, missing)?;
        state.intact &= folded.misfits == 0 && segments.end == folded.state.end;
        state.end = segments.end;
        (state.tail_base, state.tail_len) = segments.tail();
        self.drop_trimmed(&mut segments, state.log_start)?;
        let vfs = self.home.pool.vfs();
        match (&folded.snapshot, folded.lowest_cut) {
            (FoldedSnapshot::Newest(as_of, bytes), _) => {
                snapshot::save(vfs, &self.home.dir(), *as_of, bytes)?;
            }
            (FoldedSnapshot::Cut, _) => snapshot::remove(vfs, &self.home.dir())?,
            (FoldedSnapshot::Untold, Some(to)) => snapshot::cut(vfs, &self.home.dir(), to)?,
            (FoldedSnapshot::Untold, None) => {}
        }
        Ok(Recovered {
            segments,
            state,
            compacted: compacted.map(Box::new),
            torn_bytes,
            damage: self.damage,
            is_changed,
        })
    }

    /// Base offsets of the segment files there, in order.
    fn bases(&self, items: &[DirItem]) -> Result<Vec<Offset>, DiskError> {
        let dir = &self.home.dir();
        let mut bases: Vec<Offset> = items
            .iter()
            .filter_map(|item| layout::parse_segment(&item.name))
            .collect();
        bases.sort_unstable();
        for item in items {
            // An index whose segment was removed when the power went.
            if let Some(base) = layout::parse_index(&item.name)
                && bases.binary_search(&base).is_err()
            {
                let path = dir.join(&item.name);
                self.home
                    .pool
                    .vfs()
                    .remove_file(&path)
                    .during("remove", &path)?;
            }
        }
        Ok(bases)
    }

    /// Opens segments in order, and stops where they no longer are what they must be. Gives how
    /// many folded batches they hold, and the torn bytes that were cut.
    fn fit(
        &mut self,
        segments: &mut Segments,
        state: &mut ReplicaState,
        folded: &Folded,
        bases: Vec<Offset>,
    ) -> Result<(usize, u64), DiskError> {
        let mut judge = self.judge(folded, state);
        let synced_end = synced_end(folded);
        let mut rest = bases.into_iter().peekable();
        let mut torn_bytes = self.set_aside_unled(segments, &mut judge, &mut rest, synced_end)?;
        segments.end = rest.peek().copied().unwrap_or(synced_end);
        judge.begin(segments.end, state.log_start, synced_end);
        while let Some(base) = rest.next() {
            if base > segments.end && base <= judge.tail_base {
                // A segment between is lost. What is there stays; reads of the hole fail.
                judge.rot = true;
                segments.end = base;
            }
            if base != segments.end {
                torn_bytes += self.set_aside(segments, &judge, base, &mut rest)?;
                break;
            }
            let next = rest.peek().copied();
            // One that ends at the cut may have been longer, and be it again after a power loss.
            let is_cut = next.is_some() && next == judge.cut;
            if let Some(next) = next.filter(|next| !is_cut && judge.trusts_up_to(*next))
                && let Some(info) = self.closed_info(base, next)
            {
                Arc::make_mut(&mut segments.closed).push(info);
                segments.end = next;
                continue;
            }
            let found = match self.walk_or_leave(segments, &mut judge, base, next)? {
                Walked::Kept(found, torn) => {
                    torn_bytes += torn;
                    found
                }
                Walked::Cut(cut) => {
                    torn_bytes += self.take_up_cut(segments, &judge, cut, &mut rest)?;
                    break;
                }
                Walked::Left => continue,
            };
            if found.active.info.len < judge.synced_len(base, found.len) && judge.is_uncut(next) {
                // Rot in what was synced: the segment stays as it is, and is not written to.
                judge.rot = true;
                let len = judge.synced_len(base, found.len).min(found.len);
                let info = SegmentInfo {
                    len,
                    ..found.active.info
                };
                Arc::make_mut(&mut segments.closed).push(info);
                segments.end = judge.end_of_synced(next).unwrap_or(synced_end);
                continue;
            }
            segments.end = found.end;
            segments.active = Some(found.active);
            if !found.stopped {
                self.set_aside_replaced(segments, &judge, &mut rest)?;
            }
            let next = rest.peek().copied();
            let follows = next.is_some_and(|next| {
                next == found.end || (next > found.end && judge.trusts_up_to(next))
            });
            if follows && !found.stopped {
                segments.close_active(self.unsynced)?;
            } else if let Some(next) = rest.next() {
                torn_bytes += self.set_aside(segments, &judge, next, &mut rest)?;
            }
        }
        if segments.end < synced_end {
            // The last of what was synced is lost. Its offsets are not used again.
            judge.rot = true;
            segments.close_active(self.unsynced)?;
            segments.end = synced_end;
        }
        state.intact &= !judge.rot;
        Ok((judge.kept, torn_bytes))
    }

    /// Goes on with what a cut left of a segment, which is the last of the log.
    fn take_up_cut(
        &mut self,
        segments: &mut Segments,
        judge: &Judge<'_>,
        cut: CutSegment,
        rest: &mut Peekable<impl Iterator<Item = Offset>>,
    ) -> Result<u64, DiskError> {
        if let Some(active) = &cut.active {
            // A start before this one may have come as far.
            rest.next_if_eq(&active.info.base);
        }
        Arc::make_mut(&mut segments.closed).extend(cut.before);
        segments.active = cut.active;
        segments.end = judge.cut.unwrap_or(segments.end);
        match rest.next() {
            Some(next) => self.set_aside(segments, judge, next, rest),
            None => Ok(0),
        }
    }

    fn append_missing(
        &mut self,
        segments: &mut Segments,
        state: &mut ReplicaState,
        missing: &[FoldedBatch],
    ) -> Result<(), DiskError> {
        let mut group: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        let mut rest = missing;
        'runs: while !rest.is_empty() {
            let bodies = self.bodies.run(rest)?;
            let (run, others) = rest.split_at(bodies.len());
            rest = others;
            for (folded, body) in run.iter().zip(bodies) {
                let end = group.last().map_or(segments.end, Batch::next_offset);
                let batch = Some(folded).filter(|folded| folded.base == end);
                let Some(batch) = batch.and_then(|folded| decode(body, folded)) else {
                    state.intact = false;
                    break 'runs;
                };
                bytes += folded.len;
                group.push(batch);
            }
            if bytes >= ROUND_BYTES_MAX {
                segments.append(&group, &self.config, self.unsynced, &mut 0)?;
                group.clear();
                bytes = 0;
            }
        }
        segments.append(&group, &self.config, self.unsynced, &mut 0)
    }

    fn drop_trimmed(
        &mut self,
        segments: &mut Segments,
        log_start: Offset,
    ) -> Result<(), DiskError> {
        let end = segments.end;
        for id in segments.trim(log_start.min(end), self.unsynced) {
            remove_file(&self.home, id)?;
            self.unsynced.renamed(&self.home.dir())?;
        }
        segments.end = end;
        Ok(())
    }
}

/// Where what had been synced ends, of what is not cut.
fn synced_end(folded: &Folded) -> Offset {
    let applied = folded.applied_end;
    let kept = applied.min(folded.cut.unwrap_or(applied));
    folded.reset.unwrap_or(kept)
}

fn decode(mut body: Bytes, folded: &FoldedBatch) -> Option<Batch> {
    let batch = Batch::decode(&mut body).ok()?;
    (folded.is(&batch) && batch.verify().is_ok()).then_some(batch)
}
