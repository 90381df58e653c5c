//! The stream of appends: requests one way, what became of them the other.
//!
//! Requests are taken in the order in which they were sent; answers come as they are ready and name
//! the request. [`Goodbye`] ends a stream in order: requests from the one it names on were not taken, so
//! their sender may send them elsewhere. Invariant: a request that was taken is answered, or its stream
//! broke.

use bytes::{Buf, Bytes};

use crate::batch::{CLIENT_BYTES_MAX, ClientBatch};
use crate::bytes::Reader;
use crate::error::Problem;
use crate::id::{PartitionId, TopicId};
use crate::limits::{FRAME_BATCHES_BYTES_MAX, FRAME_PROBLEM_BYTES_MAX, TIMEOUT_MS_MAX};
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::private::fault::FrameError;
use crate::private::frame::{FRAME_HEADER_LEN, FrameHeader, whole};
use crate::private::pieces::Pieces;
use crate::produce::{Acks, Durable};

/// Kind of [`Append`].
pub const APPEND: u8 = 1;
/// Kind of [`Taken`].
pub const TAKEN: u8 = 2;
/// Kind of [`Refused`].
pub const REFUSED: u8 = 3;
/// Kind of [`Goodbye`].
pub const GOODBYE: u8 = 4;

/// Bytes of an [`Append`] before its batches.
pub const APPEND_FIXED_LEN: usize = 8 + 16 + 4 + 8 + 1 + 1 + 4 + 8;
/// Longest payload of an [`Append`].
pub const APPEND_PAYLOAD_MAX: usize = APPEND_FIXED_LEN + FRAME_BATCHES_BYTES_MAX;
/// In front of each batch: its length and its checksum.
const BATCH_HEADER_LEN: usize = 4 + 4;
const FLAG_EXPECTED_END: u8 = 1;

/// All batches or none, to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Names the request in its answer; greater than those of all requests before it.
    pub id: u64,
    /// Where to.
    pub key: ReplicaKey,
    /// The epoch of the leader that the sender knows: a node that is not as far refuses.
    pub leader_epoch: LeaderEpoch,
    /// How durable the records must be before the answer.
    pub acks: Acks,
    /// The deadline, in milliseconds from the arrival.
    pub timeout_ms: u32,
    /// Append only if the end of the log is exactly here.
    pub expected_end: Option<Offset>,
    /// At least one.
    pub batches: Vec<ClientBatch>,
}

/// An append was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The request.
    pub id: u64,
    /// The offset of the first record.
    pub base_offset: Offset,
    /// How many records the request held.
    pub count: u64,
    /// When the leader took them, epoch milliseconds.
    pub timestamp_ms: i64,
    /// How durable they are now.
    pub durable: Durable,
    /// They were there already.
    pub duplicate: bool,
}

/// An append was not done, or nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The request.
    pub id: u64,
    /// Why.
    pub problem: Problem,
}

/// The stream ends when all that was taken is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goodbye {
    /// The first request that was not taken.
    pub first_untaken: u64,
}

/// What comes back on the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Done.
    Taken(Taken),
    /// Not done, or nobody knows.
    Refused(Refused),
    /// No more answers but those to what was taken.
    Goodbye(Goodbye),
}

/// Bytes that these batches take in a frame.
#[must_use]
pub fn batches_len(batches: &[ClientBatch]) -> usize {
    let each = batches.iter().map(|batch| BATCH_HEADER_LEN + batch.len());
    each.sum()
}

