//! A sorted map whose clones share what they have in common.
//!
//! Entries stand in chunks behind `Arc`s: a clone copies one pointer per chunk, a change copies one
//! chunk. That is what lets every commit publish a model of its own at a hundred thousand partitions.
//! Invariants: no chunk is empty or longer than twice [`CHUNK`]; keys ascend within and over chunks.

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Bound, Index};
use std::sync::Arc;

/// Entries that a chunk is cut to: 256 pointers to copy for a change, 400 chunks for 100,000 entries.
const CHUNK: usize = 256;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map; see the module.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

impl<K, V> SharedMap<K, V> {
    /// A map of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The value at that key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let at = place(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    /// True when there is an entry at that key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The entries from `start` on, in order.
    pub fn range_from<Q: Ord + ?Sized>(&self, start: Bound<&Q>) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = match start {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) | Bound::Excluded(key) => {
                let chunk = self.chunk_of(key).unwrap_or(0);
                let at = self
                    .chunks
                    .get(chunk)
                    .map_or(0, |chunk| match place(chunk, key) {
                        Ok(at) => at + usize::from(matches!(start, Bound::Excluded(_))),
                        Err(at) => at,
                    });
                (chunk, at)
            }
        };
        let first = self.chunks.get(chunk).map_or(&[][..], |chunk| &chunk[at..]);
        let rest = self.chunks.iter().skip(chunk + 1);
        first
            .iter()
            .chain(rest.flat_map(|chunk| chunk.iter()))
            .map(|(key, value)| (key, value))
    }

    /// The chunk that `key` is in, or would be put in; none when there are no chunks.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        if self.chunks.is_empty() {
            return None;
        }
        let after = self
            .chunks
            .partition_point(|chunk| chunk[0].0.borrow() <= key);
        Some(after.saturating_sub(1))
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// The value at that key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunk_of(key)?;
        let at = place(&self.chunks[chunk], key).ok()?;
        Some(&mut Arc::make_mut(&mut self.chunks[chunk])[at].1)
    }

    /// Puts `value` at `key` and gives what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(number) = self.chunk_of(&key) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        match place(&self.chunks[number], &key) {
            Ok(at) => {
                let entry = &mut Arc::make_mut(&mut self.chunks[number])[at];
                Some(std::mem::replace(&mut entry.1, value))
            }
            Err(at) => {
                let chunk = Arc::make_mut(&mut self.chunks[number]);
                chunk.insert(at, (key, value));
                if chunk.len() > 2 * CHUNK {
                    let tail = chunk.split_off(CHUNK);
                    self.chunks.insert(number + 1, Arc::new(tail));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Takes the entry at `key` out and gives its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let number = self.chunk_of(key)?;
        let at = place(&self.chunks[number], key).ok()?;
        let chunk = Arc::make_mut(&mut self.chunks[number]);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            self.chunks.remove(number);
        }
        self.len -= 1;
        Some(value)
    }
}

fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(found, _)| found.borrow().cmp(key))
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

// Where the cuts are depends on the history, what is in it does not.
impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is in the map")
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clone_is_not_changed_by_what_happens_to_the_other() {
        let first: SharedMap<u32, u32> = (0..2_000).map(|n| (n, n)).collect();
        let mut second = first.clone();
        second.insert(5, 0);
        second.remove(&1_999);
        assert_eq!((first[&5], first.len()), (5, 2_000));
        assert_eq!((second[&5], second.len()), (0, 1_999));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_behaves_as_a_sorted_map_does(
            steps in proptest::collection::vec((any::<bool>(), 0..1_500_u32), 0..4_000),
            start in 0..1_500_u32,
        ) {
            let (mut shared, mut plain) = (SharedMap::new(), BTreeMap::new());
            for (puts, key) in steps {
                if puts || key % 3 == 0 {
                    prop_assert_eq!(shared.insert(key, key + 1), plain.insert(key, key + 1));
                } else {
                    prop_assert_eq!(shared.remove(&key), plain.remove(&key));
                }
            }
            prop_assert_eq!(shared.len(), plain.len());
            prop_assert!(shared.iter().eq(plain.iter()));
            for bound in [Bound::Included(start), Bound::Excluded(start)] {
                let from = shared.range_from(bound.as_ref());
                prop_assert!(from.eq(plain.range((bound, Bound::Unbounded))));
            }
            prop_assert_eq!(shared.get(&start), plain.get(&start));
        }
    }
}
