//! Which partition every record of a request goes to, and the batches made of them.
//!
//! Nothing is appended here. Invariant: the same records with the same options make the same batches,
//! but for the partition of keyless ones and the time of those that carry none.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_kit::clock;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::{TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX};
use tidegate_proto::position::Offset;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::RecordRef;

use crate::assemble::{Assembler, NotTaken, RequestStamp};
use crate::decode::record::{Header, Payload, Record};
use crate::partitioner::for_key;
use crate::state::DataPlane;
use crate::topics::check_partition;

/// How the records of a request are to be appended.
#[derive(Clone, Debug)]
pub struct AppendOptions {
    /// The partition of the whole request; else each record's own, its key's, or round robin.
    pub partition: Option<PartitionId>,
    /// How durable before the answer.
    pub acks: Acks,
    /// The deadline, counted from the append.
    pub timeout: Duration,
    /// Who sends it, for exactly-once. Only with a partition.
    pub stamp: RequestStamp,
    /// Append only if the end is here. Only with a partition.
    pub expected_end: Option<Offset>,
    /// The batches are the client's own: they are stored as they come.
    pub is_as_sent: bool,
}

impl AppendOptions {
    /// What a request gets that asks for nothing.
    pub fn of(topic: &TopicSpec) -> Self {
        Self {
            partition: None,
            acks: topic.config.acks,
            timeout: Duration::from_millis(TIMEOUT_MS_DEFAULT),
            stamp: RequestStamp::default(),
            expected_end: None,
            is_as_sent: false,
        }
    }

    /// With what a client asked for beside the records. 400 for a deadline out of bounds, 404 for a
    /// partition that is not there.
    pub fn asked(
        topic: &TopicSpec,
        partition: Option<PartitionId>,
        acks: Option<Acks>,
        timeout_ms: Option<u64>,
    ) -> Result<Self, Problem> {
        let mut options = Self::of(topic);
        options.partition = partition
            .map(|asked| check_partition(topic, asked))
            .transpose()?;
        options.acks = acks.unwrap_or(options.acks);
        if let Some(timeout_ms) = timeout_ms {
            if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
                let detail = format!("`timeout_ms` must be from 1 to {TIMEOUT_MS_MAX}");
                return Err(Problem::new(ErrorCode::InvalidParameter, detail)
                    .at("/timeout_ms", "out of bounds"));
            }
            options.timeout = Duration::from_millis(timeout_ms);
        }
        Ok(options)
    }
}

/// Batches of one request, ready to be appended.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) groups: BTreeMap<PartitionId, Vec<ClientBatch>>,
    /// The partition of each run of records, in request order.
    pub(crate) assigned: Vec<(PartitionId, u32)>,
}

impl Plan {
    /// Adds a batch behind those there are.
    pub(crate) fn add(&mut self, partition: PartitionId, batch: ClientBatch) {
        self.assigned.push((partition, batch.record_count()));
        self.groups.entry(partition).or_default().push(batch);
    }

    /// How many records there are.
    pub(crate) fn record_count(&self) -> u64 {
        self.assigned
            .iter()
            .map(|(_, count)| u64::from(*count))
            .sum()
    }

    /// How many partitions they are for.
    pub(crate) fn partition_count(&self) -> usize {
        self.groups.len()
    }
}

/// Gives every record its partition and packs the batches.
pub(crate) fn plan(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    records: &[Record<'_>],
) -> Result<Plan, Problem> {
    if options.stamp.request_key.is_some() {
        refuse_mixed_times(records)?;
    }
    let now_ms = clock::now_ms();
    let mut keyless = None;
    let mut assigned = Vec::with_capacity(records.len());
    let mut groups: BTreeMap<PartitionId, Assembler> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let partition = match choose(topic, options, record, index)? {
            Some(partition) => partition,
            None => *keyless.get_or_insert_with(|| state.next_partition(topic)),
        };
        assigned.push((partition, 1));
        let group = groups
            .entry(partition)
            .or_insert_with(|| Assembler::new(topic, options.stamp.clone()));
        push(group, record, now_ms).map_err(|wrong| wrong.at(&format!("/records/{index}")))?;
    }
    if groups.len() > 1 && options.stamp.request_key.is_some() {
        return Err(keyed_over_several());
    }
    let groups = groups
        .into_iter()
        .map(|(partition, mut group)| Ok((partition, group.take()?)))
        .collect::<Result<_, Problem>>()?;
    Ok(Plan { groups, assigned })
}

