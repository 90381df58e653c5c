//! A part of a state with its hash: shared by all states that have it, hashed once.
//!
//! A step changes one or two parts; the others go over to the next state as they are.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value that never changes again.
#[derive(Debug)]
pub struct Kept<T> {
    hash: u64,
    value: Arc<T>,
}

impl<T: Hash> Kept<T> {
    /// Hashes the value and keeps it.
    pub fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            value: Arc::new(value),
        }
    }
}

impl<T: Hash + Clone> Kept<T> {
    /// Puts a changed copy in the place of the value.
    pub fn change<R>(&mut self, edit: impl FnOnce(&mut T) -> R) -> R {
        let mut value = T::clone(&self.value);
        let result = edit(&mut value);
        *self = Self::new(value);
        result
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
