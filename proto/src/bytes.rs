//! Checked reading and writing of little-endian numbers, varints and sized runs.
//!
//! Reading past the end gives `None`, never a panic; a varint has one value whatever follows it and is
//! refused beyond 64 bits. Overlong varints are refused too, so that every number has one encoding.

/// Longest varint of 64 bits.
pub(crate) const VARINT_LEN_MAX: usize = 10;

/// Reads from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// An unsigned LEB128 varint. Most are one byte, so that case comes first.
    #[inline]
    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first()?;
        if *first < 0x80 {
            self.rest = rest;
            return Some(u64::from(*first));
        }
        self.uvarint_long()
    }

    fn uvarint_long(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(VARINT_LEN_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the 64th bit alone.
            if index == VARINT_LEN_MAX - 1 && bits > 1 {
                return None;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                // A last byte of zero adds nothing: the number has a shorter encoding.
                if bits == 0 {
                    return None;
                }
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    /// A varint that must fit a length in memory.
    #[inline]
    pub(crate) fn ulen(&mut self) -> Option<usize> {
        self.uvarint().and_then(|len| usize::try_from(len).ok())
    }

    /// A zigzag varint.
    #[inline]
    pub(crate) fn ivarint(&mut self) -> Option<i64> {
        self.uvarint().map(unzigzag)
    }

    /// A length and so many bytes.
    #[inline]
    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.ulen()?;
        self.take(len)
    }
}

/// Number of bytes of `value` as a varint.
#[inline]
pub(crate) const fn uvarint_len(value: u64) -> usize {
    // Seven bits a byte, and zero takes one byte as well.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push((value & 0x7f) as u8);
        return;
    }
    let mut bytes = [0_u8; VARINT_LEN_MAX];
    let mut len = 0;
    let mut left = value;
    while left >= 0x80 {
        bytes[len] = (left & 0x7f) as u8 | 0x80;
        left >>= 7;
        len += 1;
    }
    bytes[len] = (left & 0x7f) as u8;
    out.extend_from_slice(&bytes[..=len]);
}

#[inline]
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Small numbers of either sign become small unsigned numbers: 0, -1, 1, -2 -> 0, 1, 2, 3.
#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_read_back_and_their_length_is_known(value: u64, shift in 0_u32..64, tail: Vec<u8>) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            prop_assert_eq!(out.len(), uvarint_len(value));
            out.extend_from_slice(&tail);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.uvarint(), Some(value));
            prop_assert_eq!(reader.rest(), &tail[..]);
        }

        #[test]
        fn zigzag_is_its_own_inverse(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn broken_varints_are_refused() {
        let full = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&full).uvarint(), Some(u64::MAX));
        let mut over = full;
        over[9] = 0x02;
        assert_eq!(Reader::new(&over).uvarint(), None);
        assert_eq!(Reader::new(&[0x80; 11]).uvarint(), None);
        assert_eq!(Reader::new(&[0x80]).uvarint(), None);
        assert_eq!(Reader::new(&[0x80, 0x00]).uvarint(), None, "overlong zero");
        assert_eq!(Reader::new(&[]).uvarint(), None);
    }

    #[test]
    fn reading_past_the_end_gives_none_and_moves_nothing() {
        let mut reader = Reader::new(&[5, 1, 2]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.take(4), None);
        assert_eq!(reader.rest(), &[5, 1, 2]);
        assert_eq!(reader.sized(), None);
    }
}
