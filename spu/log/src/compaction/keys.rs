//! The newest offset of each key of a pass, in a bounded table.
//!
//! Keys stand as 128-bit hashes under secrets of this process, so that nobody can make a key that
//! takes another's place; two keys that meet by chance are as likely as a disk that lies about every
//! checksum. Invariant: an entry's offset only grows; the table never takes more than its bound.

use std::hash::{BuildHasher as _, RandomState};

use tidegate_proto::position::Offset;

const SLOT_BYTES: usize = 24;
const SLOTS_FIRST: usize = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: (u64, u64),
    /// The offset plus one; 0 in a slot without a key.
    after: u64,
}

#[derive(Debug)]
pub(super) struct KeyMap {
    slots: Vec<Slot>,
    slots_max: usize,
    taken: usize,
    secrets: (RandomState, RandomState),
}

impl KeyMap {
    pub(super) fn new(bytes_max: usize) -> Self {
        let fitting = (bytes_max / SLOT_BYTES).max(SLOTS_FIRST);
        Self {
            slots: vec![Slot::default(); SLOTS_FIRST],
            // The largest power of two that fits.
            slots_max: 1 << fitting.ilog2(),
            taken: 0,
            secrets: (RandomState::new(), RandomState::new()),
        }
    }

    /// Notes a key at an offset; false when the key is new and there is no room for it.
    pub(super) fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let mut at = self.place(hash);
        if self.slots[at].after == 0 {
            if (self.taken + 1) * 4 > self.slots.len() * 3 {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.grow();
                at = self.place(hash);
            }
            self.taken += 1;
        }
        let slot = &mut self.slots[at];
        slot.hash = hash;
        slot.after = slot.after.max(offset.get() + 1);
        true
    }

    /// True when the key was noted at a later offset.
    pub(super) fn is_superseded(&self, key: &[u8], offset: Offset) -> bool {
        self.slots[self.place(self.hash(key))].after > offset.get() + 1
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.secrets.0.hash_one(key), self.secrets.1.hash_one(key))
    }

    /// The slot that has the hash, or the one that would.
    fn place(&self, hash: (u64, u64)) -> usize {
        let mask = self.slots.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only its low bits are wanted"
        )]
        let mut at = hash.0 as usize & mask;
        while self.slots[at].after != 0 && self.slots[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let larger = vec![Slot::default(); self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, larger) {
            if slot.after != 0 {
                let at = self.place(slot.hash);
                self.slots[at] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_says_what_a_map_of_keys_would_say_until_it_is_full() {
        let mut keys = KeyMap::new(1024 * SLOT_BYTES);
        let mut model: HashMap<Vec<u8>, u64> = HashMap::new();
        let key = |number: u64| format!("key {number}").into_bytes();
        let mut offset = 0;
        while keys.note(&key(offset % 900), Offset::new(offset)) {
            model.insert(key(offset % 900), offset);
            offset += 1;
        }
        assert_eq!(model.len(), 768, "three quarters of its slots");
        for number in 0..900 {
            for at in [0, number, 5_000] {
                let later = model.get(&key(number)).is_some_and(|last| *last > at);
                assert_eq!(keys.is_superseded(&key(number), Offset::new(at)), later);
            }
        }
        assert!(
            keys.note(&key(3), Offset::new(9_000)),
            "a known key needs no room"
        );
        assert!(keys.is_superseded(&key(3), Offset::new(8_999)));
        assert!(!keys.is_superseded(&key(3), Offset::new(9_000)));
    }
}