impl Append {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        let header = FrameHeader {
            kind: APPEND,
            payload_len: APPEND_FIXED_LEN + batches_len(&self.batches),
        };
        let (flags, expected_end) = match self.expected_end {
            Some(end) => (FLAG_EXPECTED_END, end.get()),
            None => (0, 0),
        };
        let mut fixed = Vec::with_capacity(FRAME_HEADER_LEN + APPEND_FIXED_LEN);
        fixed.extend_from_slice(&header.to_bytes());
        fixed.extend_from_slice(&self.id.to_le_bytes());
        put_key(&mut fixed, self.key);
        fixed.extend_from_slice(&self.leader_epoch.0.to_le_bytes());
        fixed.push(acks_number(self.acks));
        fixed.push(flags);
        fixed.extend_from_slice(&self.timeout_ms.to_le_bytes());
        fixed.extend_from_slice(&expected_end.to_le_bytes());
        out.put(&fixed);
        for batch in &self.batches {
            let len = u32::try_from(batch.len()).expect("a batch is bounded");
            out.put(&len.to_le_bytes());
            out.put(&batch.crc().to_le_bytes());
            out.put_shared(batch.as_bytes());
        }
    }

    /// Reads the payload of a frame. The batches share its memory; their checksums are checked, their
    /// records are not.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        let short = FrameError::Length {
            kind: APPEND,
            len: payload.len(),
        };
        let mut append = Self::fixed(&payload).ok_or(short)??;
        payload.advance(APPEND_FIXED_LEN);
        while !payload.is_empty() {
            append.batches.push(take_batch(&mut payload)?);
        }
        if append.batches.is_empty() {
            return Err(field("batches"));
        }
        Ok(append)
    }

    /// The request of a payload of which no more than the beginning is there: for an answer to one that
    /// is too large.
    #[must_use]
    pub fn id_of(start: &[u8]) -> Option<u64> {
        Reader::new(start).u64()
    }

    fn fixed(payload: &[u8]) -> Option<Result<Self, FrameError>> {
        let mut reader = Reader::new(payload);
        let id = reader.u64()?;
        let key = take_key(&mut reader)?;
        let leader_epoch = LeaderEpoch(reader.u64()?);
        let acks = reader.u8()?;
        let flags = reader.u8()?;
        let timeout_ms = reader.u32()?;
        let expected_end = Offset::new(reader.u64()?);
        let acks = match acks {
            0 => Acks::None,
            1 => Acks::Leader,
            2 => Acks::Quorum,
            _ => return Some(Err(field("acks"))),
        };
        if flags & !FLAG_EXPECTED_END != 0 {
            return Some(Err(field("flags")));
        }
        if u64::from(timeout_ms) > TIMEOUT_MS_MAX {
            return Some(Err(field("timeout_ms")));
        }
        Some(Ok(Self {
            id,
            key,
            leader_epoch,
            acks,
            timeout_ms,
            expected_end: (flags & FLAG_EXPECTED_END != 0).then_some(expected_end),
            batches: Vec::new(),
        }))
    }
}

fn field(field: &'static str) -> FrameError {
    FrameError::Field {
        kind: APPEND,
        field,
    }
}

fn take_batch(payload: &mut Bytes) -> Result<ClientBatch, FrameError> {
    let len = payload.len();
    let short = FrameError::Length { kind: APPEND, len };
    let mut reader = Reader::new(payload);
    let sizes = reader.u32().zip(reader.u32());
    let Some((batch_len, crc)) = sizes else {
        return Err(short);
    };
    let batch_len = batch_len as usize;
    if batch_len > CLIENT_BYTES_MAX || batch_len > reader.rest().len() {
        return Err(short);
    }
    payload.advance(BATCH_HEADER_LEN);
    Ok(ClientBatch::from_summed(payload.split_to(batch_len), crc)?)
}

pub(super) fn put_key(out: &mut Vec<u8>, key: ReplicaKey) {
    out.extend_from_slice(key.topic_id.as_bytes());
    out.extend_from_slice(&key.partition.0.to_le_bytes());
}

pub(super) fn take_key(reader: &mut Reader<'_>) -> Option<ReplicaKey> {
    Some(ReplicaKey {
        topic_id: TopicId::from_bytes(reader.array()?),
        partition: PartitionId(reader.u32()?),
    })
}

const fn acks_number(acks: Acks) -> u8 {
    match acks {
        Acks::None => 0,
        Acks::Leader => 1,
        Acks::Quorum => 2,
    }
}

const fn durable_number(durable: Durable) -> u8 {
    match durable {
        Durable::Memory => 0,
        Durable::Leader => 1,
        Durable::Quorum => 2,
    }
}

