//! Applies what is durable to segments, replica by replica, and gives up cached batches.
//!
//! Operations of one replica are applied in the order of their rounds; nothing is skipped. What an
//! error that passes kept from being applied waits as before.

use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{SegmentWriter, Work, signed};
use crate::durable;
use crate::entry::{Entry, Item};
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::{DELETES_PER_STEP, ROUND_BYTES_MAX};
use crate::replica::{Applied, Operation, Replica};
use crate::segments::remove_file;
use crate::snapshot;
use crate::vfs::Place;
use std::sync::atomic::Ordering;

impl SegmentWriter {
    /// Applies a replica's operations up to a round. What fails stays in the queue.
    pub(super) fn flush(
        &self,
        replica: &Arc<Replica>,
        round: u64,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let outcome = self.flush_some(replica, round, work);
        if outcome.is_err() {
            self.lock_queue().pending.push_front(Arc::clone(replica));
        }
        outcome
    }

    fn flush_some(
        &self,
        replica: &Arc<Replica>,
        round: u64,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let mut applied = replica.lock_applied();
        let mut is_written = false;
        loop {
            let operations = replica.take_operations(round, ROUND_BYTES_MAX);
            if operations.is_empty() {
                break;
            }
            is_written |= operations.iter().any(Operation::is_batch);
            self.apply(replica, &mut applied, operations, work)?;
        }
        let now_ms = self.now_ms();
        if now_ms != 0 && replica.is_roll_due(now_ms) && !applied.is_retired {
            applied
                .segments
                .roll_by_time(now_ms, &replica.config(), &mut work.unsynced)?;
            replica.applied(&applied.segments, 0, false);
        }
        let upto = applied.segments.end;
        drop(applied);
        if is_written || now_ms != 0 {
            self.lock_rolls().note(replica);
        }
        if replica.is_queued() {
            self.lock_queue().pending.push_back(Arc::clone(replica));
        }
        self.give_up_cached(replica, is_written.then_some(upto));
        Ok(())
    }

    fn apply(
        &self,
        replica: &Arc<Replica>,
        applied: &mut Applied,
        operations: Vec<Operation>,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let mut group = Group::default();
        let mut rest = operations.into_iter();
        while let Some(Operation { round, item }) = rest.next() {
            let item = match item {
                Item::Entry(Entry::Batch(batch)) => {
                    group.push(round, batch);
                    continue;
                }
                other => other,
            };
            let bytes = item.encoded_len() as u64;
            let outcome = self
                .append(replica, applied, &mut group, work)
                .and_then(|()| self.change(replica, applied, &item, work));
            if let Err(error) = outcome {
                let this = Operation { round, item };
                let all = group.into_operations().chain([this]).chain(rest);
                replica.put_back(all.collect());
                return Err(error);
            }
            let cut_done = matches!(item, Item::Entry(Entry::Cut { .. }));
            replica.applied(&applied.segments, bytes, cut_done);
            self.unflushed.fetch_sub(signed(bytes), Ordering::Relaxed);
        }
        let outcome = self.append(replica, applied, &mut group, work);
        if outcome.is_err() {
            replica.put_back(group.into_operations().collect());
        }
        outcome
    }

    /// Writes a group's batches and empties it; after an error it holds those not written.
    fn append(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        group: &mut Group,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        if group.batches.is_empty() {
            return Ok(());
        }
        let mut written = group.batches.len();
        let mut outcome = Ok(());
        if !applied.is_retired {
            written = 0;
            outcome = self.append_somewhere(replica, applied, &group.batches, work, &mut written);
        }
        let Some(last) = group.batches[..written].last() else {
            return outcome;
        };
        applied.state.last_append_ms = Some(last.placement.append_time_ms);
        let told = last
            .placement
            .high_watermark
            .min(last.placement.base_offset);
        applied.state.high_watermark = applied.state.high_watermark.max(told);
        group.rounds.drain(..written);
        let bytes = group
            .batches
            .drain(..written)
            .map(|batch| Item::Entry(Entry::Batch(batch)).encoded_len());
        let bytes = bytes.sum::<usize>() as u64;
        replica.applied(&applied.segments, bytes, false);
        self.unflushed.fetch_sub(signed(bytes), Ordering::Relaxed);
        outcome
    }

