//! Those who wait for bytes of one tree, in order of arrival.
//!
//! The line is looked at whenever bytes are given back or somebody leaves it. Invariant: nobody is
//! granted what another waits for that came before and waits for the same full node.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{ByteBudget, BytePermit, Node};

/// Those who wait for any node of one tree.
#[derive(Default)]
pub(super) struct Line {
    /// Their number, readable without the lock: nearly always none.
    pub(super) count: AtomicUsize,
    waiting: Mutex<VecDeque<Waiting>>,
}

pub(super) struct Waiting {
    pub(super) budget: ByteBudget,
    pub(super) bytes: usize,
    pub(super) grant: oneshot::Sender<BytePermit>,
}

/// A place in the line. When it is left, those behind it may have their turn.
pub(super) struct Asked<'a> {
    pub(super) line: &'a Line,
    pub(super) granted: Option<oneshot::Receiver<BytePermit>>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.granted = None;
        self.line.serve_any();
    }
}

impl Line {
    pub(super) fn join(&self, waiting: Waiting) {
        {
            let mut line = self.lock();
            line.push_back(waiting);
            self.count.store(line.len(), Ordering::SeqCst);
        }
        // What was given back before the count went up was told to nobody.
        self.serve();
    }

    /// As below; costs nothing when nobody waits.
    pub(super) fn serve_any(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.serve();
        }
    }

    /// Grants, in order, what can be granted.
    fn serve(&self) {
        loop {
            // Permits that nobody wants any more are given back without the lock, and may free
            // what others wait for.
            let mut unwanted = Vec::new();
            self.grant_to(&mut self.lock(), &mut unwanted);
            if unwanted.is_empty() {
                return;
            }
            for mut permit in unwanted {
                permit.give_back(0);
            }
        }
    }

    fn grant_to(&self, line: &mut VecDeque<Waiting>, unwanted: &mut Vec<BytePermit>) {
        let mut full: Vec<Arc<Node>> = Vec::new();
        let mut still = VecDeque::with_capacity(line.len());
        for waiting in line.drain(..) {
            if waiting.grant.is_closed() {
                continue;
            }
            let behind = |node: &Node| full.iter().any(|full| std::ptr::eq(&**full, node));
            if waiting.budget.path().any(behind) {
                still.push_back(waiting);
                continue;
            }
            match waiting.budget.take(waiting.bytes) {
                Ok(permit) => unwanted.extend(waiting.grant.send(permit).err()),
                Err(node) => {
                    let node = waiting.budget.shared(node);
                    full.push(node);
                    still.push_back(waiting);
                }
            }
        }
        *line = still;
        self.count.store(line.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
