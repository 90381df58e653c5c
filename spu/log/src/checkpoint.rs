//! `replicas.ckpt`: what every replica of the directory had applied up to one journal round.
//!
//! All that the journal said up to that round is in the segments, synced, or in this file: so
//! older rounds are needed no more (rule J3). Replaced whole; never edited.

use tidegate_proto::id::{PartitionId, ReplicaGen, StorageId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::durable;
use crate::entry::{ReplicaMeta, put_meta};
use crate::error::{DiskError, OpenError};
use crate::layout;
use crate::limits::{NUMBER_MAX, ROUND_ALIGN};
use crate::scalar::{Put as _, Reader, seal_with, unseal};
use crate::vfs::Place;

const MAGIC: [u8; 4] = *b"TGCK";
const FORMAT: u32 = 1;
const HEAD_LEN: usize = 60;
const REPLICA_LEN: usize = 124;

/// A place in the journal: where the round after those covered begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalPosition {
    pub(crate) file_seq: u64,
    pub(crate) at: u64,
    /// The number of the round that comes there.
    pub(crate) round_seq: u64,
}

impl JournalPosition {
    /// False for numbers that no journal reaches, or that are not where rounds are.
    fn is_sane(&self) -> bool {
        let numbers = [self.file_seq, self.at, self.round_seq];
        numbers.iter().all(|number| *number < NUMBER_MAX)
            && self.round_seq > 0
            && self.at.is_multiple_of(ROUND_ALIGN)
    }
}

/// The file's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) storage_id: StorageId,
    /// Counts checkpoints, so that the clean marker can name one.
    pub(crate) generation: u64,
    pub(crate) position: JournalPosition,
    pub(crate) replicas: Vec<ReplicaState>,
}

/// What a replica has applied: on disk, and synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplicaState {
    pub(crate) key: ReplicaKey,
    pub(crate) meta: ReplicaMeta,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    pub(crate) end: Offset,
    /// The last segment and its length then: where unsynced bytes may begin.
    pub(crate) tail_base: Offset,
    pub(crate) tail_len: u64,
    pub(crate) last_append_ms: Option<i64>,
    /// False once rot was seen; stays so until the replica is made anew.
    pub(crate) intact: bool,
}

impl ReplicaState {
    pub(crate) fn new(key: ReplicaKey, replica_gen: ReplicaGen) -> Self {
        Self {
            key,
            meta: ReplicaMeta::new(replica_gen),
            high_watermark: Offset::ZERO,
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            tail_base: Offset::ZERO,
            tail_len: 0,
            last_append_ms: None,
            intact: true,
        }
    }
}

impl Checkpoint {
    /// Reads the file; `None` in a directory that has none.
    pub(crate) fn load(place: &Place) -> Result<Option<Self>, OpenError> {
        let path = place.path(layout::CHECKPOINT);
        let Some(bytes) = durable::read_whole(&*place.vfs, &path)? else {
            return Ok(None);
        };
        let body = unseal(MAGIC, &bytes).map_err(|what| OpenError::corrupt(&path, what))?;
        Self::decode(body)
            .map(Some)
            .ok_or_else(|| OpenError::corrupt(&path, "it is of another format version"))
    }

    pub(crate) fn save(&self, place: &Place) -> Result<(), DiskError> {
        let sealed = seal_with(MAGIC, self.encoded_len(), |body| self.encode(body));
        durable::replace(&*place.vfs, &place.root, layout::CHECKPOINT, &sealed)
    }

    fn encoded_len(&self) -> usize {
        HEAD_LEN + self.replicas.len() * REPLICA_LEN
    }

    fn encode(&self, body: &mut Vec<u8>) {
        body.put_u32(FORMAT);
        body.put_uuid(self.storage_id.0);
        body.put_u64(self.generation);
        body.put_u64(self.position.file_seq);
        body.put_u64(self.position.at);
        body.put_u64(self.position.round_seq);
        body.put_u64(self.replicas.len() as u64);
        for replica in &self.replicas {
            replica.encode(body);
        }
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u32()? != FORMAT {
            return None;
        }
        let storage_id = StorageId(reader.uuid()?);
        let generation = reader.u64()?;
        let position = JournalPosition {
            file_seq: reader.u64()?,
            at: reader.u64()?,
            round_seq: reader.u64()?,
        };
        if !position.is_sane() || generation >= NUMBER_MAX {
            return None;
        }
        let count = reader.u64()?;
        if (reader.len() / REPLICA_LEN) as u64 != count {
            return None;
        }
        let replicas = (0..count)
            .map(|_| ReplicaState::decode(&mut reader))
            .collect::<Option<Vec<_>>>()?;
        reader.is_empty().then_some(Self {
            storage_id,
            generation,
            position,
            replicas,
        })
    }
}

