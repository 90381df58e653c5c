//! Turns a start position into an offset per partition.
//!
//! A plain offset outside of the log is refused as the server refuses it, never moved.

use futures_util::{StreamExt, TryStreamExt, stream};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, StartPosition};

use crate::client::Client;
use crate::consumer::span::{Span, Spans};
use crate::error::Error;
use crate::limits::START_LOOKUPS;
use crate::topics::PartitionOffsets;

/// Looks up where each partition begins and ends.
pub(crate) async fn spans(
    client: &Client,
    topic: &TopicName,
    partitions: &[PartitionId],
    from: StartPosition,
    follow: bool,
) -> Result<Spans, Error> {
    let at_ms = match from {
        StartPosition::Time(at_ms) => Some(at_ms),
        StartPosition::Earliest
        | StartPosition::Latest
        | StartPosition::Offset(_)
        | StartPosition::FromEnd(_) => None,
    };
    let lookups: Vec<_> = partitions
        .iter()
        .map(|partition| look_up(client.clone(), topic.clone(), *partition, at_ms))
        .collect();
    let mut lookups = stream::iter(lookups).buffer_unordered(START_LOOKUPS);
    let mut spans = Spans::default();
    while let Some((partition, offsets)) = lookups.try_next().await? {
        let span = Span {
            next: first_offset(from, &offsets)?,
            stop: (!follow).then_some(offsets.high_watermark),
            leader_epoch: offsets.leader_epoch,
        };
        spans.0.insert(partition, span);
    }
    Ok(spans)
}

async fn look_up(
    client: Client,
    topic: TopicName,
    partition: PartitionId,
    at_ms: Option<i64>,
) -> Result<(PartitionId, PartitionOffsets), Error> {
    Ok((partition, client.offsets(&topic, partition, at_ms).await?))
}

fn first_offset(from: StartPosition, offsets: &PartitionOffsets) -> Result<Offset, Error> {
    Ok(match from {
        StartPosition::Earliest => offsets.log_start,
        StartPosition::Latest => offsets.high_watermark,
        StartPosition::Offset(offset) if offset < offsets.log_start || offset > offsets.end => {
            return Err(out_of_range(offset, offsets));
        }
        StartPosition::Offset(offset) => offset,
        StartPosition::FromEnd(count) => {
            Offset::new(offsets.high_watermark.get().saturating_sub(count)).max(offsets.log_start)
        }
        StartPosition::Time(_) => offsets.offset.unwrap_or(offsets.high_watermark),
    })
}

fn out_of_range(offset: Offset, offsets: &PartitionOffsets) -> Error {
    let (log_start, end) = (offsets.log_start, offsets.end);
    let detail = format!("offset {offset} is outside of {log_start} to {end}");
    let problem = Problem::new(ErrorCode::OffsetOutOfRange, detail)
        .with("log_start", log_start.get())
        .with("end", end.get());
    Error::Problem(Box::new(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::position::LeaderEpoch;

    fn offsets() -> PartitionOffsets {
        PartitionOffsets {
            log_start: Offset::new(10),
            high_watermark: Offset::new(30),
            end: Offset::new(32),
            leader_epoch: LeaderEpoch(1),
            offset: Some(Offset::new(20)),
        }
    }

    #[test]
    fn every_start_position_has_its_offset() {
        let first = |from| first_offset(from, &offsets()).unwrap().get();
        assert_eq!(first(StartPosition::Earliest), 10);
        assert_eq!(first(StartPosition::Latest), 30);
        for inside in [10, 15, 30, 32] {
            assert_eq!(first(StartPosition::Offset(Offset::new(inside))), inside);
        }
        assert_eq!(first(StartPosition::FromEnd(4)), 26);
        assert_eq!(first(StartPosition::FromEnd(400)), 10);
        assert_eq!(first(StartPosition::Time(7)), 20);
    }

    #[test]
    fn an_offset_outside_of_the_log_is_refused() {
        for outside in [0, 9, 33, 1 << 40] {
            let from = StartPosition::Offset(Offset::new(outside));
            let error = first_offset(from, &offsets()).unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
            let Error::Problem(problem) = error else {
                panic!("a problem has a code");
            };
            let problem = serde_json::to_value(&problem).unwrap();
            assert_eq!(
                (&problem["log_start"], &problem["end"]),
                (&10.into(), &32.into())
            );
        }
    }
}
