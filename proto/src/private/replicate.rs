//! The streams of replication: what a follower says to a leader, and the leader to it.
//!
//! The follower dials, twice per leader: one stream for partitions at the tail and one for those that catch
//! up ([`Lane`]). It names each attach by a handle of its own choice, and every later frame names the handle:
//! so nothing that was said inside one attach counts in another (E2). Batches go as they are stored.
//! Invariant: batches of one handle that follow each other in the stream follow each other in the log.

mod event;
mod records;

pub use event::Event;
pub use records::{Acked, Push, SnapshotPiece, decode_acks, encode_acks, encode_push};

use std::fmt;
use std::str::FromStr;

use crate::id::{Incarnation, ReplicaGen};
use crate::limits::{FRAME_BATCHES_BYTES_MAX, INTEGER_MAX};
use crate::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use crate::private::append::{put_frame, put_key, take_key};
use crate::private::fault::FrameError;
use crate::private::frame::whole;
use crate::private::pieces::Pieces;

/// Header of a request that opens a stream, with its [`Lane`].
pub const LANE_HEADER: &str = "tidegate-lane";

/// Kind of [`Wish::Attach`].
pub const ATTACH: u8 = 48;
/// Kind of [`Wish::Detach`].
pub const DETACH: u8 = 49;
/// Kind of acknowledgements, see [`decode_acks`]; without any it is a sign of life.
pub const ACKS: u8 = 50;
/// Kind of [`Wish::Credit`].
pub const CREDIT: u8 = 51;
/// Kind of [`Event::Attached`].
pub const ATTACHED: u8 = 52;
/// Kind of [`Event::Diverged`].
pub const DIVERGED: u8 = 53;
/// Kind of [`Event::Reset`].
pub const RESET: u8 = 54;
/// Kind of [`Event::Refused`].
pub const REFUSED: u8 = 55;
/// Kind of a piece of a snapshot, see [`SnapshotPiece`].
pub const SNAPSHOT: u8 = 56;
/// Kind of batches, see [`Push`].
pub const PUSH: u8 = 57;
/// Kind of [`Event::Moved`].
pub const MOVED: u8 = 58;
/// Kind of [`Event::Ended`].
pub const ENDED: u8 = 59;
/// Kind of [`Event::Heartbeat`].
pub const HEARTBEAT: u8 = 60;

/// Longest payload of a fixed form.
pub const FIXED_PAYLOAD_MAX: usize = 128;
/// Longest piece of a snapshot, in bytes.
pub const SNAPSHOT_PIECE_BYTES_MAX: usize = 256 * 1024;
/// Longest payload of [`SNAPSHOT`].
pub const SNAPSHOT_PAYLOAD_MAX: usize = 13 + SNAPSHOT_PIECE_BYTES_MAX;
/// Longest payload of [`PUSH`].
pub const PUSH_PAYLOAD_MAX: usize = PUSH_FIXED_LEN + FRAME_BATCHES_BYTES_MAX;
/// In front of the batches of a push.
const PUSH_FIXED_LEN: usize = 20;

/// Which of a pair's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// For partitions whose next batches are in the leader's memory.
    Tail,
    /// For those that read the leader's disk: throttled, and in nobody's way.
    CatchUp,
}

impl Lane {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tail => "tail",
            Self::CatchUp => "catch-up",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lane {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "tail" => Ok(Self::Tail),
            "catch-up" => Ok(Self::CatchUp),
            _ => Err(()),
        }
    }
}

/// What a follower says, but for acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be sent what it lacks. The follower itself is whom the certificate names.
    Attach {
        /// Names this attach on this stream.
        handle: u32,
        /// Which partition.
        key: ReplicaKey,
        /// The follower's replica.
        replica_gen: ReplicaGen,
        /// The epoch that it accepted durably (E1).
        leader_epoch: LeaderEpoch,
        /// The follower's registration.
        incarnation: Incarnation,
        /// How far its log goes.
        position: LogPosition,
        /// Its first offset.
        log_start: Offset,
        /// Its ledger lacks nothing below its end.
        is_whole: bool,
        /// Nothing of its log is damaged.
        is_intact: bool,
    },
    /// Not to be sent any more; the handle is free when it is said.
    Detach {
        /// Which.
        handle: u32,
    },
    /// So many bytes of batches and snapshots more may be sent.
    Credit {
        /// Added to what is left.
        bytes: u32,
    },
}

