//! Values of a given size whose bytes look like data: printable, not constant, the same each run.

use bytes::Bytes;

/// `size` bytes; another `seed` gives other bytes.
pub(crate) fn payload(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    };
    std::iter::repeat_with(byte).take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_are_repeatable() {
        assert_eq!(payload(100, 1).len(), 100);
        assert_eq!(payload(100, 1), payload(100, 1));
        assert_ne!(payload(100, 1), payload(100, 2));
        assert!(payload(0, 1).is_empty());
    }
}
