//! What the writer does when files of one replica cannot be read, or are damaged: it writes on beside
//! them.
//!
//! Only a cut and the opening of a segment need to read. Such a read is done twice; then the replica is
//! called not intact, for good, and the same entry is carried out without it: a cut behind what is good
//! below it, an append in a new segment. So the entries of a damaged replica reach segments like all
//! others, no journal file has to be kept for them (J3), and nothing that was acknowledged is dropped.
//! Invariant: the replica's note of the damage is durable before a byte of it is moved; a change that fails
//! still ends the log.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{SegmentWriter, Work};
use crate::damage::FileDamage;
use crate::error::DiskError;
use crate::files::FileKind;
use crate::replica::{Applied, Replica};
use crate::segments::Below;

impl SegmentWriter {
    /// Takes note of damage to a replica's files, durably; false when it was not intact before.
    pub(crate) fn note_damage(
        &self,
        replica: &Replica,
        found: FileDamage,
    ) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        self.damaged(replica, &mut replica.lock_applied(), found)
    }

    pub(super) fn cut_segments(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        to: Offset,
        work: &mut Work,
    ) -> Result<(), DiskError> {
        let segments = &mut applied.segments;
        match segments.cut(to, &mut work.unsynced) {
            Err(error) if error.is_of_reading() => {}
            other => return other,
        }
        match segments.cut(to, &mut work.unsynced) {
            Err(error) if error.is_of_reading() => {}
            other => return other,
        }
        let Some(base) = segments.base_below(to) else {
            return Ok(());
        };
        let below = Below::look(&replica.home, base, to);
        if let Some(found) = below.damage() {
            self.damaged(replica, applied, found.clone())?;
        }
        applied.segments.cut_around(to, &below, &mut work.unsynced)
    }

    /// Counts in `written` the batches that are in a segment.
    pub(super) fn append_somewhere(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        batches: &[Batch],
        work: &mut Work,
        written: &mut usize,
    ) -> Result<(), DiskError> {
        let config = replica.config();
        let mut failures = 0;
        loop {
            let (segments, rest) = (&mut applied.segments, &batches[*written..]);
            let error = match segments.append(rest, &config, &mut work.unsynced, written) {
                Err(error) if error.is_of_reading() && failures < 2 => error,
                other => return other,
            };
            failures += 1;
            if failures == 2 {
                let (base, _) = segments.tail();
                let found = FileDamage {
                    path: replica.home.path(base, FileKind::Records),
                    position: 0,
                    from: base,
                    until: segments.end,
                    what: error.to_string(),
                };
                self.damaged(replica, applied, found)?;
                applied.segments.leave_active(&mut work.unsynced)?;
            }
        }
    }

    fn damaged(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        found: FileDamage,
    ) -> Result<bool, DiskError> {
        let is_news = std::mem::replace(&mut applied.state.intact, false);
        if applied.is_retired || replica.damage().is_some() {
            return Ok(is_news);
        }
        let key = replica.key();
        tracing::error!(replica = %key, ?found, "a replica is damaged: it is written on beside that");
        found.save(&*self.root.vfs, &replica.home.dir())?;
        replica.note_damage(found);
        Ok(is_news)
    }
}