/// Why an attach comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttachRefusal {
    /// The epoch is not the leader's: one of the two is behind (E2).
    Epoch,
    /// The node does not lead the partition, or does not have it.
    NotLeading,
    /// The partition has no such replica on the follower.
    NotReplica,
    /// The follower registered again since.
    Incarnation,
    /// There is no room for it now.
    Busy,
}

impl AttachRefusal {
    const ALL: [Self; 5] = [
        Self::Epoch,
        Self::NotLeading,
        Self::NotReplica,
        Self::Incarnation,
        Self::Busy,
    ];
}

/// Why a leader sends nothing more inside an attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// It does not lead any more, or the follower attached anew.
    Over,
    /// What comes next is not in memory: attach on the stream that catches up.
    Behind,
    /// What comes next is in memory: attach on the stream of the tail.
    CaughtUp,
    /// What comes next cannot be read here.
    Unreadable,
}

impl EndReason {
    const ALL: [Self; 4] = [Self::Over, Self::Behind, Self::CaughtUp, Self::Unreadable];
}

impl Wish {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        match *self {
            Self::Attach {
                handle,
                key,
                replica_gen,
                leader_epoch,
                incarnation,
                position,
                log_start,
                is_whole,
                is_intact,
            } => {
                let mut payload = Vec::with_capacity(96);
                payload.extend_from_slice(&handle.to_le_bytes());
                put_key(&mut payload, key);
                payload.extend_from_slice(replica_gen.0.as_bytes());
                put_u64s(&mut payload, &[leader_epoch.0, incarnation.0]);
                put_position(&mut payload, position);
                put_u64s(&mut payload, &[log_start.get()]);
                payload.push(u8::from(is_whole));
                payload.push(u8::from(is_intact));
                put_frame(out, ATTACH, &payload);
            }
            Self::Detach { handle } => put_frame(out, DETACH, &handle.to_le_bytes()),
            Self::Credit { bytes } => put_frame(out, CREDIT, &bytes.to_le_bytes()),
        }
    }

    /// Reads the payload of a frame of that kind, which is not [`ACKS`].
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        match kind {
            ATTACH => {
                let fields = whole(kind, payload, |reader| {
                    let handle = reader.u32()?;
                    let key = take_key(reader)?;
                    let replica_gen = ReplicaGen(uuid::Uuid::from_bytes(reader.array()?));
                    let numbers = (reader.u64()?, reader.u64()?);
                    let (end, last_epoch) = (reader.u64()?, reader.u64()?);
                    let log_start = reader.u64()?;
                    let flags = (reader.u8()?, reader.u8()?);
                    Some((
                        handle,
                        key,
                        replica_gen,
                        numbers,
                        (end, last_epoch),
                        log_start,
                        flags,
                    ))
                });
                let (handle, key, replica_gen, numbers, at, log_start, flags) = fields?;
                Ok(Self::Attach {
                    handle,
                    key,
                    replica_gen,
                    leader_epoch: LeaderEpoch(numbers.0),
                    incarnation: Incarnation(numbers.1),
                    position: position_of(kind, at)?,
                    log_start: offset_of(kind, log_start)?,
                    is_whole: take_flag(kind, flags.0)?,
                    is_intact: take_flag(kind, flags.1)?,
                })
            }
            DETACH => whole(kind, payload, |reader| {
                let handle = reader.u32()?;
                Some(Self::Detach { handle })
            }),
            CREDIT => whole(kind, payload, |reader| {
                let bytes = reader.u32()?;
                Some(Self::Credit { bytes })
            }),
            _ => Err(FrameError::Kind { kind }),
        }
    }
}

fn of_number<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

fn take_flag(kind: u8, number: u8) -> Result<bool, FrameError> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FrameError::Field {
            kind,
            field: "flags",
        }),
    }
}

fn put_u64s(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// No log has an epoch of 0, so it stands for none.
fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    let last_epoch = position.last_epoch.map_or(0, |epoch| epoch.0);
    put_u64s(out, &[position.end.get(), last_epoch]);
}

fn position_of(kind: u8, (end, last_epoch): (u64, u64)) -> Result<LogPosition, FrameError> {
    let end = offset_of(kind, end)?;
    let last_epoch = Some(LeaderEpoch(last_epoch)).filter(|epoch| epoch.0 != 0);
    Ok(LogPosition { end, last_epoch })
}

/// No log grows beyond what all clients can read, so that what follows an offset is one as well.
fn offset_of(kind: u8, number: u64) -> Result<Offset, FrameError> {
    let is_one = number <= INTEGER_MAX;
    let field = "an offset";
    is_one
        .then_some(Offset::new(number))
        .ok_or(FrameError::Field { kind, field })
}
