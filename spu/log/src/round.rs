//! A journal round as bytes: built from items without copying large batches, and taken apart
//! again. Pure.
//!
//! ```text
//! 0 "TGJR" | 4 u32 crc32c of all after it | 8 u64 file_seq | 16 u64 round_seq | 24 [16] storage_id
//! 40 u32 body length | 44 u32 item count | 48 body | zeros to a multiple of 4096
//! ```
//! The CRC covers header and body, so that a round is whole or absent; `file_seq` and `storage_id`
//! tell it from what an earlier use of the same blocks left behind. The highest bit of the item count
//! says that the body begins with a u64, before the items: the number of the last round that was
//! synced when this one was written. Without it that is the round right before.

use std::ops::Range;

use bytes::{Buf as _, Bytes};
use tidegate_proto::id::StorageId;

use crate::entry::{Entry, Item};
use crate::limits::{COPY_BYTES_MAX, ROUND_ALIGN};
use crate::scalar::{Put as _, Reader};

pub(crate) const MAGIC: [u8; 4] = *b"TGJR";
pub(crate) const HEADER_LEN: usize = 48;

/// In the item count: the body begins with the number of the last synced round.
const NAMES_SYNCED: u32 = 1 << 31;
const SYNCED_LEN: usize = 8;

/// Where a round stands in the journal's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundName {
    pub(crate) storage_id: StorageId,
    pub(crate) file_seq: u64,
    pub(crate) round_seq: u64,
}

/// A round being put together. Reused from round to round to keep its buffer.
#[derive(Debug, Default)]
pub(crate) struct RoundBuilder {
    scratch: Vec<u8>,
    pieces: Vec<Piece>,
    body_len: usize,
    items: u32,
    names_synced: bool,
    /// Length of `scratch` before the padding, once there is padding.
    unpadded: Option<usize>,
}

#[derive(Debug)]
enum Piece {
    Scratch(Range<usize>),
    Shared(Bytes),
}

impl RoundBuilder {
    /// Begins a round. `synced` is the last synced round, when that is not the one right before.
    pub(crate) fn begin(&mut self, synced: Option<u64>) {
        self.scratch.clear();
        // The header's place: known only when the round is named.
        self.scratch.resize(HEADER_LEN, 0);
        self.body_len = 0;
        if let Some(synced) = synced {
            self.scratch.put_u64(synced);
            self.body_len = SYNCED_LEN;
        }
        self.names_synced = synced.is_some();
        self.pieces.clear();
        self.pieces.push(Piece::Scratch(0..self.scratch.len()));
        self.items = 0;
        self.unpadded = None;
    }

    pub(crate) fn push(&mut self, item: &Item) {
        let start = self.scratch.len();
        item.encode_head(&mut self.scratch);
        let mut shared = None;
        if let Item::Entry(Entry::Batch(batch)) = item {
            let client = batch.client.as_bytes();
            if client.len() <= COPY_BYTES_MAX {
                self.scratch.extend_from_slice(client);
            } else {
                shared = Some(client.clone());
            }
        }
        self.body_len += self.scratch.len() - start;
        match self.pieces.last_mut() {
            Some(Piece::Scratch(range)) if range.end == start => range.end = self.scratch.len(),
            _ => self.pieces.push(Piece::Scratch(start..self.scratch.len())),
        }
        if let Some(client) = shared {
            self.body_len += client.len();
            self.pieces.push(Piece::Shared(client));
        }
        self.items += 1;
    }

    /// True when nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Length on disk, padding included.
    pub(crate) fn padded_len(&self) -> u64 {
        ((HEADER_LEN + self.body_len) as u64).next_multiple_of(ROUND_ALIGN)
    }

