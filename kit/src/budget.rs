//! Budgets counted in bytes, as a tree: what the process may hold, and what its parts may hold of it.
//!
//! A buffer that outside input can make large takes its bytes here before it is filled and gives
//! them back by dropping the permit. A permit of one node counts in every node above it as well: all
//! of them grant it or none does.
//!
//! Taking is a counter per node and no lock. Those who wait are served in order of arrival, except
//! that one whose own lower node is full holds up only those below that node; those who do not wait
//! may overtake. Nobody waits with half of what it asked for, so waiting cannot dead-lock.
//! Invariants: no node holds more than its bound; a node holds at least what its children hold.

mod keyed;
mod line;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use keyed::KeyedBudgets;
use line::{Asked, Line, Waiting};

/// A number of bytes that may be held at once. Clones share it.
#[derive(Clone)]
pub struct ByteBudget {
    node: Arc<Node>,
}

struct Node {
    name: &'static str,
    held: AtomicUsize,
    bytes_max: usize,
    /// How often it was the one that refused.
    refused: AtomicUsize,
    parent: Option<ByteBudget>,
    line: Arc<Line>,
}

/// Bytes taken from a [`ByteBudget`]; dropping gives them back.
#[derive(Debug)]
pub struct BytePermit {
    budget: ByteBudget,
    bytes: usize,
}

/// What one node of the tree holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The node's name.
    pub name: &'static str,
    /// Bytes held, with those of its children.
    pub held: usize,
    /// Its bound.
    pub bytes_max: usize,
    /// Times that it refused.
    pub refused: usize,
}

impl ByteBudget {
    /// A tree of its own, of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self::named("process", bytes_max)
    }

    /// The same with a name for the operator.
    #[must_use]
    pub fn named(name: &'static str, bytes_max: usize) -> Self {
        Self::node(name, bytes_max, None, Arc::default())
    }

    /// A part of this budget that holds at most `bytes_max` of it. The bounds of children may sum to
    /// more than their parent has: then the parent decides.
    #[must_use]
    pub fn child(&self, name: &'static str, bytes_max: usize) -> Self {
        let line = Arc::clone(&self.node.line);
        let bytes_max = bytes_max.min(self.node.bytes_max);
        Self::node(name, bytes_max, Some(self.clone()), line)
    }

    fn node(name: &'static str, bytes_max: usize, parent: Option<Self>, line: Arc<Line>) -> Self {
        let node = Node {
            name,
            held: AtomicUsize::new(0),
            bytes_max,
            refused: AtomicUsize::new(0),
            parent,
            line,
        };
        Self {
            node: Arc::new(node),
        }
    }

    /// Takes `bytes` now, or says that they are not there. Never waits.
    #[must_use]
    pub fn try_acquire(&self, bytes: usize) -> Option<BytePermit> {
        match self.take(bytes) {
            Ok(permit) => Some(permit),
            Err(full) => {
                full.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Waits until `bytes` are there. `None` when the whole budget is smaller.
    pub async fn acquire(&self, bytes: usize) -> Option<BytePermit> {
        if bytes > self.node.bytes_max {
            return None;
        }
        let line = &self.node.line;
        if line.count.load(Ordering::SeqCst) == 0
            && let Ok(permit) = self.take(bytes)
        {
            return Some(permit);
        }
        let (grant, granted) = oneshot::channel();
        let mut asked = Asked {
            line,
            granted: Some(granted),
        };
        line.join(Waiting {
            budget: self.clone(),
            bytes,
            grant,
        });
        let granted = asked.granted.as_mut()?;
        // The sender is dropped only after it was used.
        granted.await.ok()
    }

    /// Bytes that can be taken now.
    #[must_use]
    pub fn available(&self) -> usize {
        let free = |node: &Node| {
            node.bytes_max
                .saturating_sub(node.held.load(Ordering::Relaxed))
        };
        self.path().map(free).min().unwrap_or(0)
    }

    /// Bytes held now, with those of children.
    #[must_use]
    pub fn held(&self) -> usize {
        self.node.held.load(Ordering::Relaxed)
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.node.bytes_max
    }

    /// What is to be told of it.
    #[must_use]
    pub fn holding(&self) -> Holding {
        Holding {
            name: self.node.name,
            held: self.held(),
            bytes_max: self.node.bytes_max,
            refused: self.node.refused.load(Ordering::Relaxed),
        }
    }

    fn path(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(Some(&*self.node), |node| {
            node.parent.as_ref().map(|parent| &*parent.node)
        })
    }

    /// All nodes from here to the root, or none and the one that is full.
    fn take(&self, bytes: usize) -> Result<BytePermit, &Node> {
        for (depth, node) in self.path().enumerate() {
            // Sequentially consistent against `Line::join`: either whoever gives back sees the one
            // that waits, or that one sees what was given back.
            let more = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= node.bytes_max);
            if node
                .held
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
                .is_err()
            {
                self.give_back(bytes, depth);
                return Err(node);
            }
        }
        Ok(BytePermit {
            budget: self.clone(),
            bytes,
        })
    }

    /// To the lowest `depth` nodes.
    fn give_back(&self, bytes: usize, depth: usize) {
        for node in self.path().take(depth) {
            let before = node.held.fetch_sub(bytes, Ordering::SeqCst);
            debug_assert!(before >= bytes, "more was given back than taken");
        }
    }
}

impl ByteBudget {
    /// The shared handle of a node on the path.
    fn shared(&self, node: &Node) -> Arc<Node> {
        let mut at = self;
        while !std::ptr::eq(&*at.node, node) {
            match &at.node.parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        Arc::clone(&at.node)
    }
}

impl BytePermit {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes over `other`, which must be of the same node.
    pub fn merge(&mut self, mut other: Self) {
        assert!(
            Arc::ptr_eq(&self.budget.node, &other.budget.node),
            "permits of different budgets are not one"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes what is missing to `bytes`; false, and nothing taken, when it is not there.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        if missing == 0 {
            return true;
        }
        match self.budget.try_acquire(missing) {
            Some(more) => {
                self.merge(more);
                true
            }
            None => false,
        }
    }

    /// Gives back all above `bytes`: for buffers that turned out smaller than feared.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.give_back(bytes) {
            self.budget.node.line.serve_any();
        }
    }

    /// The bytes of a buffer; the permit is given back with the last handle to them, wherever a
    /// connection keeps it.
    #[must_use]
    pub fn around(self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Buffer {
            buffer,
            _permit: self,
        })
    }

    fn give_back(&mut self, bytes_kept: usize) -> bool {
        let surplus = self.bytes.saturating_sub(bytes_kept);
        self.bytes -= surplus;
        if surplus > 0 {
            self.budget.give_back(surplus, usize::MAX);
        }
        surplus > 0
    }
}

struct Buffer {
    buffer: Vec<u8>,
    _permit: BytePermit,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBudget")
            .field("name", &self.node.name)
            .field("held", &self.held())
            .field("bytes_max", &self.node.bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
