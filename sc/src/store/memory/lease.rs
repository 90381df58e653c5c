//! The lease of the database in memory. Its clock is set by hand.
//!
//! Invariant: its epoch grows with every holder, and not while a commit under the last one is open.

use std::time::Duration;

use tidegate_proto::id::LeaseEpoch;

use super::state::State;
use crate::limits::LEASE_STATEMENT_TIMEOUT;
use crate::store::fault::StoreError;
use crate::store::lease::Acquired;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) holder: String,
    pub(super) epoch: u64,
    pub(super) until_ms: i64,
}

impl State {
    pub(super) fn acquire_lease(
        &mut self,
        holder: &str,
        duration: Duration,
    ) -> Result<Acquired, StoreError> {
        let left_ms = self.lease.until_ms - self.now_ms;
        if left_ms > 0 && self.lease.holder != holder {
            return Ok(Acquired::Theirs {
                holder: self.lease.holder.clone(),
                epoch: LeaseEpoch(self.lease.epoch),
                left: Duration::from_millis(left_ms.unsigned_abs()),
            });
        }
        if self.holds_lease_up() {
            return Err(StoreError::Slow(LEASE_STATEMENT_TIMEOUT));
        }
        self.lease = Lease {
            holder: holder.to_owned(),
            epoch: self.lease.epoch + 1,
            until_ms: self.until_ms(duration),
        };
        Ok(Acquired::Ours(LeaseEpoch(self.lease.epoch)))
    }

    pub(super) fn renew_lease(&mut self, epoch: LeaseEpoch, duration: Duration) -> bool {
        let is_ours = self.lease.epoch == epoch.0;
        if is_ours {
            self.lease.until_ms = self.until_ms(duration);
        }
        is_ours
    }

    pub(super) fn release_lease(&mut self, epoch: LeaseEpoch) {
        if self.lease.epoch == epoch.0 {
            self.lease.until_ms = 0;
        }
    }

    pub(super) fn until_ms(&self, duration: Duration) -> i64 {
        let duration_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.now_ms.saturating_add(duration_ms)
    }
}
