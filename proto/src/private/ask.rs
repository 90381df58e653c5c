//! Single questions about one partition: one frame there, one frame back, or a problem as HTTP has it.
//!
//! Nothing here changes anything, so a question may be asked again of whoever leads by then.

use bytes::{Buf, Bytes};

use crate::batch::Batch;
use crate::bytes::Reader;
use crate::control::PartitionStatus;
use crate::limits::{FRAME_BATCHES_BYTES_MAX, FRAME_PROBLEM_BYTES_MAX};
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::private::append::{put_frame, put_key, take_key};
use crate::private::fault::FrameError;
use crate::private::frame::{FrameHeader, whole};
use crate::private::pieces::Pieces;
use crate::private::tail::{Bounds, put_batches, put_bounds, take_batches, take_bounds};

/// Kind of [`Question::Read`].
pub const READ: u8 = 32;
/// Kind of [`Question::Status`].
pub const STATUS: u8 = 33;
/// Kind of [`Question::SealedEnd`].
pub const SEALED_END: u8 = 34;
/// Kind of [`Question::OffsetAt`].
pub const OFFSET_AT: u8 = 35;
/// Kind of [`Question::ReadCopy`].
pub const READ_COPY: u8 = 39;
/// Kind of [`Question::CopyStatus`].
pub const COPY_STATUS: u8 = 40;
/// Kind of [`Reply::Chunk`].
pub const CHUNK: u8 = 36;
/// Kind of [`Reply::Status`].
pub const STATUS_REPLY: u8 = 37;
/// Kind of [`Reply::Offset`].
pub const OFFSET: u8 = 38;

/// Longest payload of a question.
pub const QUESTION_PAYLOAD_MAX: usize = 64;
const CHUNK_FIXED_LEN: usize = 8 + 24;
/// Longest payload of a reply.
pub const REPLY_PAYLOAD_MAX: usize = CHUNK_FIXED_LEN + FRAME_BATCHES_BYTES_MAX;

/// What is asked of the leader of a partition, or of any copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which partition.
    pub key: ReplicaKey,
    /// The epoch of the leader that the sender knows, whoever is asked: a node that is not as far refuses.
    pub leader_epoch: LeaderEpoch,
    /// What.
    pub question: Question,
}

/// A question about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Committed batches at and after `from`.
    Read {
        /// Where from.
        from: Offset,
        /// About so many bytes.
        bytes_max: u32,
    },
    /// Its bounds and sizes.
    Status,
    /// As [`Question::Read`], whether or not the one who is asked leads.
    ReadCopy {
        /// Where from.
        from: Offset,
        /// About so many bytes.
        bytes_max: u32,
    },
    /// As [`Question::Status`], whether or not the one who is asked leads.
    CopyStatus,
    /// The end of what is in closed segments.
    SealedEnd,
    /// The first offset at or after that time.
    OffsetAt {
        /// Epoch milliseconds.
        time_ms: i64,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Question::Read`] and [`Question::ReadCopy`].
    Chunk {
        /// Where the next read starts.
        next: Offset,
        /// The bounds of the partition.
        bounds: Bounds,
        /// The batches; the first may begin below what was asked for.
        batches: Vec<Batch>,
    },
    /// To [`Question::Status`] and [`Question::CopyStatus`].
    Status(PartitionStatus),
    /// To [`Question::SealedEnd`] and [`Question::OffsetAt`].
    Offset(Offset),
}

impl Ask {
    /// The whole frame.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut payload = Vec::with_capacity(QUESTION_PAYLOAD_MAX);
        put_key(&mut payload, self.key);
        payload.extend_from_slice(&self.leader_epoch.0.to_le_bytes());
        let kind = match self.question {
            Question::Read { from, bytes_max } => {
                payload.extend_from_slice(&from.get().to_le_bytes());
                payload.extend_from_slice(&bytes_max.to_le_bytes());
                READ
            }
            Question::ReadCopy { from, bytes_max } => {
                payload.extend_from_slice(&from.get().to_le_bytes());
                payload.extend_from_slice(&bytes_max.to_le_bytes());
                READ_COPY
            }
            Question::Status => STATUS,
            Question::CopyStatus => COPY_STATUS,
            Question::SealedEnd => SEALED_END,
            Question::OffsetAt { time_ms } => {
                payload.extend_from_slice(&time_ms.to_le_bytes());
                OFFSET_AT
            }
        };
        let mut out = Pieces::default();
        put_frame(&mut out, kind, &payload);
        out.take().unwrap_or_default()
    }

    /// Reads the payload of a frame of that kind.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        if !matches!(kind, READ..=OFFSET_AT | READ_COPY | COPY_STATUS) {
            return Err(FrameError::Kind { kind });
        }
        whole(kind, payload, |reader| {
            let key = take_key(reader)?;
            let leader_epoch = LeaderEpoch(reader.u64()?);
            let question = match kind {
                READ => Question::Read {
                    from: Offset::new(reader.u64()?),
                    bytes_max: reader.u32()?,
                },
                READ_COPY => Question::ReadCopy {
                    from: Offset::new(reader.u64()?),
                    bytes_max: reader.u32()?,
                },
                STATUS => Question::Status,
                COPY_STATUS => Question::CopyStatus,
                SEALED_END => Question::SealedEnd,
                _ => Question::OffsetAt {
                    time_ms: reader.i64()?,
                },
            };
            Some(Self {
                key,
                leader_epoch,
                question,
            })
        })
    }
}

impl Reply {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        match self {
            Self::Chunk {
                next,
                bounds,
                batches,
            } => {
                let bytes: usize = batches.iter().map(Batch::encoded_len).sum();
                let header = FrameHeader {
                    kind: CHUNK,
                    payload_len: CHUNK_FIXED_LEN + bytes,
                };
                let mut fixed = Vec::with_capacity(CHUNK_FIXED_LEN);
                fixed.extend_from_slice(&next.get().to_le_bytes());
                put_bounds(&mut fixed, *bounds);
                out.put(&header.to_bytes());
                out.put(&fixed);
                put_batches(batches, out);
            }
            Self::Status(status) => {
                let json = serde_json::to_vec(status).unwrap_or_default();
                put_frame(out, STATUS_REPLY, &json);
            }
            Self::Offset(offset) => put_frame(out, OFFSET, &offset.get().to_le_bytes()),
        }
    }

    /// Reads the payload of a frame of that kind. Batches share its memory; the checksums of their client
    /// parts are not checked.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, mut payload: Bytes) -> Result<Self, FrameError> {
        let len = payload.len();
        match kind {
            CHUNK => {
                let mut reader = Reader::new(&payload);
                let next = reader.u64().map(Offset::new);
                let fixed = next.zip(take_bounds(&mut reader));
                let (next, bounds) = fixed.ok_or(FrameError::Length { kind, len })?;
                payload.advance(CHUNK_FIXED_LEN);
                let batches = take_batches(payload)?;
                Ok(Self::Chunk {
                    next,
                    bounds,
                    batches,
                })
            }
            STATUS_REPLY if len > FRAME_PROBLEM_BYTES_MAX => Err(FrameError::TooLong {
                kind,
                len,
                max: FRAME_PROBLEM_BYTES_MAX,
            }),
            STATUS_REPLY => {
                let status = serde_json::from_slice(&payload);
                let field = |_| FrameError::Field {
                    kind,
                    field: "status",
                };
                Ok(Self::Status(status.map_err(field)?))
            }
            OFFSET => whole(kind, &payload, |reader| {
                Some(Self::Offset(Offset::new(reader.u64()?)))
            }),
            _ => Err(FrameError::Kind { kind }),
        }
    }
}
