//! One child of a budget per key: per principal, so that one of them cannot take what is for all.
//!
//! A child lives while somebody holds it or a permit of it; afterwards only its name is left, until
//! names without a child are most of the table. Invariant: all who ask for one key at one time share
//! one child.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{ByteBudget, Node};

/// Names above which those without a child are looked for.
const SWEEP_ABOVE: usize = 64;

/// Children of one budget by name. Clones share them.
#[derive(Debug, Clone)]
pub struct KeyedBudgets {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parent: ByteBudget,
    name: &'static str,
    bytes_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    children: HashMap<String, Weak<Node>>,
    sweep_above: usize,
}

impl KeyedBudgets {
    /// Children of `parent` that hold at most `bytes_max` each.
    #[must_use]
    pub fn new(parent: ByteBudget, name: &'static str, bytes_max: usize) -> Self {
        let table = Table {
            children: HashMap::new(),
            sweep_above: SWEEP_ABOVE,
        };
        let shared = Shared {
            parent,
            name,
            bytes_max,
            table: Mutex::new(table),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The budget that all children are parts of.
    #[must_use]
    pub fn parent(&self) -> &ByteBudget {
        &self.shared.parent
    }

    /// The child of `key`.
    #[must_use]
    pub fn of(&self, key: &str) -> ByteBudget {
        let shared = &*self.shared;
        let mut table = shared.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = table.children.get(key).and_then(Weak::upgrade) {
            return ByteBudget { node };
        }
        if table.children.len() >= table.sweep_above {
            table.children.retain(|_, child| child.strong_count() > 0);
            table.sweep_above = SWEEP_ABOVE.max(2 * table.children.len());
        }
        let child = shared.parent.child(shared.name, shared.bytes_max);
        let node = Arc::downgrade(&child.node);
        table.children.insert(key.to_owned(), node);
        child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_cannot_take_what_is_for_all() {
        let parent = ByteBudget::new(100);
        let keyed = KeyedBudgets::new(parent.clone(), "principal", 75);
        let greedy = keyed.of("a").try_acquire(75).unwrap();
        assert!(keyed.of("a").try_acquire(1).is_none());
        assert!(keyed.of("b").try_acquire(25).is_some());
        drop(greedy);
        assert_eq!(parent.held(), 0);
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let keyed = KeyedBudgets::new(ByteBudget::new(100), "principal", 10);
        let kept = keyed.of("kept").try_acquire(10).unwrap();
        for number in 0..10_000 {
            assert!(keyed.of(&number.to_string()).try_acquire(1).is_some());
        }
        assert!(keyed.shared.table.lock().unwrap().children.len() <= SWEEP_ABOVE);
        assert!(keyed.of("kept").try_acquire(1).is_none());
        drop(kept);
    }
}