impl Answer {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        match self {
            Self::Taken(taken) => {
                let mut payload = Vec::with_capacity(34);
                payload.extend_from_slice(&taken.id.to_le_bytes());
                payload.extend_from_slice(&taken.base_offset.get().to_le_bytes());
                payload.extend_from_slice(&taken.count.to_le_bytes());
                payload.extend_from_slice(&taken.timestamp_ms.to_le_bytes());
                payload.push(durable_number(taken.durable));
                payload.push(u8::from(taken.duplicate));
                put_frame(out, TAKEN, &payload);
            }
            Self::Refused(refused) => {
                let mut payload = refused.id.to_le_bytes().to_vec();
                payload.extend_from_slice(&problem_json(&refused.problem));
                put_frame(out, REFUSED, &payload);
            }
            Self::Goodbye(goodbye) => {
                put_frame(out, GOODBYE, &goodbye.first_untaken.to_le_bytes());
            }
        }
    }

    /// Reads the payload of a frame of that kind.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            TAKEN => {
                let (taken, durable, duplicate) = whole(kind, payload, |reader| {
                    let taken = Taken {
                        id: reader.u64()?,
                        base_offset: Offset::new(reader.u64()?),
                        count: reader.u64()?,
                        timestamp_ms: reader.i64()?,
                        durable: Durable::Memory,
                        duplicate: false,
                    };
                    Some((taken, reader.u8()?, reader.u8()?))
                })?;
                let field = |field| FrameError::Field { kind, field };
                let durable = match durable {
                    0 => Durable::Memory,
                    1 => Durable::Leader,
                    2 => Durable::Quorum,
                    _ => return Err(field("durable")),
                };
                if duplicate > 1 {
                    return Err(field("duplicate"));
                }
                if taken.base_offset.checked_add(taken.count).is_none() {
                    return Err(field("count"));
                }
                Ok(Self::Taken(Taken {
                    durable,
                    duplicate: duplicate == 1,
                    ..taken
                }))
            }
            REFUSED => {
                let mut reader = Reader::new(payload);
                let len = payload.len();
                let id = reader.u64().ok_or(FrameError::Length { kind, len })?;
                let problem = take_problem(kind, reader.rest())?;
                Ok(Self::Refused(Refused { id, problem }))
            }
            GOODBYE => whole(kind, payload, |reader| {
                let first_untaken = reader.u64()?;
                Some(Self::Goodbye(Goodbye { first_untaken }))
            }),
            _ => Err(FrameError::Kind { kind }),
        }
    }
}

/// Puts a frame with that payload behind what waits.
pub(super) fn put_frame(out: &mut Pieces, kind: u8, payload: &[u8]) {
    let payload_len = payload.len();
    out.put(&FrameHeader { kind, payload_len }.to_bytes());
    out.put(payload);
}

/// The problem as JSON, without its extras when it is too long with them.
pub(super) fn problem_json(problem: &Problem) -> Vec<u8> {
    let json = |problem: &Problem| serde_json::to_vec(problem).unwrap_or_default();
    let whole = json(problem);
    if whole.len() <= FRAME_PROBLEM_BYTES_MAX {
        return whole;
    }
    let detail: String = problem.detail().chars().take(256).collect();
    let effects = if problem.is_definite() {
        crate::error::SideEffects::None
    } else {
        crate::error::SideEffects::Possible
    };
    json(
        &Problem::new(problem.code(), detail)
            .side_effects(effects)
            .retryable(problem.is_retryable()),
    )
}

pub(super) fn take_problem(kind: u8, json: &[u8]) -> Result<Problem, FrameError> {
    if json.len() > FRAME_PROBLEM_BYTES_MAX {
        return Err(FrameError::TooLong {
            kind,
            len: json.len(),
            max: FRAME_PROBLEM_BYTES_MAX,
        });
    }
    serde_json::from_slice(json).map_err(|_| FrameError::Field {
        kind,
        field: "problem",
    })
}