/// The batch of the one record that a whole body is, and its partition: as [`plan`] does it, without
/// what that needs to keep several apart.
pub(crate) fn pack_one(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    record: &Record<'_>,
) -> Result<(PartitionId, Vec<ClientBatch>), Problem> {
    let partition = match choose(topic, options, record, 0)? {
        Some(partition) => partition,
        None => state.next_partition(topic),
    };
    let mut assembler = Assembler::new(topic, options.stamp.clone());
    push(&mut assembler, record, clock::now_ms()).map_err(|wrong| wrong.at("/records/0"))?;
    Ok((partition, assembler.take()?))
}

fn push(assembler: &mut Assembler, record: &Record<'_>, now_ms: i64) -> Result<(), NotTaken> {
    fn view<'a>((name, value): &'a Header<'_>) -> (&'a str, &'a [u8]) {
        (name, value)
    }
    let (one, several);
    let headers: &[(&str, &[u8])] = match &*record.headers {
        [] => &[],
        [header] => {
            one = [view(header)];
            &one
        }
        headers => {
            several = headers.iter().map(view).collect::<Vec<_>>();
            &several
        }
    };
    assembler.push(&RecordRef {
        timestamp_ms: record.timestamp_ms.unwrap_or(now_ms),
        key: record.key.datum(),
        value: record.value.datum(),
        headers,
    })
}

/// 400 for a request with `Idempotency-Key` whose records belong to several partitions.
pub(crate) fn keyed_over_several() -> Problem {
    let detail = "a request with Idempotency-Key goes to one partition; its keys belong to several";
    Problem::new(ErrorCode::InvalidParameter, detail).at("/records", "of several partitions")
}

/// The partition that a record asks for, if it does.
fn choose(
    topic: &TopicSpec,
    options: &AppendOptions,
    record: &Record<'_>,
    index: usize,
) -> Result<Option<PartitionId>, Problem> {
    let pointer = || format!("/records/{index}/partition");
    if let Some(asked) = record.partition {
        return match options.partition {
            None => check_partition(topic, asked)
                .map(Some)
                .map_err(|problem| problem.at(pointer(), "no such partition")),
            Some(partition) if partition == asked => Ok(Some(partition)),
            Some(partition) => {
                let detail = format!("the request is for partition {partition}");
                Err(Problem::new(ErrorCode::InvalidParameter, detail.as_str())
                    .at(pointer(), detail))
            }
        };
    }
    if options.partition.is_some() {
        return Ok(options.partition);
    }
    Ok(match (&record.key, options.stamp.request_key) {
        (Payload::Absent, Some(request_key)) => Some(for_key(topic, &request_key)),
        (Payload::Absent, None) => None,
        (key, _) => key.datum().as_bytes().map(|key| for_key(topic, key)),
    })
}

/// A repeated request is recognised by its records, in which times are kept as differences to the
/// first. Where some are given and some are the moment of arrival, those change every time.
fn refuse_mixed_times(records: &[Record<'_>]) -> Result<(), Problem> {
    let timed = records
        .iter()
        .filter(|record| record.timestamp_ms.is_some())
        .count();
    if timed == 0 || timed == records.len() {
        return Ok(());
    }
    let detail = "with Idempotency-Key either all records carry a timestamp or none";
    Err(Problem::new(ErrorCode::InvalidParameter, detail).at("/records", "timestamps are missing"))
}
