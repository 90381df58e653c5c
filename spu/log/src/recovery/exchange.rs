//! Carries an exchange of compacted segments out to the end that a crash cut short, before anything
//! else looks at the segments.
//!
//! Invariant: what was announced is done, what was not announced leaves no trace; a damaged
//! announcement changes nothing, and the replica is not intact.

use super::Recovery;
use super::judge::Judge;
use crate::checkpoint::ReplicaState;
use crate::compacted::{Compacted, remove_if_there};
use crate::error::{Context as _, DiskError};
use crate::fold::Folded;
use crate::layout;

impl Recovery<'_> {
    pub(super) fn judge<'f>(&self, folded: &'f Folded, state: &ReplicaState) -> Judge<'f> {
        let mut judge = Judge::new(folded, state);
        judge.rot |= self.is_compaction_unknown;
        judge
    }

    /// What the replica's file says of compaction, with nothing of it left to do.
    pub(super) fn finish_exchange(
        &mut self,
        folded: &Folded,
    ) -> Result<Option<Compacted>, DiskError> {
        let (vfs, dir) = (self.home.pool.vfs(), &self.home.dir);
        let items = vfs.list_dir(dir).during("list", dir)?;
        let mut compacted = None;
        if items.iter().any(|item| item.name == layout::COMPACTION) {
            match Compacted::load(&**vfs, dir) {
                Ok(found) => compacted = found,
                Err(what) => {
                    let key = self.home.key;
                    tracing::error!(replica = %key, what, "the file on compaction is damaged");
                    self.verdicts.not_intact(&folded.state)?;
                    self.is_compaction_unknown = true;
                    return Ok(None);
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
        }
        for item in items.iter().filter(|item| layout::is_staged(&item.name)) {
            remove_if_there(&**vfs, &dir.join(&item.name))?;
        }
        Ok(compacted)
    }
}
