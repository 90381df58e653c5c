//! What a follower says of all its attaches at once, and how long anything may be that it says.

use std::sync::Arc;

use tidegate_kit::frames::Keep;
use tidegate_proto::private::replicate::{ACKS, Acked as AckedFrame, FIXED_PAYLOAD_MAX};
use tidegate_proto::private::{FrameError, FrameHeader};

use super::FollowerStream;
use crate::limits::REPLICATION_SESSIONS_MAX;
use crate::shard::{Acked, Message, PartitionHandle};

impl FollowerStream {
    pub(super) fn acked(&mut self, frames: Vec<AckedFrame>) {
        for frame in &frames {
            if self.shipments.acked(frame.handle, frame.position.end) {
                self.ship_next();
            }
        }
        let acks = frames.into_iter().filter_map(|frame| {
            let sending = self.sending.get(&frame.handle)?;
            let acked = Acked {
                key: sending.partition.reader.key,
                session: sending.session.id,
                position: frame.position,
                ledger_as_of: frame.ledger_as_of,
            };
            Some((&sending.partition, acked))
        });
        // By shard, of which there are few.
        let mut shards: Vec<(&Arc<PartitionHandle>, Vec<Acked>)> = Vec::new();
        for (partition, acked) in acks {
            let of_shard = |known: &&mut (&Arc<PartitionHandle>, Vec<Acked>)| {
                known.0.shard.is_same(&partition.shard)
            };
            match shards.iter_mut().find(of_shard) {
                Some((_, acks)) => acks.push(acked),
                None => shards.push((partition, vec![acked])),
            }
        }
        for (partition, acks) in shards {
            partition.shard.tell(Message::Acked(acks));
        }
    }
}

pub(super) fn keep(header: FrameHeader) -> Result<Keep, FrameError> {
    let max = if header.kind == ACKS {
        4 + REPLICATION_SESSIONS_MAX * AckedFrame::LEN
    } else {
        FIXED_PAYLOAD_MAX
    };
    header.check(max)?;
    Ok(Keep::Shared)
}