    fn change(
        &self,
        replica: &Arc<Replica>,
        applied: &mut Applied,
        item: &Item,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        if applied.is_retired {
            return Ok(());
        }
        let vfs = &self.root.vfs;
        match item {
            Item::Entry(Entry::Cut { to, .. }) => {
                applied.cuts = applied.cuts.wrapping_add(1);
                let committed = &mut applied.state.high_watermark;
                *committed = (*committed).min(*to);
                if *to < applied.state.log_start {
                    applied.state.log_start = *to;
                    self.delete_trimmed(replica, work)?;
                }
                // First: an exchange that is still announced would be carried out again, over what the
                // cut leaves and what is written after it.
                if !self.settle(replica, applied)? {
                    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                    return Err(full).during("settle", &replica.home.dir());
                }
                if let Some(compacted) = &mut applied.compacted {
                    let mut cut = (**compacted).clone();
                    cut.cut(*to);
                    cut.save(&**vfs, &replica.home.dir())?;
                    **compacted = cut;
                }
                self.cut_segments(replica, applied, *to, work)?;
                snapshot::cut(vfs, &replica.home.dir(), *to)?;
                let (tail_base, _) = applied.segments.tail();
                applied.state.tail_base = applied.state.tail_base.min(tail_base);
            }
            Item::Entry(Entry::Trim { to, .. }) => {
                applied.state.log_start = applied.state.log_start.max(*to);
                if *to > applied.segments.end {
                    // Of batches that this log never had behind what it had.
                    snapshot::remove(vfs, &replica.home.dir())?;
                }
                let gone = applied.segments.trim(*to, &mut work.unsynced);
                work.trimmed
                    .extend(gone.into_iter().map(|id| (replica.home.clone(), id)));
            }
            Item::Entry(Entry::Meta { meta, .. }) => applied.state.meta = *meta,
            Item::Entry(Entry::HighWatermark { offset, .. }) => {
                applied.state.high_watermark = applied.state.high_watermark.max(*offset);
            }
            Item::Entry(Entry::Snapshot { as_of, bytes, .. }) => {
                snapshot::save(vfs, &replica.home.dir(), *as_of, bytes)?;
            }
            Item::Retired { .. } => self.retire(replica, applied, work)?,
            Item::Entry(Entry::Batch(_)) | Item::Created { .. } => {}
        }
        Ok(())
    }

    fn retire(
        &self,
        replica: &Arc<Replica>,
        applied: &mut Applied,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let dir = &replica.home.dir();
        work.trimmed
            .retain(|(home, _)| home.number != replica.home.number);
        // Its files stay listed: a sync finds them by handle, wherever their directory is by then.
        work.unsynced.sync_names(&*self.root.vfs, dir)?;
        let now_ms = Some(self.now_ms()).filter(|now_ms| *now_ms != 0);
        move_to_trash(&self.root, dir, now_ms)?;
        // The journal has it that the replica is given up, until a checkpoint that syncs this first.
        for changed in [layout::REPLICAS, layout::TRASH] {
            work.unsynced.renamed(&self.root.path(changed).into())?;
        }
        for segment in replica.segments() {
            for kind in [
                crate::files::FileKind::Records,
                crate::files::FileKind::Index,
            ] {
                replica
                    .home
                    .pool
                    .forget(replica.home.id(segment.base, kind));
            }
        }
        applied.is_retired = true;
        let mut replicas = self.registry.write();
        replicas.retiring.remove(&replica.home.number);
        Ok(())
    }

    /// Deletes what retention left of a replica now: what is written next may have the same names.
    fn delete_trimmed(&self, replica: &Replica, work: &mut Work) -> Result<(), DiskError> {
        let number = replica.home.number;
        while let Some(at) = work
            .trimmed
            .iter()
            .position(|(home, _)| home.number == number)
        {
            let (home, id) = &work.trimmed[at];
            remove_file(home, *id)?;
            work.unsynced.renamed(&home.dir())?;
            work.trimmed.remove(at);
        }
        Ok(())
    }

    pub(super) fn delete_some(&self, work: &mut Work) -> Result<bool, DiskError> {
        let count = work.trimmed.len().min(DELETES_PER_STEP);
        for _ in 0..count {
            let Some((home, id)) = work.trimmed.front() else {
                break;
            };
            remove_file(home, *id)?;
            work.unsynced.renamed(&home.dir())?;
            work.trimmed.pop_front();
        }
        Ok(count > 0)
    }

    /// Takes note of batches that are now on disk as well, and gives up the oldest of those in
    /// memory beyond the budget.
    fn give_up_cached(&self, replica: &Arc<Replica>, upto: Option<Offset>) {
        let mut cached = self.lock_cached();
        if let Some(upto) = upto {
            cached.note(replica, upto, self.now_ms());
        }
        cached.keep_within(&self.budget);
    }
}

/// Batches that go to segments together, with the rounds they came in.
#[derive(Debug, Default)]
struct Group {
    rounds: Vec<u64>,
    batches: Vec<Batch>,
}

impl Group {
    fn push(&mut self, round: u64, batch: Batch) {
        self.rounds.push(round);
        self.batches.push(batch);
    }

    fn into_operations(self) -> impl Iterator<Item = Operation> {
        let items = self.batches.into_iter().map(Entry::Batch).map(Item::Entry);
        let named = self.rounds.into_iter().zip(items);
        named.map(|(round, item)| Operation { round, item })
    }
}

/// Moves a replica's directory to `trash/`, named by when, so that it can be purged by age. The
/// names in both directories are the caller's to sync.
pub(crate) fn move_to_trash(
    root: &Place,
    dir: &std::path::Path,
    now_ms: Option<i64>,
) -> Result<(), DiskError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let when = now_ms.map_or_else(|| "undated".to_owned(), |now_ms| format!("{now_ms:020}"));
    let trash = root.path(layout::TRASH);
    let target = durable::free_name(&*root.vfs, &trash, &format!("{when}_{name}"))?;
    root.vfs.rename(dir, &target).during("rename", &target)
}
