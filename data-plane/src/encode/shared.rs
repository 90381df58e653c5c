//! A bounded memory of what was made from batches, so that it is made once however many ask.
//!
//! Bounded by bytes, oldest out first, and earlier for whoever needs the room. Those who ask for the same
//! thing at the same time wait for one making of it; what could not be made is made anew for who asks
//! next. Invariant: what is held never passes the bound by more than what is being made.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tidegate_proto::error::Problem;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;

type Slot<V> = Arc<OnceLock<Result<V, Problem>>>;

struct Entry<V> {
    slot: Slot<V>,
    /// Zero until it is made.
    bytes: usize,
}

struct Entries<K, V> {
    by_key: HashMap<K, Entry<V>>,
    /// Oldest first.
    order: VecDeque<K>,
    bytes: usize,
}

impl<K: Copy + Eq + Hash, V> Entries<K, V> {
    fn pop_oldest(&mut self) -> Option<Entry<V>> {
        loop {
            let oldest = self.order.pop_front()?;
            if let Some(entry) = self.by_key.remove(&oldest) {
                self.bytes -= entry.bytes;
                return Some(entry);
            }
        }
    }
}

/// Values by key; clones of a value share its bytes.
pub(super) struct Shared<K, V> {
    bytes_max: usize,
    entries: Mutex<Entries<K, V>>,
    made: AtomicU64,
}

impl<K: Copy + Eq + Hash, V: Clone> Shared<K, V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let entries = Entries {
            by_key: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        };
        Self {
            bytes_max,
            entries: Mutex::new(entries),
            made: AtomicU64::new(0),
        }
    }

    /// The value of `key`, made now unless it is here; `bytes` says what it holds.
    pub(super) fn get(
        &self,
        key: K,
        make: impl FnOnce() -> Result<V, Problem>,
        bytes: impl FnOnce(&V) -> usize,
    ) -> Result<V, Problem> {
        let slot = self.slot(key);
        let mut is_fresh = false;
        let made = slot.get_or_init(|| {
            is_fresh = true;
            make()
        });
        if is_fresh {
            match made {
                Ok(value) => {
                    self.made.fetch_add(1, Ordering::Relaxed);
                    self.count(key, &slot, bytes(value));
                }
                Err(_) => self.forget(key, &slot),
            }
        }
        made.clone()
    }

    /// Gives up the oldest value; whether there was one. Who has a clone of it keeps that.
    pub(super) fn give_up_oldest(&self) -> bool {
        let gone = self.lock().pop_oldest();
        gone.is_some()
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// How many values were made in all.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_key.get(&key) {
            return Arc::clone(&entry.slot);
        }
        let slot = Slot::default();
        entries.order.push_back(key);
        let entry = Entry {
            slot: Arc::clone(&slot),
            bytes: 0,
        };
        entries.by_key.insert(key, entry);
        slot
    }

    fn count(&self, key: K, slot: &Slot<V>, bytes: usize) {
        let bytes = bytes + ENTRY_OVERHEAD_BYTES;
        let mut gone = Vec::new();
        let mut entries = self.lock();
        // It may have been pushed out while it was being made.
        if let Some(entry) = entries.by_key.get_mut(&key)
            && Arc::ptr_eq(&entry.slot, slot)
        {
            entry.bytes = bytes;
            entries.bytes += bytes;
        }
        while entries.bytes > self.bytes_max {
            let Some(oldest) = entries.pop_oldest() else {
                break;
            };
            gone.push(oldest);
        }
        // Memory is given back outside of the lock.
        drop(entries);
        drop(gone);
    }

    fn forget(&self, key: K, slot: &Slot<V>) {
        let mut entries = self.lock();
        let found = entries.by_key.get(&key);
        if found.is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            entries.by_key.remove(&key);
            entries.order.retain(|other| *other != key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        // A panic while it was held can only have left a value uncounted.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash, V: Clone> fmt::Debug for Shared<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("bytes_max", &self.bytes_max)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
