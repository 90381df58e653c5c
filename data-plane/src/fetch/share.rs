//! What one answer takes of the budget that all answers share.
//!
//! Taken before records are read, kept by the answer's bytes until the last of them is written or
//! dropped. Invariant: an answer that is handed on holds as much of the budget as it has bytes.

use bytes::Bytes;
use tidegate_kit::budget::{ByteBudget, BytePermit};

use crate::limits::{ANSWER_BYTES_MIN, ANSWER_PART_OF_LEFT};

#[derive(Debug)]
pub(super) struct Share {
    budget: ByteBudget,
    permit: Option<BytePermit>,
}

impl Share {
    pub(super) fn new(budget: &ByteBudget) -> Self {
        Self {
            budget: budget.clone(),
            permit: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, BytePermit::bytes)
    }

    /// Takes what is there of `bytes` in all. False, and nothing taken, when that is too little to
    /// begin with.
    pub(super) fn grow_towards(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes());
        let part = self.budget.available() / ANSWER_PART_OF_LEFT;
        missing == 0 || (part >= ANSWER_BYTES_MIN && self.take(missing.min(part)))
    }

    /// Takes what is missing to `bytes`. False, and nothing taken, when it is not there.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes());
        missing == 0 || self.take(missing)
    }

    /// Gives back what is above `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            permit.shrink_to(bytes);
        }
    }

    /// The bytes of an answer; the share is given back with the last handle to them, wherever the
    /// connection keeps it.
    pub(super) fn into_bytes(self, answer: Vec<u8>) -> Bytes {
        match self.permit {
            Some(permit) => permit.around(answer),
            None => answer.into(),
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let Some(taken) = self.budget.try_acquire(bytes) else {
            return false;
        };
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        true
    }
}
