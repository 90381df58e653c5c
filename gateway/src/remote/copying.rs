//! Reads from any copy of a partition that is in sync, leaders among them.
//!
//! Copies take turns. One that cannot be reached, or has not come as far as the topology, is passed over;
//! where all are, the leader is asked as ever. Invariant: only units that the topology says to be in sync are
//! asked, in the epoch that it says: what a copy answers is committed.

use std::sync::atomic::Ordering;

use tidegate_data_plane::partitions::{Chunk, Held};
use tidegate_kit::budget::BytePermit;
use tidegate_proto::control::PartitionStatus;
use tidegate_proto::error::Problem;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::private::ask::{Ask, Question, Reply};
use tokio::time::timeout;

use super::limits::{COPIES_ASKED_MAX, COPY_PATIENCE, READ_BYTES};
use super::{RemotePartitions, chunk_of};

impl RemotePartitions {
    pub(super) async fn read_of_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, Problem> {
        let bytes = bytes_max.clamp(1, READ_BYTES);
        let question = Question::ReadCopy {
            from,
            bytes_max: u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        match self.ask_copies(key, question).await? {
            Some((reply, permit)) => {
                let held = permit.map_or_else(Held::default, Held::new);
                chunk_of(reply, held)
            }
            None => self.read_chunk(key, from, bytes_max).await,
        }
    }

    pub(super) async fn status_of_copy(&self, key: ReplicaKey) -> Result<PartitionStatus, Problem> {
        match self.ask_copies(key, Question::CopyStatus).await? {
            Some((Reply::Status(status), _)) => Ok(status),
            Some(_) | None => self.status(key).await,
        }
    }

    /// What the first copy says that says something.
    async fn ask_copies(
        &self,
        key: ReplicaKey,
        question: Question,
    ) -> Result<Option<(Reply, Option<BytePermit>)>, Problem> {
        let (leader_epoch, copies) = self.copies(key)?;
        let turn = self.requests.fetch_add(1, Ordering::Relaxed);
        let turn = usize::try_from(turn).unwrap_or(0);
        for at in 0..copies.len().min(COPIES_ASKED_MAX) {
            let spu = copies[(turn.wrapping_add(at)) % copies.len()];
            let unit = self.units.unit(spu);
            let ask = Ask {
                key,
                leader_epoch,
                question,
            };
            let asked = unit.line.ask(&ask, &self.memory.reads);
            if let Ok(Ok(reply)) = timeout(COPY_PATIENCE, asked).await {
                unit.presence.answers();
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Units that are in sync and seem to be there, in the epoch of the topology.
    fn copies(&self, key: ReplicaKey) -> Result<(LeaderEpoch, Vec<SpuId>), Problem> {
        let topology = self.topology.borrow();
        let route = self.routes.find(&topology, key)?;
        let topic = topology.topic_by_id(key.topic_id);
        let row = topic.and_then(|topic| topic.partition(key.partition));
        let members = row.iter().flat_map(|row| &row.isr);
        let is_there = |spu: &SpuId| topology.spu(*spu).is_some() && !self.units.is_in_doubt(*spu);
        let copies = members.map(|member| member.spu).filter(is_there).collect();
        Ok((route.leader_epoch, copies))
    }
}
