//! Identifiers made from a seed that the caller drew.
//!
//! The machine itself has no randomness: the same seed gives the same ids in the same order, which is
//! what lets a simulation replay a decision. Two different seeds share an id with the probability
//! that two random UUIDs do.

use uuid::{Builder, Uuid};

/// Odd constant near 2^64 / golden ratio: successive multiples are spread over all of u64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of UUIDs (version 4 layout) that follows from its seed.
#[derive(Debug, Clone)]
pub struct Ids {
    high: u64,
    low: u64,
}

impl Ids {
    /// Ids that follow from `seed`; draw it from a good random source, once per decision.
    #[must_use]
    pub const fn new(seed: Uuid) -> Self {
        let (high, low) = seed.as_u64_pair();
        Self { high, low }
    }

    /// The next id.
    pub fn next_id(&mut self) -> Uuid {
        self.high = self.high.wrapping_add(STEP);
        self.low = self.low.wrapping_add(STEP);
        let (high, low) = (mix(self.high), mix(self.low ^ self.high.rotate_left(32)));
        let bits = u128::from(high) << 64 | u128::from(low);
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// Output function of SplitMix64: a bijection in which every input bit reaches every output bit.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_seed_gives_one_stream_of_distinct_ids() {
        let stream = |seed: u128| {
            let mut ids = Ids::new(Uuid::from_u128(seed));
            (0..10_000).map(|_| ids.next_id()).collect::<Vec<_>>()
        };
        assert_eq!(stream(7), stream(7));
        let all: BTreeSet<_> = stream(7).into_iter().chain(stream(8)).collect();
        assert_eq!(all.len(), 20_000);
        assert!(all.iter().all(|id| id.get_version_num() == 4));
    }
}
