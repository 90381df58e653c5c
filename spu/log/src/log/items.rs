//! What one submission brings. Most bring one entry, which needs no memory of its own.
//!
//! Invariant: in the order in which they were pushed.

use std::sync::Arc;

use crate::entry::Item;
use crate::replica::Replica;

/// An entry, and whose it is.
pub(super) type Owned = (Arc<Replica>, Item);

#[derive(Debug, Default)]
pub(super) struct Items {
    first: Option<Owned>,
    others: Vec<Owned>,
}

impl Items {
    pub(super) fn push(&mut self, item: Owned) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.others.push(item);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.first.iter().chain(&self.others)
    }
}

impl IntoIterator for Items {
    type Item = Owned;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Owned>, std::vec::IntoIter<Owned>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}
