//! Puts a compacted segment in the place of those that it was made from.
//!
//! Under the writer's lock, so that no cut, trim or checkpoint comes between. Invariant: the exchange
//! is announced durably before the first name changes; from the moment the new segment has its name it
//! is carried out, now, later or at the next opening. Before that a full disk takes it back, whole.

use std::ops::Range;
use std::sync::Arc;

use tidegate_proto::position::Offset;

use super::SegmentWriter;
use crate::compacted::{Compacted, Exchange};
use crate::error::{Context as _, DiskError};
use crate::files::{FileId, FileKind};
use crate::replica::{Applied, Replica};
use crate::segment::{Home, Span};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchanged {
    /// The new segment is in place and nothing else is left.
    Done,
    /// Nothing was changed: the segments are no longer what they were, there was a cut or one waits, what
    /// was staged does not take the same offsets, or there is no room. What was staged is of no use.
    Refused,
    /// There is no room for the end of it. What was staged stays where it is until
    /// [`SegmentWriter::settle_exchange`].
    Unsettled {
        /// Whether the new segment is in place.
        is_placed: bool,
    },
}

impl SegmentWriter {
    /// Replaces closed segments by the one that is staged under the first one's base. `cuts` is how many
    /// there had been when the segments were looked at.
    pub(crate) fn exchange(
        &self,
        replica: &Arc<Replica>,
        cuts: u32,
        inputs: &[Span],
        output: Span,
    ) -> Result<Exchanged, DiskError> {
        let mut work = self.lock_work();
        let mut applied = replica.lock_applied();
        let is_cut = applied.cuts != cuts || replica.awaits_cut();
        let Some(range) = replaced(&applied, inputs, output).filter(|_| !is_cut) else {
            return Ok(Exchanged::Refused);
        };
        let (home, vfs) = (&replica.home, &self.root.vfs);
        let exchange = Exchange {
            inputs: inputs.iter().map(|input| input.info.base).collect(),
        };
        let names = vfs
            .sync_dir(&home.dir())
            .during("sync directory", &home.dir());
        // Names that a checkpoint relies on are listed for its own sync.
        if !has_room(names)? {
            return Ok(Exchanged::Refused);
        }
        if let Some(unsettled) = self.announce(replica, &mut applied, &exchange, output.end)? {
            return Ok(unsettled);
        }
        replica.begin_exchange();
        let placed = exchange.place_records(&**vfs, &home.dir());
        if !has_room(placed)? {
            replica.end_exchange(&applied.segments);
            return self.take_back(replica, &mut applied, exchange);
        }
        let indexed = has_room(exchange.place_index(&**vfs, &home.dir()))?;
        for id in file_ids(home, &exchange) {
            work.unsynced.forget(id);
            home.pool.forget(id);
        }
        Arc::make_mut(&mut applied.segments.closed).splice(range, [output.info]);
        replica.end_exchange(&applied.segments);
        if !indexed || !has_room(exchange.clear(&**vfs, &home.dir()))? {
            return Ok(Exchanged::Unsettled { is_placed: true });
        }
        // Readers that were under way may have opened them again.
        file_ids(home, &exchange).for_each(|id| home.pool.forget(id));
        // An exchange that is carried out can be carried out again, until something else is staged
        // ([`Self::settle_exchange`]) or cut (which saves).
        self.save_struck(replica, &mut applied)?;
        Ok(Exchanged::Done)
    }

