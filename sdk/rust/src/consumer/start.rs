//! Turns a start position into an offset per partition.
//!
//! A plain offset outside of the log is refused as the server refuses it, never moved. Partitions that cannot
//! be reached while others can are left for later. Invariant: where a reader of one of them begins is what
//! was asked for when it came, not when the partition is back.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidegate_proto::cursor::CursorStart;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, StartPosition};

use crate::client::Client;
use crate::clock;
use crate::consumer::span::{Span, Spans};
use crate::error::Error;
use crate::limits::START_LOOKUPS;
use crate::topics::PartitionOffsets;

/// Where to begin in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    At(StartPosition),
    /// The same for somebody who had to wait for it.
    Since(CursorStart),
}

/// What was found of some partitions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) spans: Spans,
    /// Those that cannot be reached, where to begin in them, and why they are away.
    pub(crate) away: BTreeMap<PartitionId, (Begin, Error)>,
}

/// Looks up where each partition begins and ends; when none of them can be reached, a few times.
///
/// # Errors
/// That they cannot be reached only when none of them can.
pub(crate) async fn find_some(
    client: &Client,
    topic: &TopicName,
    partitions: &[(PartitionId, Begin)],
    follow: bool,
) -> Result<Found, Error> {
    match find(client, topic, partitions, follow).await {
        Err(error) if is_absence(&error) => {}
        other => return other,
    }
    if let [(first, _), ..] = partitions {
        client.offsets(topic, *first, None).await?;
    }
    find(client, topic, partitions, follow).await
}

/// The same, without waiting for those that cannot be reached.
///
/// # Errors
/// As above.
pub(crate) async fn find(
    client: &Client,
    topic: &TopicName,
    partitions: &[(PartitionId, Begin)],
    follow: bool,
) -> Result<Found, Error> {
    let lookups: Vec<_> = partitions
        .iter()
        .map(|(partition, begin)| look_up(client.clone(), topic.clone(), *partition, *begin))
        .collect();
    let mut lookups = stream::iter(lookups).buffer_unordered(START_LOOKUPS);
    let mut found = Found::default();
    while let Some((partition, begin, offsets)) = lookups.try_next().await? {
        let offsets = match offsets {
            Ok(offsets) => offsets,
            Err(error) => {
                found.away.insert(partition, (begin.later(), error));
                continue;
            }
        };
        let span = Span {
            next: first_offset(begin, &offsets)?,
            stop: (!follow).then_some(offsets.high_watermark),
            leader_epoch: offsets.leader_epoch,
        };
        found.spans.0.insert(partition, span);
    }
    match found.away.pop_first() {
        Some((_, (_, error))) if found.spans.0.is_empty() => return Err(error),
        first => found.away.extend(first),
    }
    Ok(found)
}

/// What is found out about one partition, or why it is away.
async fn look_up(
    client: Client,
    topic: TopicName,
    partition: PartitionId,
    begin: Begin,
) -> Result<(PartitionId, Begin, Result<PartitionOffsets, Error>), Error> {
    let at_ms = match begin {
        Begin::At(StartPosition::Time(at_ms)) => Some(at_ms),
        Begin::Since(start) => Some(start.time_ms),
        Begin::At(_) => None,
    };
    let found = match client.offsets_once(&topic, partition, at_ms).await {
        Err(error) if is_absence(&error) => Err(error),
        Err(error) if error.is_retryable() => Ok(client.offsets(&topic, partition, at_ms).await?),
        Err(error) => return Err(error),
        Ok(offsets) => Ok(offsets),
    };
    Ok((partition, begin, found))
}

/// Whether this partition alone may be out of reach.
pub(crate) fn is_absence(error: &Error) -> bool {
    let away = [
        ErrorCode::Unavailable,
        ErrorCode::NotLeader,
        ErrorCode::NotEnoughReplicas,
    ];
    error.code().is_some_and(|code| away.contains(&code))
}

impl Begin {
    /// The same for somebody who has to wait from now on: the end moves meanwhile.
    fn later(self) -> Self {
        let since = |time_ms, back| Self::Since(CursorStart { time_ms, back });
        match self {
            Self::At(StartPosition::Latest) => since(clock::now_ms(), 0),
            Self::At(StartPosition::FromEnd(count)) => since(clock::now_ms(), count),
            Self::At(StartPosition::Time(time_ms)) => since(time_ms, 0),
            Self::At(StartPosition::Earliest | StartPosition::Offset(_)) | Self::Since(_) => self,
        }
    }
}

fn first_offset(begin: Begin, offsets: &PartitionOffsets) -> Result<Offset, Error> {
    let before =
        |end: Offset, count| Offset::new(end.get().saturating_sub(count)).max(offsets.log_start);
    let at_time = offsets.offset.unwrap_or(offsets.high_watermark);
    let from = match begin {
        Begin::At(from) => from,
        Begin::Since(start) => return Ok(before(at_time, start.back)),
    };
    Ok(match from {
        StartPosition::Earliest => offsets.log_start,
        StartPosition::Latest => offsets.high_watermark,
        StartPosition::Offset(offset) if offset < offsets.log_start || offset > offsets.end => {
            return Err(out_of_range(offset, offsets));
        }
        StartPosition::Offset(offset) => offset,
        StartPosition::FromEnd(count) => before(offsets.high_watermark, count),
        StartPosition::Time(_) => at_time,
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
        let first = |from| first_offset(Begin::At(from), &offsets()).unwrap().get();
        assert_eq!(first(StartPosition::Earliest), 10);
        assert_eq!(first(StartPosition::Latest), 30);
        for inside in [10, 15, 30, 32] {
            assert_eq!(first(StartPosition::Offset(Offset::new(inside))), inside);
        }
        assert_eq!(first(StartPosition::FromEnd(4)), 26);
        assert_eq!(first(StartPosition::FromEnd(400)), 10);
        assert_eq!(first(StartPosition::Time(7)), 20);
        let since = |back| Begin::Since(CursorStart { time_ms: 7, back });
        let first = |back| first_offset(since(back), &offsets()).unwrap().get();
        assert_eq!([first(0), first(4), first(400)], [20, 16, 10]);
    }

    #[test]
    fn an_offset_outside_of_the_log_is_refused() {
        for outside in [0, 9, 33, 1 << 40] {
            let from = StartPosition::Offset(Offset::new(outside));
            let error = first_offset(Begin::At(from), &offsets()).unwrap_err();
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
