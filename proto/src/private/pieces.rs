//! Bytes on their way out: small ones side by side in one buffer, large ones as they are.
//!
//! A frame of a kibibyte costs a copy and no buffer of its own, and what was put since the last look
//! leaves in one piece. A batch of a mebibyte is not copied. Invariant: bytes leave in the order in which
//! they were put.

use std::collections::VecDeque;

use bytes::Bytes;

/// From here on a shared run is not copied: a copy of it costs more than a piece of its own.
const SHARED_LEN_MIN: usize = 8 * 1024;

/// What waits to be sent.
#[derive(Debug, Default)]
pub struct Pieces {
    closed: VecDeque<Bytes>,
    open: Vec<u8>,
    len: usize,
}

impl Pieces {
    /// Puts bytes behind what waits.
    pub fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The same for bytes that may be shared.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_LEN_MIN {
            return self.put(bytes);
        }
        self.close();
        self.len += bytes.len();
        self.closed.push_back(bytes.clone());
    }

    /// The next piece, if anything waits.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.closed.is_empty() {
            self.close();
        }
        let piece = self.closed.pop_front()?;
        self.len -= piece.len();
        Some(piece)
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed
                .push_back(Bytes::from(std::mem::take(&mut self.open)));
        }
    }
}
