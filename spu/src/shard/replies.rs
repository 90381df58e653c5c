//! Who waits for which request.
//!
//! The machine names requests by number; here stands what to do when it answers one. Numbers are
//! reused after their answer, so the table is as large as the most that ever waited together.

use tidegate_spu_core::{Acknowledged, Refusal, RequestId};
use tokio::sync::oneshot;

use super::permit::AppendPermit;

pub(crate) type Outcome = Result<Acknowledged, Refusal>;

/// The waiting end of a request, and the bytes that it holds.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) reply: oneshot::Sender<Outcome>,
    pub(crate) permit: AppendPermit,
}

#[derive(Debug, Default)]
pub(crate) struct Replies {
    pending: Vec<Option<Pending>>,
    free: Vec<usize>,
}

impl Replies {
    pub(crate) fn insert(&mut self, pending: Pending) -> RequestId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.pending.push(None);
            self.pending.len() - 1
        });
        self.pending[at] = Some(pending);
        RequestId(at as u64)
    }

    pub(crate) fn take(&mut self, request: RequestId) -> Pending {
        let at = request.0 as usize;
        let pending = self.pending[at]
            .take()
            .expect("a machine answers each request once");
        self.free.push(at);
        pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.pending.len()
    }
}
