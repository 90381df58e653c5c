//! What is submitted to the journal, and its form inside a round.
//!
//! Little endian, one after the other, no padding: `u32 kind`, then by kind: a whole batch; or the
//! replica's key (16 bytes topic id, u32 partition) and the fields in the order declared here.

use bytes::{Buf as _, Bytes};
use tidegate_proto::batch::Batch;
use tidegate_proto::id::{PartitionId, ReplicaGen, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use uuid::Uuid;

use crate::limits::NUMBER_MAX;
use crate::scalar::Put as _;

/// Entries of one shard that become durable together: they land in one journal round.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who is told when they are durable.
    pub shard: u16,
    /// In this order, also per replica.
    pub entries: Vec<Entry>,
}

/// A change of one replica.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Records at the replica's end.
    Batch(Batch),
    /// Drops every batch that begins at or above `to`, or reaches beyond it (rule T2). `to` is where a
    /// batch ended that was appended. Below the high watermark, which only an operator's recovery asks
    /// for (rule T3), that goes down with it; below the start the log is empty, and begins there.
    Cut {
        /// The replica.
        key: ReplicaKey,
        /// The new end.
        to: Offset,
    },
    /// Gives up what is below `to` (retention, truncation by a user). Beyond the end it empties the
    /// replica, which then begins at `to` (rule T5).
    Trim {
        /// The replica.
        key: ReplicaKey,
        /// The new first offset.
        to: Offset,
    },
    /// What the replica accepted from the control plane.
    Meta {
        /// The replica.
        key: ReplicaKey,
        /// Its new metadata; `replica_gen` must be the one it was made with.
        meta: ReplicaMeta,
    },
    /// Producer state as of an offset; replaces the one before. Must not be above the high
    /// watermark: a cut below it loses it.
    Snapshot {
        /// The replica.
        key: ReplicaKey,
        /// All batches below this are in it.
        as_of: Offset,
        /// The caller's format.
        bytes: Bytes,
    },
    /// Checkpoint of the high watermark (rule H4).
    HighWatermark {
        /// The replica.
        key: ReplicaKey,
        /// Exclusive end of the committed prefix.
        offset: Offset,
    },
}

/// Metadata of a replica that must survive: what it accepted, never to go back (rule E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaMeta {
    /// The membership this directory belongs to.
    pub replica_gen: ReplicaGen,
    /// Greatest accepted leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Version of the partition's row it came from.
    pub version: u64,
    /// Generation of operator recovery; a greater one allows a cut below the high watermark.
    pub recovery_gen: u64,
}

impl ReplicaMeta {
    /// Metadata of a replica that has accepted nothing yet.
    #[must_use]
    pub fn new(replica_gen: ReplicaGen) -> Self {
        Self {
            replica_gen,
            leader_epoch: LeaderEpoch(0),
            version: 0,
            recovery_gen: 0,
        }
    }
}

impl Entry {
    /// The replica that the entry changes.
    #[must_use]
    pub fn key(&self) -> ReplicaKey {
        match self {
            Self::Batch(batch) => batch.placement.key,
            Self::Cut { key, .. }
            | Self::Trim { key, .. }
            | Self::Meta { key, .. }
            | Self::Snapshot { key, .. }
            | Self::HighWatermark { key, .. } => *key,
        }
    }
}

/// What stands in the journal: entries of callers, and the log's own about directories.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Entry(Entry),
    /// The directory of that generation was made. What stands before it about the key is of
    /// another generation.
    Created {
        key: ReplicaKey,
        replica_gen: ReplicaGen,
    },
    /// The replica was given up; its directory goes to the trash.
    Retired {
        key: ReplicaKey,
        replica_gen: ReplicaGen,
    },
}

const BATCH: u32 = 1;
const CUT: u32 = 2;
const TRIM: u32 = 3;
const META: u32 = 4;
const SNAPSHOT: u32 = 5;
const HIGH_WATERMARK: u32 = 6;
const CREATED: u32 = 7;
const RETIRED: u32 = 8;

/// Length of the kind before an item's fields.
pub(crate) const KIND_LEN: usize = 4;

const KEY_LEN: usize = 20;

impl Item {
    pub(crate) fn key(&self) -> ReplicaKey {
        match self {
            Self::Entry(entry) => entry.key(),
            Self::Created { key, .. } | Self::Retired { key, .. } => *key,
        }
    }

    /// Length in a round.
    pub(crate) fn encoded_len(&self) -> usize {
        let fields = match self {
            Self::Entry(Entry::Batch(batch)) => return KIND_LEN + batch.encoded_len(),
            Self::Entry(Entry::Meta { .. }) => 40,
            Self::Entry(Entry::Snapshot { bytes, .. }) => 12 + bytes.len(),
            Self::Entry(Entry::Cut { .. } | Entry::Trim { .. } | Entry::HighWatermark { .. }) => 8,
            Self::Created { .. } | Self::Retired { .. } => 16,
        };
        KIND_LEN + KEY_LEN + fields
    }

