//! Segments that cannot be read at opening, or that are damaged in front of a cut: the replica is opened
//! beside them, and says so.
//!
//! Invariant: what had been synced stays in its place, or goes to `quarantine/` where it cannot even be
//! opened; what had not is in the journal and is written anew. The replica's note of the damage is durable
//! before.

use std::sync::Arc;

use tidegate_proto::position::Offset;

use super::judge::Judge;
use super::segment::Walked;
use super::{Recovery, synced_end};
use crate::damage::FileDamage;
use crate::error::DiskError;
use crate::files::FileKind;
use crate::quarantine;
use crate::segment::SegmentInfo;
use crate::segments::{Below, CutSegment, Segments};

impl Recovery<'_> {
    /// Walks a segment, and once more when a read failed; then goes on without what cannot be read.
    pub(super) fn walk_or_leave(
        &mut self,
        segments: &mut Segments,
        judge: &mut Judge<'_>,
        base: Offset,
        next: Option<Offset>,
    ) -> Result<Walked, DiskError> {
        let before = (judge.kept, judge.rot);
        let mut walked = self.walk_one(segments, judge, base, next);
        for is_last in [false, true] {
            let error = match walked {
                Err(error) if error.is_of_reading() => error,
                other => return other,
            };
            (judge.kept, judge.rot) = before;
            if is_last {
                return self.leave(segments, judge, (base, next), &error);
            }
            walked = self.walk_one(segments, judge, base, next);
        }
        walked
    }

    /// Cuts the log behind what is good of a segment below the cut.
    pub(super) fn cut_around(
        &mut self,
        segments: &Segments,
        judge: &mut Judge<'_>,
        base: Offset,
        cut: Offset,
    ) -> Result<CutSegment, DiskError> {
        let below = Below::look(&self.home, base, cut);
        if let Some(damage) = below.damage() {
            self.damaged(judge, damage.clone())?;
        }
        segments.cut_one_around(&below, self.unsynced)
    }

    fn leave(
        &mut self,
        segments: &mut Segments,
        judge: &mut Judge<'_>,
        (base, next): (Offset, Option<Offset>),
        error: &DiskError,
    ) -> Result<Walked, DiskError> {
        if let Some(cut) = judge.cut_through(base, next) {
            return self.cut_around(segments, judge, base, cut).map(Walked::Cut);
        }
        let len = match segments.file_len(base) {
            Err(error) if error.is_of_reading() => 0,
            other => other?,
        };
        // Of any other the journal has all.
        let was_synced = base <= judge.tail_base && judge.cut.is_none_or(|cut| base < cut);
        let synced_end = judge
            .end_of_synced(next)
            .unwrap_or(synced_end(judge.folded));
        let end = if was_synced { synced_end } else { base };
        let kept = judge.synced_len(base, len).min(len);
        self.damaged(
            judge,
            FileDamage {
                path: self.home.path(base, FileKind::Records),
                position: 0,
                from: base,
                until: end,
                what: error.to_string(),
            },
        )?;
        if kept > 0 && end > base {
            quarantine::copy(&self.home, base, kept..len)?;
            segments.shorten(base, kept, self.unsynced)?;
            Arc::make_mut(&mut segments.closed).push(SegmentInfo {
                base,
                len: kept,
                max_timestamp_ms: i64::MIN,
                last_append_ms: i64::MIN,
            });
        } else {
            quarantine::take(&self.home, base, self.unsynced)?;
        }
        segments.end = end;
        Ok(Walked::Left)
    }

    /// Keeps what was met first.
    fn damaged(&mut self, judge: &mut Judge<'_>, found: FileDamage) -> Result<(), DiskError> {
        judge.rot = true;
        if self.damage.is_none() {
            let key = self.home.key;
            tracing::error!(replica = %key, ?found, "a replica is damaged: it is opened beside that");
            found.save(&**self.home.pool.vfs(), &self.home.dir())?;
            self.damage = Some(found);
        }
        Ok(())
    }
}
