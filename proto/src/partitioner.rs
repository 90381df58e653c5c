//! Which partition a key belongs to: the same answer in every client, and in Kafka's clients.
//!
//! murmur2 with Kafka's seed, its top bit cleared, modulo the number of partitions. Vectors are in
//! docs/wire-format.md. Invariant: the answer for a key changes only when the number of partitions does.

use crate::id::PartitionId;

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;
const MIX_SHIFT: u32 = 24;

/// 32-bit murmur2 as Kafka's Java client computes it (its result read as unsigned).
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    // The length enters modulo 2^32, as an int does in Java.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "modulo 2^32 is what is meant"
    )]
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> MIX_SHIFT;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        for (index, byte) in (0..).zip(tail) {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// The partition of `key` in a topic of so many partitions. A topic has at least one; zero counts as one.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> PartitionId {
    PartitionId((murmur2(key) & 0x7fff_ffff) % partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_kafka() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn partitions_are_within_the_topic() {
        for partitions in [1, 2, 3, 10_000, u32::MAX] {
            for key in [&b""[..], b"a", b"ab", b"abc", b"abcd", &[0xff; 9]] {
                assert!(partition_for_key(key, partitions).0 < partitions);
            }
        }
        assert_eq!(partition_for_key(b"abc", 0), PartitionId(0));
        assert_eq!(
            partition_for_key(b"21", 10),
            PartitionId((3_321_034_988 & 0x7fff_ffff) % 10)
        );
    }
}
