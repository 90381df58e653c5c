//! Puts a compacted segment in the place of those that it was made from.
//!
//! Under the writer's lock, so that no cut, trim or checkpoint comes between. Invariant: the exchange
//! is announced durably before the first name changes; from then on it is carried out, now or at the
//! next opening.

use std::sync::Arc;

use super::SegmentWriter;
use crate::compacted::{Compacted, Exchange};
use crate::error::{Context as _, DiskError};
use crate::files::FileKind;
use crate::replica::Replica;
use crate::segment::SegmentInfo;

impl SegmentWriter {
    /// Replaces closed segments by the one that is staged under the first one's base; false when they
    /// are no longer what they were, and nothing was changed.
    pub(crate) fn exchange(
        &self,
        replica: &Arc<Replica>,
        inputs: &[SegmentInfo],
        output: SegmentInfo,
    ) -> Result<bool, DiskError> {
        let mut work = self.lock_work();
        let mut applied = replica.lock_applied();
        let closed = &applied.segments.closed;
        let first = closed.iter().position(|info| info.base == output.base);
        let Some(from) = first.filter(|_| !applied.is_retired) else {
            return Ok(false);
        };
        let range = from..from + inputs.len();
        let last = inputs.last().map_or(output.base, |last| last.base);
        if closed.get(range.clone()) != Some(inputs) || last >= applied.checkpointed_tail {
            return Ok(false);
        }
        let (home, vfs) = (&replica.home, &self.root.vfs);
        let mut compacted = applied.compacted.as_deref().cloned().unwrap_or_default();
        let exchange = Exchange {
            inputs: inputs.iter().map(|info| info.base).collect(),
        };
        vfs.sync_dir(&home.dir)
            .during("sync directory", &home.dir)?;
        compacted.exchange = Some(exchange.clone());
        match compacted.save(&**vfs, &home.dir) {
            // Nothing was announced: the file is replaced whole or not at all.
            Err(error) if error.is_passing() => return Ok(false),
            other => other?,
        }
        replica.begin_exchange();
        exchange.place(&**vfs, &home.dir)?;
        let ids = inputs.iter().flat_map(|info| {
            [FileKind::Records, FileKind::Index].map(|kind| home.id(info.base, kind))
        });
        for id in ids.clone() {
            work.unsynced.forget(id);
            home.pool.forget(id);
        }
        Arc::make_mut(&mut applied.segments.closed).splice(range, [output]);
        replica.end_exchange(&applied.segments);
        exchange.clear(&**vfs, &home.dir)?;
        // Readers that were under way may have opened them again.
        ids.skip(2).for_each(|id| home.pool.forget(id));
        compacted.exchange = None;
        match compacted.save(&**vfs, &home.dir) {
            // An exchange that is carried out can be carried out again, until something else is staged
            // ([`Self::strike_out`]) or cut (which saves).
            Err(error) if error.is_passing() => compacted.exchange = Some(exchange),
            other => other?,
        }
        applied.compacted = Some(Box::new(compacted));
        Ok(true)
    }

    /// Strikes out an exchange that was carried out and is still announced: the next start would put
    /// whatever is staged under its names in place. False when there is no room for that.
    pub(crate) fn strike_out(&self, replica: &Arc<Replica>) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        let mut applied = replica.lock_applied();
        if applied.is_retired {
            return Ok(false);
        }
        let Some(compacted) = applied.compacted.as_mut() else {
            return Ok(true);
        };
        if compacted.exchange.is_none() {
            return Ok(true);
        }
        let struck = Compacted {
            exchange: None,
            ..(**compacted).clone()
        };
        match struck.save(&*self.root.vfs, &replica.home.dir) {
            Err(error) if error.is_passing() => return Ok(false),
            other => other?,
        }
        **compacted = struck;
        Ok(true)
    }

    /// Saves what a finished pass came to; false when there is no room for that, or the replica is
    /// no longer what it was.
    pub(crate) fn note_pass(
        &self,
        replica: &Arc<Replica>,
        compacted: Compacted,
    ) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        let mut applied = replica.lock_applied();
        if applied.is_retired || compacted.clean_end > applied.checkpointed_tail {
            return Ok(false);
        }
        match compacted.save(&*self.root.vfs, &replica.home.dir) {
            // The next pass then looks at the same records again.
            Err(error) if error.is_passing() => return Ok(false),
            other => other?,
        }
        applied.compacted = Some(Box::new(compacted));
        Ok(true)
    }
}
