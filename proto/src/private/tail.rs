//! The stream of tails: what a gateway follows, and how far the partitions have come.
//!
//! A gateway names each partition that it follows by a handle of its own choice. It is told of every
//! move ([`Moved`]), and where it asks for them gets the new batches before it ([`BATCHES`]) as long as
//! there is credit; without credit it is told of the move alone and reads for itself.
//! Invariant: batches of one partition that follow each other in the stream, with no
//! [`Skipped`](TailEvent::Skipped) between them, follow each other in the log.

use bytes::{Buf, Bytes};

use crate::batch::Batch;
use crate::bytes::Reader;
use crate::error::Problem;
use crate::limits::{FRAME_BATCHES_BYTES_MAX, FRAME_PROBLEM_BYTES_MAX};
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::private::append::{problem_json, put_frame, put_key, take_key, take_problem};
use crate::private::fault::FrameError;
use crate::private::frame::{FrameHeader, whole};
use crate::private::pieces::Pieces;

/// Kind of [`TailWish::Follow`].
pub const FOLLOW: u8 = 16;
/// Kind of [`TailWish::Leave`].
pub const LEAVE: u8 = 17;
/// Kind of [`TailWish::Credit`].
pub const CREDIT: u8 = 18;
/// Kind of [`TailEvent::Moved`].
pub const MOVED: u8 = 19;
/// Kind of new batches: a handle and whole stored batches, see [`decode_batches`].
pub const BATCHES: u8 = 20;
/// Kind of [`TailEvent::Skipped`].
pub const SKIPPED: u8 = 21;
/// Kind of [`TailEvent::Ended`].
pub const ENDED: u8 = 22;

/// Longest payload of anything but batches.
pub const TAIL_PAYLOAD_MAX: usize = 4 + FRAME_PROBLEM_BYTES_MAX;
/// Longest payload of [`BATCHES`].
pub const BATCHES_PAYLOAD_MAX: usize = 4 + FRAME_BATCHES_BYTES_MAX;
/// Stands for "no batches" where an offset could be.
const BOUNDS_ONLY: u64 = u64::MAX;

/// What a gateway wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailWish {
    /// To be told of a partition from now on; or, with a handle that is in use, to be told differently.
    Follow {
        /// Names it on this stream.
        handle: u32,
        /// Which partition.
        key: ReplicaKey,
        /// The epoch of the leader that the sender knows: a node that is not as far refuses.
        leader_epoch: LeaderEpoch,
        /// From where on batches are wanted; none for bounds alone.
        batches_from: Option<Offset>,
    },
    /// Not to be told any more; the handle is free when it is said.
    Leave {
        /// Which.
        handle: u32,
    },
    /// So many bytes of batches more may be sent.
    Credit {
        /// Added to what is left.
        bytes: u32,
    },
}

/// The bounds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset still held.
    pub log_start: Offset,
    /// One past the last committed record.
    pub high_watermark: Offset,
    /// The epoch of the leader that says so.
    pub leader_epoch: LeaderEpoch,
}

/// What a storage unit tells.
#[derive(Debug, Clone, PartialEq)]
pub enum TailEvent {
    /// A partition stands here now.
    Moved {
        /// Which.
        handle: u32,
        /// Its bounds.
        bounds: Bounds,
    },
    /// The batches up to here are not sent: there was no credit, or they could not be read in time.
    Skipped {
        /// Which.
        handle: u32,
        /// Where the next ones start.
        to: Offset,
    },
    /// This partition is not followed here any more. The handle is free.
    Ended {
        /// Which.
        handle: u32,
        /// Why.
        problem: Problem,
    },
}

impl TailWish {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        match *self {
            Self::Follow {
                handle,
                key,
                leader_epoch,
                batches_from,
            } => {
                let mut payload = Vec::with_capacity(40);
                payload.extend_from_slice(&handle.to_le_bytes());
                put_key(&mut payload, key);
                payload.extend_from_slice(&leader_epoch.0.to_le_bytes());
                let from = batches_from.map_or(BOUNDS_ONLY, Offset::get);
                payload.extend_from_slice(&from.to_le_bytes());
                put_frame(out, FOLLOW, &payload);
            }
            Self::Leave { handle } => put_frame(out, LEAVE, &handle.to_le_bytes()),
            Self::Credit { bytes } => put_frame(out, CREDIT, &bytes.to_le_bytes()),
        }
    }

    /// Reads the payload of a frame of that kind.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        whole(kind, payload, |reader| {
            Some(match kind {
                FOLLOW => {
                    let handle = reader.u32()?;
                    let key = take_key(reader)?;
                    let leader_epoch = LeaderEpoch(reader.u64()?);
                    let from = reader.u64()?;
                    let batches_from = (from != BOUNDS_ONLY).then_some(Offset::new(from));
                    Ok(Self::Follow {
                        handle,
                        key,
                        leader_epoch,
                        batches_from,
                    })
                }
                LEAVE => Ok(Self::Leave {
                    handle: reader.u32()?,
                }),
                CREDIT => Ok(Self::Credit {
                    bytes: reader.u32()?,
                }),
                _ => {
                    reader.take(reader.rest().len())?;
                    Err(FrameError::Kind { kind })
                }
            })
        })?
    }
}

