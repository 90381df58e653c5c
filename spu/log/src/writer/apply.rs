//! Applies what is durable to segments, replica by replica, and gives up cached batches.
//!
//! Operations of one replica are applied in the order of their rounds; nothing is skipped.

use std::sync::{Arc, PoisonError};

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{Cached, SegmentWriter, Work, signed};
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
    /// Applies a replica's operations up to a round.
    pub(super) fn flush(
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
        let mut group: Vec<Batch> = Vec::new();
        for operation in operations {
            let bytes = operation.item.encoded_len() as u64;
            let mut cut_done = false;
            match operation.item {
                Item::Entry(Entry::Batch(batch)) => {
                    group.push(batch);
                    continue;
                }
                other => {
                    self.append(replica, applied, &mut group, work)?;
                    cut_done |= matches!(other, Item::Entry(Entry::Cut { .. }));
                    self.change(replica, applied, other, work)?;
                }
            }
            replica.applied(&applied.segments, bytes, cut_done);
            self.unflushed.fetch_sub(signed(bytes), Ordering::Relaxed);
        }
        self.append(replica, applied, &mut group, work)
    }

    fn append(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        group: &mut Vec<Batch>,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let Some(last) = group.last() else {
            return Ok(());
        };
        applied.state.last_append_ms = Some(last.placement.append_time_ms);
        let told = last
            .placement
            .high_watermark
            .min(last.placement.base_offset);
        applied.state.high_watermark = applied.state.high_watermark.max(told);
        if !applied.is_retired {
            applied
                .segments
                .append(group, &replica.config(), &mut work.unsynced)?;
        }
        let bytes = group
            .drain(..)
            .map(|batch| Item::Entry(Entry::Batch(batch)).encoded_len());
        let bytes = bytes.sum::<usize>() as u64;
        replica.applied(&applied.segments, bytes, false);
        self.unflushed.fetch_sub(signed(bytes), Ordering::Relaxed);
        Ok(())
    }

    fn change(
        &self,
        replica: &Arc<Replica>,
        applied: &mut Applied,
        item: Item,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        if applied.is_retired {
            return Ok(());
        }
        let vfs = &self.root.vfs;
        match item {
            Item::Entry(Entry::Cut { to, .. }) => {
                applied.segments.cut(to, &mut work.unsynced)?;
                snapshot::cut(vfs, &replica.home.dir, to)?;
            }
            Item::Entry(Entry::Trim { to, .. }) => {
                applied.state.log_start = applied.state.log_start.max(to);
                let gone = applied.segments.trim(to, &mut work.unsynced);
                work.trimmed
                    .extend(gone.into_iter().map(|id| (replica.home.clone(), id)));
            }
            Item::Entry(Entry::Meta { meta, .. }) => applied.state.meta = meta,
            Item::Entry(Entry::HighWatermark { offset, .. }) => {
                applied.state.high_watermark = applied.state.high_watermark.max(offset);
            }
            Item::Entry(Entry::Snapshot { as_of, bytes, .. }) => {
                snapshot::save(vfs, &replica.home.dir, as_of, &bytes)?;
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
        let dir = &replica.home.dir;
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

    pub(super) fn delete_some(&self, work: &mut Work) -> Result<bool, DiskError> {
        let count = work.trimmed.len().min(DELETES_PER_STEP);
        for (home, id) in work.trimmed.drain(..count) {
            remove_file(&home, id)?;
            work.unsynced.renamed(&home.dir)?;
        }
        Ok(count > 0)
    }

    /// Takes note of batches that are now on disk as well, and gives up the oldest of those in
    /// memory beyond the budget.
    fn give_up_cached(&self, replica: &Arc<Replica>, upto: Option<Offset>) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.extend(upto.map(|upto| Cached {
            replica: Arc::downgrade(replica),
            upto,
        }));
        while self.budget.excess() > 0 {
            let Some(oldest) = cached.pop_front() else {
                break;
            };
            if let Some(replica) = oldest.replica.upgrade() {
                replica.evict(oldest.upto, self.budget.excess());
                if self.budget.excess() == 0 {
                    cached.push_front(oldest);
                }
            }
        }
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
