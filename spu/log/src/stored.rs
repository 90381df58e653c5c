//! Reads stored batches out of a segment file one after the other, checking each: the only code
//! that turns bytes of a segment into batches.
//!
//! A batch is handed out only when both CRCs are right and it is the replica's own. What to do
//! about a bad one is the caller's matter; [`BatchScanner::resync`] looks for a good one after it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchError, PLACEMENT_LEN, PlacementHeader};
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::durable;
use crate::limits::{PASS_CHUNK_BYTES, READ_CHUNK_BYTES};
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
    pub(crate) fn good_base_behind(&self, at: u64, within: u64) -> io::Result<Option<Offset>> {
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

    /// Length of the next batch, when its header has been read and is right.
    pub(crate) fn next_len(&self) -> Option<usize> {
        let header = PlacementHeader::parse(&self.window).ok()?;
        Some(header.encoded_len())
    }

    /// Base of the next batch, which is going to be read, by its header alone. `None` where no batch of
    /// this replica begins.
    pub(crate) fn next_base(&mut self) -> io::Result<Option<Offset>> {
        let header = self.peek(self.chunk)?;
        Ok(header.map(|header| header.placement.base_offset))
    }

    /// Moves over batches that end at or below `offset` and begin below it, by their headers alone:
    /// what is not handed out needs no check, and large ones are not even read. Gives the base of the
    /// batch where it stops.
    pub(crate) fn pass(&mut self, offset: Offset) -> io::Result<Option<Offset>> {
        let Some(mut here) = self.peek(PASS_CHUNK_BYTES)? else {
            return Ok(None);
        };
        while here.placement.base_offset < offset {
            let (at, window) = (self.at, self.window.clone());
            let len = here.encoded_len();
            self.window = self.window.slice(len.min(self.window.len())..);
            self.at += len as u64;
            // Where the next one begins tells where this one ends; its own word on that is not checked.
            let beyond = here.placement.base_offset..=offset;
            match self.peek(PASS_CHUNK_BYTES)? {
                Some(next) if beyond.contains(&next.placement.base_offset) => here = next,
                _ => {
                    (self.at, self.window) = (at, window);
                    break;
                }
            }
        }
        Ok(Some(here.placement.base_offset))
    }

    fn peek(&mut self, chunk: usize) -> io::Result<Option<PlacementHeader>> {
        let len = self.window.len();
        if len < PLACEMENT_LEN && !self.refill(PLACEMENT_LEN, chunk)? {
            return Ok(None);
        }
        let header = PlacementHeader::parse(&self.window).ok();
        Ok(header.filter(|header| header.placement.key == self.key))
    }

    /// Goes to a place where a batch is thought to begin.
    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
        self.window = Bytes::new();
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
            if self.window.len() < wanted && !self.refill_chunk(wanted)? {
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
                if self.window.len() < MAGIC.len() && !self.refill_chunk(MAGIC.len())? {
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

    /// A refill of the size that was asked for at first, then of the usual one.
    fn refill_chunk(&mut self, wanted: usize) -> io::Result<bool> {
        let chunk = std::mem::replace(&mut self.chunk, READ_CHUNK_BYTES);
        self.refill(wanted, chunk)
    }

    /// Reads more, so that the window holds at least `wanted` bytes; false at the end.
    fn refill(&mut self, wanted: usize, chunk: usize) -> io::Result<bool> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left < wanted {
            return Ok(false);
        }
        let kept = self.window.len();
        let mut bytes = Vec::with_capacity(wanted.max(chunk).min(left));
        bytes.extend_from_slice(&self.window);
        durable::read_onto(&*self.file, &mut bytes, self.at + kept as u64)?;
        self.window = Bytes::from(bytes);
        Ok(self.window.len() >= wanted)
    }
}