impl TailEvent {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        match self {
            Self::Moved { handle, bounds } => {
                let mut payload = Vec::with_capacity(28);
                payload.extend_from_slice(&handle.to_le_bytes());
                put_bounds(&mut payload, *bounds);
                put_frame(out, MOVED, &payload);
            }
            Self::Skipped { handle, to } => {
                let mut payload = Vec::with_capacity(12);
                payload.extend_from_slice(&handle.to_le_bytes());
                payload.extend_from_slice(&to.get().to_le_bytes());
                put_frame(out, SKIPPED, &payload);
            }
            Self::Ended { handle, problem } => {
                let mut payload = handle.to_le_bytes().to_vec();
                payload.extend_from_slice(&problem_json(problem));
                put_frame(out, ENDED, &payload);
            }
        }
    }

    /// Reads the payload of a frame of that kind, which is not [`BATCHES`].
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            MOVED => whole(kind, payload, |reader| {
                let handle = reader.u32()?;
                let bounds = take_bounds(reader)?;
                Some(Self::Moved { handle, bounds })
            }),
            SKIPPED => whole(kind, payload, |reader| {
                let handle = reader.u32()?;
                let to = Offset::new(reader.u64()?);
                Some(Self::Skipped { handle, to })
            }),
            ENDED => {
                let mut reader = Reader::new(payload);
                let len = payload.len();
                let handle = reader.u32().ok_or(FrameError::Length { kind, len })?;
                let problem = take_problem(kind, reader.rest())?;
                Ok(Self::Ended { handle, problem })
            }
            _ => Err(FrameError::Kind { kind }),
        }
    }
}

/// Puts a frame of [`BATCHES`] behind what waits; its whole length in bytes.
pub fn encode_batches(handle: u32, batches: &[Batch], out: &mut Pieces) -> usize {
    let payload_len = 4 + batches.iter().map(Batch::encoded_len).sum::<usize>();
    let kind = BATCHES;
    out.put(&FrameHeader { kind, payload_len }.to_bytes());
    out.put(&handle.to_le_bytes());
    put_batches(batches, out);
    payload_len
}

/// Reads the payload of a frame of [`BATCHES`]. The batches share its memory; the checksums of their
/// client parts are not checked.
///
/// # Errors
/// When it is none.
pub fn decode_batches(mut payload: Bytes) -> Result<(u32, Vec<Batch>), FrameError> {
    let len = payload.len();
    let handle = Reader::new(&payload).u32();
    let handle = handle.ok_or(FrameError::Length { kind: BATCHES, len })?;
    payload.advance(4);
    Ok((handle, take_batches(payload)?))
}

pub(super) fn put_batches(batches: &[Batch], out: &mut Pieces) {
    for batch in batches {
        out.put(&batch.header_bytes());
        out.put_shared(batch.client.as_bytes());
    }
}

pub(super) fn take_batches(mut payload: Bytes) -> Result<Vec<Batch>, FrameError> {
    let mut batches = Vec::new();
    while !payload.is_empty() {
        batches.push(Batch::decode(&mut payload)?);
    }
    Ok(batches)
}

pub(super) fn put_bounds(out: &mut Vec<u8>, bounds: Bounds) {
    out.extend_from_slice(&bounds.log_start.get().to_le_bytes());
    out.extend_from_slice(&bounds.high_watermark.get().to_le_bytes());
    out.extend_from_slice(&bounds.leader_epoch.0.to_le_bytes());
}

pub(super) fn take_bounds(reader: &mut Reader<'_>) -> Option<Bounds> {
    Some(Bounds {
        log_start: Offset::new(reader.u64()?),
        high_watermark: Offset::new(reader.u64()?),
        leader_epoch: LeaderEpoch(reader.u64()?),
    })
}