impl ReplicaState {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_uuid(self.key.topic_id.0);
        out.put_u32(self.key.partition.0);
        put_meta(out, &self.meta);
        out.put_u64(self.high_watermark.get());
        out.put_u64(self.log_start.get());
        out.put_u64(self.end.get());
        out.put_u64(self.tail_base.get());
        out.put_u64(self.tail_len);
        out.put_u32(u32::from(self.last_append_ms.is_some()));
        out.put_i64(self.last_append_ms.unwrap_or(0));
        out.put_u64(u64::from(self.intact));
        out.put_u32(0);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let topic_id = TopicId(reader.uuid()?);
        let partition = PartitionId(reader.u32()?);
        let meta = ReplicaMeta {
            replica_gen: ReplicaGen(reader.uuid()?),
            leader_epoch: LeaderEpoch(reader.u64()?),
            version: reader.u64()?,
            recovery_gen: reader.u64()?,
        };
        let high_watermark = Offset::new(reader.u64()?);
        let log_start = Offset::new(reader.u64()?);
        let end = Offset::new(reader.u64()?);
        let tail_base = Offset::new(reader.u64()?);
        let tail_len = reader.u64()?;
        let has_append = reader.u32()? == 1;
        let append_ms = reader.i64()?;
        let intact = reader.u64()? == 1;
        reader.u32()?;
        if [log_start, end, tail_base]
            .iter()
            .any(|offset| offset.get() >= NUMBER_MAX)
            || tail_len >= NUMBER_MAX
        {
            return None;
        }
        Some(Self {
            key: ReplicaKey {
                topic_id,
                partition,
            },
            meta,
            high_watermark,
            log_start,
            end,
            tail_base,
            tail_len,
            last_append_ms: has_append.then_some(append_ms),
            intact,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_written() {
        let key = ReplicaKey {
            topic_id: TopicId(Uuid::from_u128(1)),
            partition: PartitionId(2),
        };
        let mut replica = ReplicaState::new(key, ReplicaGen(Uuid::from_u128(3)));
        replica.end = Offset::new(77);
        replica.last_append_ms = Some(-5);
        replica.intact = false;
        let checkpoint = Checkpoint {
            storage_id: StorageId(Uuid::from_u128(4)),
            generation: 5,
            position: JournalPosition {
                file_seq: 6,
                at: 4096,
                round_seq: 7,
            },
            replicas: vec![
                replica,
                ReplicaState::new(key, ReplicaGen(Uuid::from_u128(8))),
            ],
        };
        let mut body = Vec::new();
        checkpoint.encode(&mut body);
        assert_eq!(body.len(), checkpoint.encoded_len());
        assert_eq!(Checkpoint::decode(&body), Some(checkpoint));
        assert_eq!(Checkpoint::decode(&body[..body.len() - 1]), None);
    }
    #[test]
    fn numbers_that_no_log_reaches_are_damage() {
        let sane = JournalPosition {
            file_seq: 6,
            at: 4096,
            round_seq: 7,
        };
        let position = |position| {
            let checkpoint = Checkpoint {
                storage_id: StorageId(Uuid::from_u128(4)),
                generation: 5,
                position,
                replicas: Vec::new(),
            };
            let mut body = Vec::new();
            checkpoint.encode(&mut body);
            Checkpoint::decode(&body).is_some()
        };
        assert!(position(sane));
        assert!(!position(JournalPosition {
            round_seq: 0,
            ..sane
        }));
        assert!(!position(JournalPosition { at: 4095, ..sane }));
        assert!(!position(JournalPosition {
            file_seq: u64::MAX,
            ..sane
        }));
        assert!(!position(JournalPosition {
            round_seq: u64::MAX,
            ..sane
        }));
        let mut state = ReplicaState::new(
            ReplicaKey {
                topic_id: TopicId(Uuid::from_u128(1)),
                partition: PartitionId(2),
            },
            ReplicaGen(Uuid::from_u128(3)),
        );
        state.end = Offset::new(u64::MAX);
        let mut body = Vec::new();
        state.encode(&mut body);
        assert_eq!(ReplicaState::decode(&mut Reader::new(&body)), None);
    }
}
