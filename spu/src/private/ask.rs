//! One question about a partition, and its answer.

use axum::body::Body;
use tidegate_data_plane::partitions::{Held, Partitions};
use tidegate_kit::frames::{FrameReader, Keep};
use tidegate_kit::http::ApiResult;
use tidegate_kit::outlet::{Outlet, OutletBody};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::READ_BYTES_MAX;
use tidegate_proto::position::LeaderEpoch;
use tidegate_proto::private::ask::{Ask, QUESTION_PAYLOAD_MAX, Question, Reply};
use tidegate_proto::private::tail::Bounds;
use tidegate_proto::private::{FrameHeader, Pieces};

use super::Holding;
use crate::refusal;

/// Reads the question and asks the partition.
pub(super) async fn answer(
    partitions: &dyn Partitions,
    body: Body,
) -> ApiResult<OutletBody<Holding<Held>>> {
    let ask = question(body).await?;
    let (reply, held) = reply(partitions, ask).await?;
    let mut pieces = Pieces::default();
    reply.encode(&mut pieces);
    let (outlet, body) = Outlet::new(Holding {
        pieces,
        _held: held,
    });
    outlet.end();
    Ok(body)
}

async fn question(body: Body) -> Result<Ask, Problem> {
    let keep = |header: FrameHeader| header.check(QUESTION_PAYLOAD_MAX).map(|_| Keep::Shared);
    let invalid = |detail: String| Problem::new(ErrorCode::InvalidParameter, detail);
    let arrived = FrameReader::new(body).next(keep).await;
    let arrived = arrived.map_err(|fault| invalid(fault.to_string()))?;
    let arrived = arrived.ok_or_else(|| invalid("there is no question".to_owned()))?;
    Ask::decode(arrived.kind, &arrived.payload).map_err(|error| invalid(error.to_string()))
}

async fn reply(partitions: &dyn Partitions, ask: Ask) -> Result<(Reply, Held), Problem> {
    let key = ask.key;
    let reply = match ask.question {
        Question::Read { from, bytes_max } | Question::ReadCopy { from, bytes_max } => {
            let bytes_max = (bytes_max as usize).clamp(1, READ_BYTES_MAX);
            let chunk = match ask.question {
                Question::ReadCopy { .. } => partitions.read_copy(key, from, bytes_max).await?,
                _ => partitions.read(key, from, bytes_max).await?,
            };
            is_current(chunk.leader_epoch, ask.leader_epoch)?;
            let bounds = Bounds {
                log_start: chunk.log_start,
                high_watermark: chunk.high_watermark,
                leader_epoch: chunk.leader_epoch,
            };
            let reply = Reply::Chunk {
                next: chunk.next,
                bounds,
                batches: chunk.batches,
            };
            return Ok((reply, chunk.held));
        }
        Question::Status | Question::CopyStatus => {
            let status = match ask.question {
                Question::CopyStatus => partitions.copy_offsets(key).await?,
                _ => partitions.offsets(key).await?,
            };
            is_current(status.leader_epoch, ask.leader_epoch)?;
            Reply::Status(status)
        }
        Question::SealedEnd => {
            has_come_to(partitions, ask).await?;
            Reply::Offset(partitions.sealed_end(key).await?)
        }
        Question::OffsetAt { time_ms } => {
            has_come_to(partitions, ask).await?;
            Reply::Offset(partitions.offset_at(key, time_ms).await?)
        }
    };
    Ok((reply, Held::default()))
}

/// For answers that do not say of which epoch they are. A replica's epoch only grows: looked at before is
/// enough.
async fn has_come_to(partitions: &dyn Partitions, ask: Ask) -> Result<(), Problem> {
    let status = partitions.offsets(ask.key).await?;
    is_current(status.leader_epoch, ask.leader_epoch)
}

/// What an older leader says may be less than what was committed since.
fn is_current(found: LeaderEpoch, wanted: LeaderEpoch) -> Result<(), Problem> {
    if found < wanted {
        Err(refusal::behind(found, wanted))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_data_plane::testing::MemoryPartitions;
    use tidegate_proto::id::PartitionId;
    use tidegate_proto::position::Offset;

    use super::*;

    #[tokio::test]
    async fn every_question_is_refused_by_who_is_not_as_far_as_the_one_who_asks() {
        let memory = MemoryPartitions::new();
        let key = memory.create_topic("t", 1).key(PartitionId(0));
        let read = Question::Read {
            from: Offset::ZERO,
            bytes_max: 1,
        };
        let at = Question::OffsetAt { time_ms: 1 };
        let copy = Question::ReadCopy {
            from: Offset::ZERO,
            bytes_max: 1,
        };
        let (status, sealed) = (Question::Status, Question::SealedEnd);
        for question in [read, copy, status, Question::CopyStatus, sealed, at] {
            let ask = |epoch| Ask {
                key,
                leader_epoch: LeaderEpoch(epoch),
                question,
            };
            assert!(reply(&*memory, ask(1)).await.is_ok(), "{question:?}");
            let refused = reply(&*memory, ask(2)).await.map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::NotLeader, "{question:?}");
        }
    }
}