    /// Writes header and padding; the buffers are then the round. May be done again, under another
    /// name: a round that found no room is written elsewhere.
    pub(crate) fn finish(&mut self, name: RoundName) -> Vec<&[u8]> {
        if let Some(len) = self.unpadded.take() {
            self.scratch.truncate(len);
            self.pieces.pop();
        }
        let padding = usize::try_from(self.padded_len()).expect("a round is far below 4 GiB")
            - HEADER_LEN
            - self.body_len;
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.put(&MAGIC);
        header.put_u32(0);
        put_name(&mut header, name);
        header.put_u32(u32::try_from(self.body_len).expect("a round is far below 4 GiB"));
        let flag = if self.names_synced { NAMES_SYNCED } else { 0 };
        header.put_u32(self.items | flag);
        self.scratch[..HEADER_LEN].copy_from_slice(&header);
        let mut crc = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            let bytes = piece.bytes(&self.scratch);
            crc = crc32c::crc32c_append(crc, if number == 0 { &bytes[8..] } else { bytes });
        }
        self.scratch[4..8].copy_from_slice(&crc.to_le_bytes());
        let start = self.scratch.len();
        self.unpadded = Some(start);
        self.scratch.resize(start + padding, 0);
        self.pieces.push(Piece::Scratch(start..start + padding));
        self.pieces
            .iter()
            .map(|piece| piece.bytes(&self.scratch))
            .collect()
    }
}

impl Piece {
    fn bytes<'a>(&'a self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Scratch(range) => &scratch[range.clone()],
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A round's header, not yet known to be true: its CRC needs the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundHeader {
    pub(crate) name: RoundName,
    pub(crate) body_len: usize,
    items: u32,
    names_synced: bool,
    crc: u32,
}

impl RoundHeader {
    /// Reads a header; `None` when these bytes begin no round.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(4)? != MAGIC {
            return None;
        }
        let crc = reader.u32()?;
        let file_seq = reader.u64()?;
        let round_seq = reader.u64()?;
        let storage_id = StorageId(reader.uuid()?);
        let body_len = reader.u32()? as usize;
        let items = reader.u32()?;
        let name = RoundName {
            storage_id,
            file_seq,
            round_seq,
        };
        Some(Self {
            name,
            body_len,
            items: items & !NAMES_SYNCED,
            names_synced: items & NAMES_SYNCED != 0,
            crc,
        })
    }

    /// Length on disk, padding included.
    pub(crate) fn padded_len(&self) -> u64 {
        ((HEADER_LEN + self.body_len) as u64).next_multiple_of(ROUND_ALIGN)
    }

    /// True when the bytes (header and body, without padding) are the ones that were written.
    pub(crate) fn verify(&self, round: &[u8]) -> bool {
        round.len() == HEADER_LEN + self.body_len && crc32c::crc32c(&round[8..]) == self.crc
    }

    /// The last round that was durable when this one was written, by a verified round's body.
    pub(crate) fn synced(&self, body: &[u8]) -> u64 {
        let before = self.name.round_seq.saturating_sub(1);
        if self.names_synced {
            // One that names a later round, or none, proves nothing.
            let named = Reader::new(body).u64().unwrap_or(0);
            return named.min(before);
        }
        before
    }

    /// Takes a verified round's body apart; `None` when an item is malformed, which a round that
    /// this program wrote never is.
    pub(crate) fn items(&self, mut body: Bytes) -> Option<Vec<PlacedItem>> {
        let whole = body.len();
        if self.names_synced {
            body.try_get_u64_le().ok()?;
        }
        let mut items = Vec::with_capacity((self.items as usize).min(whole / 4));
        while !body.is_empty() {
            let start = whole - body.len();
            let item = Item::decode(&mut body)?;
            items.push(PlacedItem {
                item,
                at: start,
                len: whole - body.len() - start,
            });
        }
        (items.len() == self.items as usize).then_some(items)
    }
}

/// An item with its place in the round's body.
#[derive(Debug)]
pub(crate) struct PlacedItem {
    pub(crate) item: Item,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

fn put_name(out: &mut Vec<u8>, name: RoundName) {
    out.put_u64(name.file_seq);
    out.put_u64(name.round_seq);
    out.put_uuid(name.storage_id.0);
}