    /// Appends the item, except that the client part of a batch is left to the caller, who may
    /// have a way without copying.
    pub(crate) fn encode_head(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(Entry::Batch(batch)) => {
                out.put_u32(BATCH);
                out.put(&batch.header_bytes());
            }
            Self::Entry(Entry::Cut { key, to }) => put_offset(out, CUT, *key, *to),
            Self::Entry(Entry::Trim { key, to }) => put_offset(out, TRIM, *key, *to),
            Self::Entry(Entry::HighWatermark { key, offset }) => {
                put_offset(out, HIGH_WATERMARK, *key, *offset);
            }
            Self::Entry(Entry::Meta { key, meta }) => {
                put_key(out, META, *key);
                put_meta(out, meta);
            }
            Self::Entry(Entry::Snapshot { key, as_of, bytes }) => {
                put_offset(out, SNAPSHOT, *key, *as_of);
                out.put_u32(u32::try_from(bytes.len()).expect("a snapshot is far below 4 GiB"));
                out.put(bytes);
            }
            Self::Created { key, replica_gen } => {
                put_key(out, CREATED, *key);
                out.put_uuid(replica_gen.0);
            }
            Self::Retired { key, replica_gen } => {
                put_key(out, RETIRED, *key);
                out.put_uuid(replica_gen.0);
            }
        }
    }

    /// Takes one item off the front of a round's body; `None` when it is malformed.
    pub(crate) fn decode(body: &mut Bytes) -> Option<Self> {
        let kind = body.try_get_u32_le().ok()?;
        if kind == BATCH {
            return Batch::decode(body)
                .ok()
                .map(|batch| Self::Entry(Entry::Batch(batch)));
        }
        let key = take_key(body)?;
        Some(match kind {
            CUT => Self::Entry(Entry::Cut {
                key,
                to: take_offset(body)?,
            }),
            TRIM => Self::Entry(Entry::Trim {
                key,
                to: take_offset(body)?,
            }),
            HIGH_WATERMARK => Self::Entry(Entry::HighWatermark {
                key,
                offset: take_offset(body)?,
            }),
            META => Self::Entry(Entry::Meta {
                key,
                meta: take_meta(body)?,
            }),
            SNAPSHOT => {
                let as_of = take_offset(body)?;
                let len = body.try_get_u32_le().ok()? as usize;
                if body.len() < len {
                    return None;
                }
                Self::Entry(Entry::Snapshot {
                    key,
                    as_of,
                    bytes: body.split_to(len),
                })
            }
            CREATED => Self::Created {
                key,
                replica_gen: ReplicaGen(take_uuid(body)?),
            },
            RETIRED => Self::Retired {
                key,
                replica_gen: ReplicaGen(take_uuid(body)?),
            },
            _ => return None,
        })
    }
}

/// Appends the five fields of a replica's metadata.
pub(crate) fn put_meta(out: &mut Vec<u8>, meta: &ReplicaMeta) {
    out.put_uuid(meta.replica_gen.0);
    out.put_u64(meta.leader_epoch.0);
    out.put_u64(meta.version);
    out.put_u64(meta.recovery_gen);
}

fn put_key(out: &mut Vec<u8>, kind: u32, key: ReplicaKey) {
    out.put_u32(kind);
    out.put_uuid(key.topic_id.0);
    out.put_u32(key.partition.0);
}

fn put_offset(out: &mut Vec<u8>, kind: u32, key: ReplicaKey, offset: Offset) {
    put_key(out, kind, key);
    out.put_u64(offset.get());
}

fn take_uuid(body: &mut Bytes) -> Option<Uuid> {
    body.try_get_u128().ok().map(Uuid::from_u128)
}

fn take_key(body: &mut Bytes) -> Option<ReplicaKey> {
    let topic_id = TopicId(take_uuid(body)?);
    let partition = PartitionId(body.try_get_u32_le().ok()?);
    Some(ReplicaKey {
        topic_id,
        partition,
    })
}

fn take_offset(body: &mut Bytes) -> Option<Offset> {
    let offset = body.try_get_u64_le().ok()?;
    (offset < NUMBER_MAX).then_some(Offset::new(offset))
}

fn take_meta(body: &mut Bytes) -> Option<ReplicaMeta> {
    Some(ReplicaMeta {
        replica_gen: ReplicaGen(take_uuid(body)?),
        leader_epoch: LeaderEpoch(body.try_get_u64_le().ok()?),
        version: body.try_get_u64_le().ok()?,
        recovery_gen: body.try_get_u64_le().ok()?,
    })
}
