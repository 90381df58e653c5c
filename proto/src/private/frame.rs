//! The five bytes in front of every payload: its length as u32, its kind as u8.

use crate::bytes::Reader;
use crate::private::fault::FrameError;

/// Length of a frame's header, in bytes.
pub const FRAME_HEADER_LEN: usize = 5;

/// What is in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: u8,
    /// Length of the payload, in bytes; not bounded yet, see [`FrameHeader::check`].
    pub payload_len: usize,
}

impl FrameHeader {
    /// Reads one.
    #[must_use]
    pub const fn parse(bytes: [u8; FRAME_HEADER_LEN]) -> Self {
        let [a, b, c, d, kind] = bytes;
        Self {
            kind,
            payload_len: u32::from_le_bytes([a, b, c, d]) as usize,
        }
    }

    /// The header in its five bytes.
    ///
    /// # Panics
    /// When the payload is longer than 4 GiB: bounds are checked before anything is encoded.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FRAME_HEADER_LEN] {
        let len = u32::try_from(self.payload_len).expect("payloads are bounded");
        let [a, b, c, d] = len.to_le_bytes();
        [a, b, c, d, self.kind]
    }

    /// The header, if the payload is no longer than `max` bytes.
    ///
    /// # Errors
    /// [`FrameError::TooLong`].
    pub const fn check(self, max: usize) -> Result<Self, FrameError> {
        if self.payload_len <= max {
            Ok(self)
        } else {
            Err(FrameError::TooLong {
                kind: self.kind,
                len: self.payload_len,
                max,
            })
        }
    }
}

/// Reads the fields of a payload that has nothing after them.
pub(super) fn whole<T>(
    kind: u8,
    payload: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, FrameError> {
    let mut reader = Reader::new(payload);
    let found = read(&mut reader).filter(|_| reader.is_empty());
    found.ok_or(FrameError::Length {
        kind,
        len: payload.len(),
    })
}
