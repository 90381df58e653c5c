//! Which partitions a read is for and where it starts, out of its query.
//!
//! The same parameters for fetches and event streams; only the default of `from` differs.

use std::collections::BTreeSet;

use tidegate_proto::control::TopicSpec;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::Problem;
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::CURSORS_PER_REQUEST_MAX;
use tidegate_proto::position::StartPosition;

use crate::position::{Start, parse_cursors};
use crate::query::{Query, invalid};
use crate::topics::parse_partition;

/// What a read is for.
#[derive(Debug)]
pub(crate) struct Selection {
    /// `None` is all, those added later too.
    pub(crate) partitions: Option<Vec<PartitionId>>,
    pub(crate) start: Start,
}

impl Selection {
    /// Reads `from`, `cursor`, `last_event_id` and `partitions`. `resume` is what the client says it
    /// saw last, by a header; it counts more than the URL, which a browser repeats as it was.
    pub(crate) fn read(
        topic: &TopicSpec,
        partition: Option<PartitionId>,
        query: &Query<'_>,
        resume: Option<Cursor>,
        default: StartPosition,
    ) -> Result<Self, Problem> {
        let listed = query
            .one("partitions")?
            .map(|text| parse_list(topic, text))
            .transpose()?;
        let partitions = partition.map(|partition| vec![partition]).or(listed);
        let from: Option<StartPosition> = query.parsed("from")?;
        if query.all("cursor").count() > CURSORS_PER_REQUEST_MAX {
            return Err(invalid(
                "cursor",
                format!("given more than {CURSORS_PER_REQUEST_MAX} times"),
            ));
        }
        let last_event_id = query.one("last_event_id")?.filter(|text| !text.is_empty());
        let cursor = parse_cursors(query.all("cursor").chain(last_event_id))?;
        let start = match (resume.or(cursor), from) {
            (Some(cursor), None) => Start::Cursor(cursor),
            (Some(cursor), Some(_))
                if last_event_id.is_some() || query.all("cursor").count() == 0 =>
            {
                Start::Cursor(cursor)
            }
            (Some(_), Some(_)) => return Err(invalid("from", "given beside `cursor`; use one")),
            (None, from) => Start::At(from.unwrap_or(default)),
        };
        Ok(Self { partitions, start })
    }
}

fn parse_list(topic: &TopicSpec, text: &str) -> Result<Vec<PartitionId>, Problem> {
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        found.insert(parse_partition(topic, part.trim())?);
    }
    Ok(found.into_iter().collect())
}
