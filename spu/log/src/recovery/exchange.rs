//! Carries an exchange of compacted segments out to the end that a crash cut short, before anything
//! else looks at the segments.
//!
//! Invariant: what was announced is done, what was not announced leaves no trace. Of a damaged
//! announcement the segments tell: the new one has its name only when it is complete, and an old one
//! lost its own only after that ([`Recovery::set_aside_replaced`]). The replica is then not intact.

use std::iter::Peekable;

use tidegate_proto::position::Offset;

use super::Recovery;
use super::judge::Judge;
use crate::checkpoint::ReplicaState;
use crate::compacted::Compacted;
use crate::durable::remove_if_there;
use crate::error::{Context as _, DiskError};
use crate::fold::Folded;
use crate::layout;
use crate::segments::Segments;
use crate::vfs::DirItem;

impl Recovery<'_> {
    pub(super) fn judge<'f>(&self, folded: &'f Folded, state: &ReplicaState) -> Judge<'f> {
        let mut judge = Judge::new(folded, state);
        judge.rot |= self.is_compaction_unknown;
        judge
    }

    /// What the replica's file says of compaction, with nothing of it left to do, and what is in the
    /// directory then.
    pub(super) fn finish_exchange(
        &mut self,
        folded: &Folded,
    ) -> Result<(Option<Compacted>, Vec<DirItem>), DiskError> {
        let (vfs, dir) = (self.home.pool.vfs(), &self.home.dir());
        let mut items = vfs.list_dir(dir).during("list", dir)?;
        let mut compacted = None;
        if items.iter().any(|item| item.name == layout::COMPACTION) {
            match Compacted::load(&**vfs, dir) {
                Ok(found) => compacted = found,
                Err(what) => {
                    let key = self.home.key;
                    tracing::error!(replica = %key, what, "the file on compaction is damaged");
                    self.verdicts.not_intact(&folded.state)?;
                    self.is_compaction_unknown = true;
                    return Ok((None, items));
                }
            }
        }
        if let Some(compacted) = &mut compacted {
            let exchange = compacted.exchange.take();
            if let Some(exchange) = &exchange {
                exchange.finish(&**vfs, dir)?;
            }
            if let Some(to) = folded.cut {
                compacted.cut(to);
            }
            if exchange.is_some() || folded.cut.is_some() {
                compacted.save(&**vfs, dir)?;
            }
            if exchange.is_some() {
                items = vfs.list_dir(dir).during("list", dir)?;
            }
        }
        for item in items.iter().filter(|item| layout::is_staged(&item.name)) {
            remove_if_there(&**vfs, &dir.join(&item.name))?;
        }
        Ok((compacted, items))
    }

    /// Puts segments into quarantine that the last one found took the place of, when nothing says any
    /// more that it did: it reaches over them, whole, and ends where another begins.
    pub(super) fn set_aside_replaced(
        &mut self,
        segments: &Segments,
        judge: &Judge<'_>,
        rest: &mut Peekable<impl Iterator<Item = Offset> + Clone>,
    ) -> Result<(), DiskError> {
        let end = segments.end;
        let goes_on = self.is_compaction_unknown && rest.clone().any(|base| base == end);
        while let Some(base) = rest.next_if(|base| goes_on && *base < end) {
            self.set_aside(segments, judge, base, &mut std::iter::empty())?;
        }
        Ok(())
    }
}
