//! What the directory remembers of how it was registered: attempts, and the one that was granted (S2).
//!
//! The controllers tell a directory that went back in time by what it does not remember, so an attempt is
//! durable before they are asked. It decides nothing, and draws no ids.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use tidegate_proto::id::{AttemptId, Incarnation};

use super::Log;
use crate::error::LogDead;

impl Log {
    /// The attempt to register under which the controllers are to be asked, and the one that was granted
    /// last. The first is `new`, unless an earlier one ended before its answer was written down: the
    /// controllers may have granted that. Blocks; durable on return.
    pub fn attempt_registration(
        &self,
        new: AttemptId,
    ) -> Result<(AttemptId, Option<AttemptId>), LogDead> {
        let inner = &self.inner;
        inner.check_alive()?;
        let mut identity = inner
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let attempt = *identity.attempt.get_or_insert(new);
        if attempt == new {
            let saved = inner.with_reserve(|| identity.save(&inner.root));
            saved.map_err(|error| inner.fail(&error))?;
        }
        Ok((attempt, identity.granted))
    }

    /// Records the registration under which the directory is used, and that the attempt was granted. Blocks;
    /// durable on return.
    pub fn set_incarnation(&self, incarnation: Incarnation) -> Result<(), LogDead> {
        let inner = &self.inner;
        inner.check_alive()?;
        let mut identity = inner
            .identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        identity.last_incarnation = Some(incarnation);
        identity.granted = identity.attempt.take().or(identity.granted);
        // Not before: until the registration stands, whoever opens the directory must learn of a loss.
        identity.boot = inner.root.vfs.boot_id();
        let saved = inner.with_reserve(|| identity.save(&inner.root));
        saved.map_err(|error| inner.fail(&error))?;
        inner.is_loss_told.store(true, Ordering::Release);
        Ok(())
    }
}
