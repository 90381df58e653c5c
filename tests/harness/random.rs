//! Choices that a seed decides, so that a run can be made again.
//!
//! SplitMix64: small, and good enough to choose what a test does next. Not for secrets.

/// A generator of choices.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The `stream`-th generator of a seed: each client of a run has its own.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.number() ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True `percent` times of a hundred.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
