//! Where a read starts: `from` or a cursor, what it means in one partition, and back.
//!
//! Every transport comes through here. Never a silent jump: a place that is no longer there is 410, a
//! number outside the log is 416 with its bounds.

use tidegate_proto::control::PartitionStatus;
use tidegate_proto::cursor::{Cursor, CursorStart};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{Offset, ReplicaKey, StartPosition};

use crate::partitions::Partitions;
use crate::query::invalid;

/// Where a reader asked to start.
#[derive(Clone, Debug)]
pub enum Start {
    /// The same word for every partition; a number only for one.
    At(StartPosition),
    /// Where an earlier read ended. Partitions it does not name start at the earliest record, because
    /// they are younger than the cursor, or that was wanted of them.
    Cursor(Cursor),
}

/// The text of a cursor. 400 `cursor_too_large` when it is over too many partitions.
pub fn encode_cursor(cursor: &Cursor) -> Result<String, Problem> {
    cursor.encode().map_err(|error| {
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

/// The offset that a word or number means in a partition that stands there.
pub(crate) async fn resolve_at(
    partitions: &dyn Partitions,
    key: ReplicaKey,
    position: StartPosition,
    status: &PartitionStatus,
) -> Result<Offset, Problem> {
    let is_from_end = matches!(position, StartPosition::Latest | StartPosition::FromEnd(_));
    if is_from_end && !status.is_latest_known {
        let detail = "its leader has just taken over, and does not know yet what is the latest";
        return Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1));
    }
    match position {
        StartPosition::Earliest => Ok(status.log_start),
        StartPosition::Latest => Ok(status.high_watermark),
        StartPosition::FromEnd(count) => {
            let back = status.high_watermark.get().saturating_sub(count);
            Ok(Offset::new(back).max(status.log_start))
        }
        StartPosition::Time(time_ms) => Ok(partitions
            .offset_at(key, time_ms)
            .await?
            .max(status.log_start)),
        StartPosition::Offset(offset) => {
            if offset < status.log_start || offset > status.end {
                return Err(out_of_range(offset, status));
            }
            Ok(offset)
        }
    }
}

/// The offset that a start means that was asked for while the partition could not be reached.
pub(crate) async fn resolve_start(
    partitions: &dyn Partitions,
    key: ReplicaKey,
    start: CursorStart,
    status: &PartitionStatus,
) -> Result<Offset, Problem> {
    let at = partitions.offset_at(key, start.time_ms).await?;
    let offset = Offset::new(at.get().saturating_sub(start.back));
    Ok(offset.max(status.log_start))
}

/// 410 for a place in a partition that is no longer there.
pub(crate) fn cut_off(
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