    /// Brings an exchange that is still announced to its end, and strikes it out: the next start would
    /// put whatever is staged under its names in place. False when there is no room for that.
    pub(crate) fn settle_exchange(&self, replica: &Arc<Replica>) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        self.settle(replica, &mut replica.lock_applied())
    }

    /// The same with the locks held.
    pub(super) fn settle(
        &self,
        replica: &Replica,
        applied: &mut Applied,
    ) -> Result<bool, DiskError> {
        if applied.is_retired {
            return Ok(true);
        }
        let announced = applied.compacted.as_ref();
        let Some(exchange) = announced.and_then(|compacted| compacted.exchange.clone()) else {
            return Ok(true);
        };
        let (home, vfs) = (&replica.home, &self.root.vfs);
        let is_placed = !exchange.is_staged(&**vfs, &home.dir())?;
        if is_placed {
            if !has_room(exchange.finish(&**vfs, &home.dir()))? {
                return Ok(false);
            }
            file_ids(home, &exchange).for_each(|id| home.pool.forget(id));
        }
        if !self.save_struck(replica, applied)? {
            return Ok(false);
        }
        if !is_placed {
            // Where there is no room for that either, the next opening does it.
            has_room(exchange.discard(&**vfs, &home.dir()))?;
        }
        Ok(true)
    }

    /// Says durably that an exchange is about to happen; how it ended when there is no room for that.
    fn announce(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        exchange: &Exchange,
        end: Offset,
    ) -> Result<Option<Exchanged>, DiskError> {
        let mut compacted = applied.compacted.as_deref().cloned().unwrap_or_default();
        compacted.exchange = Some(exchange.clone());
        // Not above the snapshot that the pass found.
        compacted.thinned_end = compacted.thinned_end.max(end);
        let saved = compacted.save(&*self.root.vfs, &replica.home.dir());
        match saved {
            // The file is replaced whole or not at all.
            Err(error) if error.is_passing() => Ok(Some(Exchanged::Refused)),
            other => {
                let is_kept = has_room(other)?;
                applied.compacted = Some(Box::new(compacted));
                if is_kept {
                    return Ok(None);
                }
                // It is announced, though perhaps not for ever.
                self.take_back(replica, applied, exchange.clone()).map(Some)
            }
        }
    }

    /// Strikes an exchange out of which nothing has happened.
    fn take_back(
        &self,
        replica: &Replica,
        applied: &mut Applied,
        exchange: Exchange,
    ) -> Result<Exchanged, DiskError> {
        let is_struck = self.save_struck(replica, applied)?;
        tracing::debug!(replica = %replica.key(), ?exchange, is_struck, "no room for an exchange");
        Ok(if is_struck {
            Exchanged::Refused
        } else {
            Exchanged::Unsettled { is_placed: false }
        })
    }

    /// Saves that no exchange is under way; false, with nothing changed, when there is no room for that.
    fn save_struck(&self, replica: &Replica, applied: &mut Applied) -> Result<bool, DiskError> {
        let struck = Compacted {
            exchange: None,
            ..applied.compacted.as_deref().cloned().unwrap_or_default()
        };
        if !has_room(struck.save(&*self.root.vfs, &replica.home.dir()))? {
            return Ok(false);
        }
        applied.compacted = Some(Box::new(struck));
        Ok(true)
    }

    /// Saves what a finished pass came to; false when there is no room for that, or the replica is
    /// no longer what it was: given up, or cut since there had been `cuts` cuts.
    pub(crate) fn note_pass(
        &self,
        replica: &Arc<Replica>,
        cuts: u32,
        mut compacted: Compacted,
    ) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        let mut applied = replica.lock_applied();
        let is_beyond = compacted.clean_end > applied.state.tail_base;
        if applied.is_retired || applied.cuts != cuts || is_beyond {
            return Ok(false);
        }
        // Exchanges moved it while the pass went on.
        let thinned = applied.compacted.as_ref().map(|known| known.thinned_end);
        compacted.thinned_end = compacted.thinned_end.max(thinned.unwrap_or_default());
        // Without it the next pass looks at the same records again.
        if !has_room(compacted.save(&*self.root.vfs, &replica.home.dir()))? {
            return Ok(false);
        }
        applied.compacted = Some(Box::new(compacted));
        Ok(true)
    }
}

/// False when there was no room for it. Here that is never final, not even from a sync: what it was to
/// keep is thrown away, or done again from the start before anything relies on it.
fn has_room(outcome: Result<(), DiskError>) -> Result<bool, DiskError> {
    match outcome {
        Err(error) if error.is_passing() || error.is_no_space() => Ok(false),
        other => other.map(|()| true),
    }
}

fn file_ids(home: &Home, exchange: &Exchange) -> impl Iterator<Item = FileId> {
    exchange
        .inputs
        .iter()
        .flat_map(|base| [FileKind::Records, FileKind::Index].map(|kind| home.id(*base, kind)))
}

/// Where in the list of closed segments those stand that are to be replaced: when they are what they
/// were, are synced, and the new one begins where the first begins and ends where the last ends.
fn replaced(applied: &Applied, inputs: &[Span], output: Span) -> Option<Range<usize>> {
    let segments = &applied.segments;
    let closed = &segments.closed;
    let from = closed
        .iter()
        .position(|info| info.base == output.info.base)?;
    let range = from..from + inputs.len();
    let last = inputs.last()?;
    let known = closed.get(range.clone())?;
    let next = closed
        .get(range.end)
        .or(segments.active.as_ref().map(|active| &active.info));
    let is_known = known.iter().eq(inputs.iter().map(|input| &input.info));
    let is_synced = last.info.base < applied.state.tail_base;
    let end = next.map_or(segments.end, |next| next.base);
    (!applied.is_retired && is_known && is_synced && output.end == end).then_some(range)
}
