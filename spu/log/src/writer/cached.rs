//! Batches that are in memory and on disk, in the order of flushes: what to give up first.
//!
//! Given up are the oldest beyond the budget, and those of replicas to which nothing was appended for a
//! while: of ten thousand most are quiet, and what their readers want is on disk. Never what the disk
//! does not have.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use tidegate_proto::position::Offset;

use crate::limits::{TAIL_LOOKS_PER_TICK, TAIL_REST_MS};
use crate::replica::Replica;
use crate::tail::TailBudget;

#[derive(Debug, Default)]
pub(super) struct Cached {
    flushes: VecDeque<Flush>,
}

#[derive(Debug)]
struct Flush {
    replica: Weak<Replica>,
    upto: Offset,
    /// When something was last appended to the replica, as far as is known; never in the future.
    appended_ms: i64,
}

impl Cached {
    /// Takes note that memory and disk hold batches that end at or below `upto`.
    pub(super) fn note(&mut self, replica: &Arc<Replica>, upto: Offset, now_ms: i64) {
        let appended_ms = replica.last_append_ms().unwrap_or(now_ms).min(now_ms);
        let replica = Arc::downgrade(replica);
        self.flushes.push_back(Flush {
            replica,
            upto,
            appended_ms,
        });
    }

    /// Gives up the oldest beyond the budget.
    pub(super) fn keep_within(&mut self, budget: &TailBudget) {
        while budget.excess() > 0 {
            let Some(oldest) = self.flushes.pop_front() else {
                break;
            };
            if let Some(replica) = oldest.replica.upgrade() {
                replica.evict(oldest.upto, budget.excess());
                if budget.excess() == 0 {
                    self.flushes.push_front(oldest);
                }
            }
        }
    }

    /// Gives up what replicas hold that are quiet by now; the others have another turn later.
    pub(super) fn rest(&mut self, now_ms: i64) {
        let quiet_ms = now_ms.saturating_sub(TAIL_REST_MS);
        let looks = self.flushes.len().min(TAIL_LOOKS_PER_TICK);
        for _ in 0..looks {
            let Some(flush) = self
                .flushes
                .pop_front_if(|flush| flush.appended_ms <= quiet_ms)
            else {
                break;
            };
            let Some(replica) = flush.replica.upgrade() else {
                continue;
            };
            if replica.rest(flush.upto, quiet_ms) {
                self.note(&replica, flush.upto, now_ms);
            }
        }
        if self.flushes.len() < self.flushes.capacity() / 4 {
            self.flushes.shrink_to(self.flushes.len() * 2);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flushes.len()
    }
}
