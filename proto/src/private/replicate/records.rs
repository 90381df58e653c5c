//! What of replication is as long as there are records: acknowledgements, batches, snapshots.
//!
//! Batches share the memory of the frame that they came in; the checksums of their client parts are not
//! checked here.

use bytes::{Buf as _, Bytes};

use super::{
    ACKS, PUSH, PUSH_FIXED_LEN, SNAPSHOT, offset_of, position_of, put_position, put_u64s, take_flag,
};
use crate::batch::Batch;
use crate::bytes::Reader;
use crate::position::{LogPosition, Offset};
use crate::private::append::put_frame;
use crate::private::fault::FrameError;
use crate::private::frame::{FrameHeader, whole};
use crate::private::pieces::Pieces;
use crate::private::tail::{put_batches, take_batches};

/// Stands for "no ledger as of anything" where an offset could be.
const NO_LEDGER: u64 = u64::MAX;

/// What of one attach is durable at the follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// Which attach.
    pub handle: u32,
    /// All of it is durable.
    pub position: LogPosition,
    /// The newest snapshot of the ledger that is durable there.
    pub ledger_as_of: Option<Offset>,
}

/// Puts a frame of [`ACKS`] behind what waits; an empty one is a sign of life.
pub fn encode_acks(acks: &[Acked], out: &mut Pieces) {
    let mut payload = Vec::with_capacity(4 + acks.len() * Acked::LEN);
    let count = u32::try_from(acks.len()).expect("as many as partitions at most");
    payload.extend_from_slice(&count.to_le_bytes());
    for acked in acks {
        payload.extend_from_slice(&acked.handle.to_le_bytes());
        put_position(&mut payload, acked.position);
        put_u64s(
            &mut payload,
            &[acked.ledger_as_of.map_or(NO_LEDGER, Offset::get)],
        );
    }
    put_frame(out, ACKS, &payload);
}

/// Reads the payload of a frame of [`ACKS`].
///
/// # Errors
/// When it is none.
pub fn decode_acks(payload: &[u8]) -> Result<Vec<Acked>, FrameError> {
    whole(ACKS, payload, |reader| {
        let count = reader.u32()? as usize;
        if reader.rest().len() != count.checked_mul(Acked::LEN)? {
            return None;
        }
        (0..count).map(|_| Acked::take(reader)).collect()
    })?
}

impl Acked {
    /// Of one in a frame, in bytes.
    pub const LEN: usize = 28;

    /// None when there are too few bytes.
    fn take(reader: &mut Reader<'_>) -> Option<Result<Self, FrameError>> {
        let handle = reader.u32()?;
        let (at, as_of) = ((reader.u64()?, reader.u64()?), reader.u64()?);
        Some(Self::of(handle, at, as_of))
    }

    fn of(handle: u32, at: (u64, u64), as_of: u64) -> Result<Self, FrameError> {
        let as_of = Some(as_of).filter(|as_of| *as_of != NO_LEDGER);
        Ok(Self {
            handle,
            position: position_of(ACKS, at)?,
            ledger_as_of: as_of.map(|as_of| offset_of(ACKS, as_of)).transpose()?,
        })
    }
}

/// Batches of one attach, with the bounds of the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// Which attach.
    pub handle: u32,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's first offset.
    pub log_start: Offset,
    /// As they are stored, in order.
    pub batches: Vec<Batch>,
}

/// Puts a frame of [`PUSH`] behind what waits; its payload's length in bytes.
pub fn encode_push(
    handle: u32,
    (high_watermark, log_start): (Offset, Offset),
    batches: &[Batch],
    out: &mut Pieces,
) -> usize {
    let payload_len = PUSH_FIXED_LEN + batches.iter().map(Batch::encoded_len).sum::<usize>();
    let kind = PUSH;
    out.put(&FrameHeader { kind, payload_len }.to_bytes());
    out.put(&handle.to_le_bytes());
    out.put(&high_watermark.get().to_le_bytes());
    out.put(&log_start.get().to_le_bytes());
    put_batches(batches, out);
    payload_len
}

impl Push {
    /// Reads the payload of a frame of [`PUSH`].
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        let len = payload.len();
        let fixed = |reader: &mut Reader<'_>| Some((reader.u32()?, reader.u64()?, reader.u64()?));
        let (handle, high_watermark, log_start) =
            fixed(&mut Reader::new(&payload)).ok_or(FrameError::Length { kind: PUSH, len })?;
        payload.advance(PUSH_FIXED_LEN);
        Ok(Self {
            handle,
            high_watermark: offset_of(PUSH, high_watermark)?,
            log_start: offset_of(PUSH, log_start)?,
            batches: take_batches(payload)?,
        })
    }
}

/// A piece of a snapshot of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Which attach.
    pub handle: u32,
    /// First offset that the snapshot does not know.
    pub as_of: Offset,
    /// No more pieces come.
    pub is_last: bool,
    /// The next bytes of it.
    pub bytes: Bytes,
}

impl SnapshotPiece {
    const FIXED_LEN: usize = 13;

    /// Puts the whole frame behind what waits; its payload's length in bytes.
    pub fn encode(&self, out: &mut Pieces) -> usize {
        let payload_len = Self::FIXED_LEN + self.bytes.len();
        let kind = SNAPSHOT;
        out.put(&FrameHeader { kind, payload_len }.to_bytes());
        out.put(&self.handle.to_le_bytes());
        out.put(&self.as_of.get().to_le_bytes());
        out.put(&[u8::from(self.is_last)]);
        out.put_shared(&self.bytes);
        payload_len
    }

    /// Reads the payload of a frame of [`SNAPSHOT`].
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        let (kind, len) = (SNAPSHOT, payload.len());
        let fixed = |reader: &mut Reader<'_>| Some((reader.u32()?, reader.u64()?, reader.u8()?));
        let (handle, as_of, flag) =
            fixed(&mut Reader::new(&payload)).ok_or(FrameError::Length { kind, len })?;
        payload.advance(Self::FIXED_LEN);
        Ok(Self {
            handle,
            as_of: offset_of(kind, as_of)?,
            is_last: take_flag(kind, flag)?,
            bytes: payload,
        })
    }
}
