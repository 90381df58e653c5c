//! Where a read starts: `from` or a cursor turned into one offset per partition, and back.
//!
//! Every transport comes through here. Never a silent jump: a place that is no longer there is 410
//! with the cursor that goes on behind the gap, a number outside the log is 416 with its bounds.

use std::collections::BTreeMap;

use tidegate_proto::control::{PartitionStatus, TopicSpec};
use tidegate_proto::cursor::{Cursor, CursorPosition};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{LeaderEpoch, Offset, StartPosition};

use crate::partitions::Partitions;
use crate::query::invalid;
use crate::topics::of_partition;

/// Where a reader asked to start.
#[derive(Clone, Debug)]
pub enum Start {
    /// The same word for every partition; a number only for one.
    At(StartPosition),
    /// Where an earlier read ended. Partitions it does not name start at the earliest record, because
    /// they are younger than the cursor.
    Cursor(Cursor),
}

/// The offset at which each chosen partition (all, with `None`) is to be read, in partition order.
///
/// # Errors
/// 400 `invalid_parameter` for a number with several partitions, 410 `cursor_expired` or
/// `log_truncated` with `next_cursor`, 416 `offset_out_of_range` with `log_start` and `end`, and
/// whatever the partitions answer.
pub async fn resolve_start(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    chosen: Option<&[PartitionId]>,
    start: Start,
) -> Result<Vec<(PartitionId, Offset)>, Problem> {
    let chosen: Vec<PartitionId> = match chosen {
        Some(chosen) => chosen.to_vec(),
        None => topic.partitions.iter().map(|spec| spec.partition).collect(),
    };
    match start {
        Start::At(StartPosition::Offset(_)) if chosen.len() != 1 => Err(invalid(
            "from",
            "is a number, which needs exactly one partition",
        )),
        Start::At(position) => {
            let mut found = Vec::with_capacity(chosen.len());
            for partition in chosen {
                found.push((
                    partition,
                    resolve_at(partitions, topic, partition, position).await?,
                ));
            }
            Ok(found)
        }
        Start::Cursor(cursor) => resolve_cursor(partitions, topic, chosen, &cursor).await,
    }
}

/// The text of a cursor at these places. 400 `cursor_too_large` when they are too many.
pub fn encode_cursor(
    topic: &TopicSpec,
    places: impl IntoIterator<Item = (PartitionId, Offset, LeaderEpoch)>,
) -> Result<String, Problem> {
    let positions: BTreeMap<PartitionId, CursorPosition> = places
        .into_iter()
        .map(|(partition, offset, leader_epoch)| {
            (
                partition,
                CursorPosition {
                    offset,
                    leader_epoch,
                },
            )
        })
        .collect();
    Cursor {
        topic_id: topic.id,
        positions,
    }
    .encode()
    .map_err(|error| {
        Problem::new(ErrorCode::CursorTooLarge, error.to_string())
            .at("partitions", "name fewer partitions")
    })
}

/// One cursor out of several texts.
pub fn parse_cursors<'a>(
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Cursor>, Problem> {
    let mut merged: Option<Cursor> = None;
    for text in texts {
        let cursor = Cursor::parse(text)?;
        match &mut merged {
            None => merged = Some(cursor),
            Some(earlier) => {
                earlier
                    .merge(cursor)
                    .map_err(|error| invalid("cursor", error.to_string()))?;
            }
        }
    }
    Ok(merged)
}

async fn resolve_at(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    partition: PartitionId,
    position: StartPosition,
) -> Result<Offset, Problem> {
    let key = topic.key(partition);
    let named = |problem| of_partition(problem, topic, partition);
    let status = partitions.offsets(key).await.map_err(named)?;
    match position {
        StartPosition::Earliest => Ok(status.log_start),
        StartPosition::Latest => Ok(status.high_watermark),
        StartPosition::FromEnd(count) => {
            let back = status.high_watermark.get().saturating_sub(count);
            Ok(Offset::new(back).max(status.log_start))
        }
        StartPosition::Time(time_ms) => Ok(partitions
            .offset_at(key, time_ms)
            .await
            .map_err(named)?
            .max(status.log_start)),
        StartPosition::Offset(offset) => {
            if offset < status.log_start || offset > status.end {
                return Err(out_of_range(offset, &status));
            }
            Ok(offset)
        }
    }
}

async fn resolve_cursor(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    chosen: Vec<PartitionId>,
    cursor: &Cursor,
) -> Result<Vec<(PartitionId, Offset)>, Problem> {
    let is_stranger = cursor.topic_id != topic.id;
    let mut lost = is_stranger.then(|| {
        let detail = "the cursor is of an earlier topic of this name, which was deleted";
        Problem::new(ErrorCode::CursorExpired, detail)
    });
    let mut found = Vec::with_capacity(chosen.len());
    let mut places = Vec::with_capacity(chosen.len());
    for partition in chosen {
        let status = partitions.offsets(topic.key(partition)).await;
        let status = status.map_err(|problem| of_partition(problem, topic, partition))?;
        let asked = if is_stranger {
            None
        } else {
            cursor.positions.get(&partition)
        };
        let offset = asked.map_or(status.log_start, |position| position.offset);
        let reachable = offset.max(status.log_start).min(status.end);
        if reachable != offset && lost.is_none() {
            let row = topic.partition(partition);
            let truncated = row.is_some_and(|row| offset < row.truncate_before);
            lost = Some(cut_off(partition, offset, &status, truncated));
        }
        found.push((partition, reachable));
        places.push((partition, reachable, status.leader_epoch));
    }
    match lost {
        None => Ok(found),
        Some(problem) => Err(problem.with("next_cursor", encode_cursor(topic, places)?)),
    }
}

fn cut_off(
    partition: PartitionId,
    offset: Offset,
    status: &PartitionStatus,
    truncated: bool,
) -> Problem {
    let (code, why) = if truncated {
        (ErrorCode::LogTruncated, "was removed by truncation")
    } else if offset < status.log_start {
        (ErrorCode::CursorExpired, "was removed by retention")
    } else {
        (ErrorCode::LogTruncated, "was cut off")
    };
    Problem::new(
        code,
        format!("offset {offset} of partition {partition} {why}"),
    )
    .with("partition", partition.0)
    .with("log_start", status.log_start.get())
    .with("end", status.end.get())
}

fn out_of_range(offset: Offset, status: &PartitionStatus) -> Problem {
    let (log_start, end) = (status.log_start, status.end);
    let detail = format!("offset {offset} is outside of {log_start} to {end}");
    Problem::new(ErrorCode::OffsetOutOfRange, detail)
        .with("log_start", log_start.get())
        .with("end", end.get())
        .at("from", "outside of the log")
}
