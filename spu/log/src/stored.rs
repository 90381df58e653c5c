//! Reads stored batches out of a segment file one after the other, checking each: the only code
//! that turns bytes of a segment into batches.
//!
//! A batch is handed out only when both CRCs are right and it is the replica's own. What to do
//! about a bad one is the caller's matter; [`BatchScanner::resync`] looks for a good one after it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidegate_proto::batch::{Batch, BatchError};
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::durable;
use crate::limits::READ_CHUNK_BYTES;
use crate::vfs::VfsFile;

/// First bytes of every stored batch.
const MAGIC: [u8; 4] = *b"TGB1";

/// What stands at a place of a segment.
#[derive(Debug)]
pub(crate) enum Scanned {
    Batch {
        batch: Batch,
        at: u64,
    },
    /// Nothing: the scan's end, exactly after a batch.
    End,
    /// Bytes that are no whole, right batch of this replica.
    Bad {
        at: u64,
        what: &'static str,
    },
}

/// A walk over a segment's batches.
#[derive(Debug)]
pub(crate) struct BatchScanner {
    file: Arc<dyn VfsFile>,
    key: ReplicaKey,
    /// Place of the first byte of `window`.
    at: u64,
    end: u64,
    window: Bytes,
    chunk: usize,
}

impl BatchScanner {
    /// Reads from `at` up to `end`, both places in the file. `chunk` is the first read's size.
    pub(crate) fn new(
        file: Arc<dyn VfsFile>,
        key: ReplicaKey,
        at: u64,
        end: u64,
        chunk: usize,
    ) -> Self {
        Self {
            file,
            key,
            at,
            end,
            window: Bytes::new(),
            chunk,
        }
    }

    /// Base of the next right batch behind a place, when there is one within so many bytes.
    pub(crate) fn next_base(&self, at: u64, within: u64) -> io::Result<Option<Offset>> {
        let end = self.end.min(at.saturating_add(within));
        let file = Arc::clone(&self.file);
        let mut ahead = Self::new(file, self.key, at, end, READ_CHUNK_BYTES);
        if ahead.resync()?
            && let Scanned::Batch { batch, .. } = ahead.step()?
        {
            return Ok(Some(batch.placement.base_offset));
        }
        Ok(None)
    }

    /// Place of the next byte to look at.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Goes to the end: there is nothing more to find.
    pub(crate) fn give_up(&mut self) {
        self.at = self.end;
        self.window = Bytes::new();
    }

    /// The next batch.
    pub(crate) fn step(&mut self) -> io::Result<Scanned> {
        let at = self.at;
        if at >= self.end {
            return Ok(Scanned::End);
        }
        let mut wanted = 1;
        loop {
            if self.window.len() < wanted && !self.refill(wanted)? {
                return Ok(Scanned::Bad {
                    at,
                    what: "the file ends within a batch",
                });
            }
            let mut rest = self.window.clone();
            match Batch::decode(&mut rest) {
                Ok(batch) if batch.placement.key != self.key => {
                    return Ok(Scanned::Bad {
                        at,
                        what: "the batch is another replica's",
                    });
                }
                Ok(batch) => {
                    if batch.verify().is_err() {
                        return Ok(Scanned::Bad {
                            at,
                            what: "the records' checksum does not match",
                        });
                    }
                    let len = (self.window.len() - rest.len()) as u64;
                    self.window = rest;
                    self.at += len;
                    return Ok(Scanned::Batch { batch, at });
                }
                Err(BatchError::Truncated { needed }) => {
                    wanted = needed.max(self.window.len() + 1);
                }
                Err(_) => {
                    return Ok(Scanned::Bad {
                        at,
                        what: "the batch header is damaged",
                    });
                }
            }
        }
    }

    /// After a bad batch: moves to the next whole, right batch of this replica, if there is one.
    pub(crate) fn resync(&mut self) -> io::Result<bool> {
        loop {
            self.skip(1);
            loop {
                if self.window.len() < MAGIC.len() && !self.refill(MAGIC.len())? {
                    return Ok(false);
                }
                match self
                    .window
                    .windows(MAGIC.len())
                    .position(|bytes| bytes == MAGIC)
                {
                    Some(distance) => {
                        self.skip(distance);
                        break;
                    }
                    None => self.skip(self.window.len() - (MAGIC.len() - 1)),
                }
            }
            let (at, window) = (self.at, self.window.clone());
            let good = matches!(self.step()?, Scanned::Batch { .. });
            self.at = at;
            self.window = window;
            if good {
                return Ok(true);
            }
        }
    }

    fn skip(&mut self, count: usize) {
        let count = count.min(self.window.len());
        self.window = self.window.slice(count..);
        self.at += count as u64;
    }

    /// Reads more, so that the window holds at least `wanted` bytes; false at the end.
    fn refill(&mut self, wanted: usize) -> io::Result<bool> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        if left < wanted {
            return Ok(false);
        }
        let target = wanted.max(self.chunk).min(left);
        self.chunk = READ_CHUNK_BYTES;
        let mut bytes = BytesMut::zeroed(target);
        let kept = self.window.len();
        bytes[..kept].copy_from_slice(&self.window);
        let read = durable::read_full_at(&*self.file, &mut bytes[kept..], self.at + kept as u64)?;
        bytes.truncate(kept + read);
        self.window = bytes.freeze();
        Ok(self.window.len() >= wanted)
    }
}
