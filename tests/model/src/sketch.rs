//! How many different states were seen, over many searches, in 16 KiB: a HyperLogLog.
//!
//! Searches of different orders meet the same states again; their sum says how much was done, this says
//! how much of it was new, to within one per cent or so.

use std::sync::atomic::{AtomicU8, Ordering};

/// Registers, as a power of two.
const BITS: u32 = 14;
/// Registers.
const COUNT: usize = 1 << BITS;
/// 0.7213 / (1 + 1.079 / COUNT), the constant of the method.
const ALPHA: f64 = 0.721_252_5;

/// The registers.
#[derive(Debug)]
pub struct Sketch {
    registers: Vec<AtomicU8>,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            registers: (0..COUNT).map(|_| AtomicU8::new(0)).collect(),
        }
    }
}

impl Sketch {
    /// Notes a state by its fingerprint.
    pub fn note(&self, fingerprint: u64) {
        let register = usize::try_from(fingerprint >> (64 - BITS)).unwrap_or(0);
        let rank = (fingerprint << BITS | 1 << (BITS - 1)).leading_zeros() + 1;
        let rank = u8::try_from(rank).unwrap_or(u8::MAX);
        self.registers[register].fetch_max(rank, Ordering::Relaxed);
    }

    /// About how many different ones were noted.
    #[must_use]
    pub fn distinct(&self) -> f64 {
        let ranks = self.registers.iter().map(|at| at.load(Ordering::Relaxed));
        let sum: f64 = ranks.map(|rank| 0.5_f64.powi(i32::from(rank))).sum();
        let count = COUNT as f64;
        let raw = ALPHA * count * count / sum;
        let empty = self
            .registers
            .iter()
            .filter(|at| at.load(Ordering::Relaxed) == 0);
        let empty = empty.count() as f64;
        if raw <= 2.5 * count && empty > 0.0 {
            count * (count / empty).ln()
        } else {
            raw
        }
    }

    /// The registers, one byte each.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let registers = self.registers.iter();
        registers.map(|at| at.load(Ordering::Relaxed)).collect()
    }

    /// Takes in what another one noted; false when it is not of this size.
    pub fn merge(&self, bytes: &[u8]) -> bool {
        for (register, rank) in self.registers.iter().zip(bytes) {
            register.fetch_max(*rank, Ordering::Relaxed);
        }
        bytes.len() == COUNT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_counted_as_were_noted_and_none_twice() {
        let sketch = Sketch::default();
        for round in 0..2 {
            for number in 0..200_000_u64 {
                let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                sketch.note(seed ^ (seed >> 31));
            }
            let off = (sketch.distinct() / 200_000.0 - 1.0).abs();
            assert!(off < 0.03, "round {round}: {off}");
        }
        let other = Sketch::default();
        assert!(other.merge(&sketch.bytes()));
        assert!((other.distinct() - sketch.distinct()).abs() < 1e-6);
    }
}
