//! The way of decoded records to their partitions: choose, batch, append, answer.
//!
//! Every transport that takes JSON or single records comes through here, so that the same records
//! land in the same places with the same answer. Invariant: all records of one partition of one
//! request are in one append, which is all or none.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_proto::api::records::{
    FailedRecord, ProduceAnswer, ProduceResult, ProduceResults, ProducedPartition, StoredRecord,
};
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::{TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX};
use tidegate_proto::position::Offset;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::RecordRef;

use crate::assemble::{Assembler, RequestStamp};
use crate::decode::json::decode_list;
use crate::decode::record::{Payload, Record};
use crate::encode::answer::trim_answer;
use crate::limits::APPEND_GRACE_MS;
use crate::metrics::{self, ProduceOutcome};
use crate::partitioner::for_key;
use crate::partitions::{AppendRequest, Appended};
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

/// What became of a request that was not refused as a whole.
#[derive(Clone, Debug)]
pub enum Produced {
    /// All records had the same fate: appended.
    Answer {
        answer: ProduceAnswer,
        /// By an earlier request.
        duplicate: bool,
    },
    /// Their fates differ.
    Results(ProduceResults),
}

/// Batches of one request, ready to be appended.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    groups: BTreeMap<PartitionId, Vec<ClientBatch>>,
    /// The partition of each run of records, in request order.
    assigned: Vec<(PartitionId, u32)>,
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

/// Appends the records of a JSON list, as a produce frame carries it, and counts the request.
///
/// # Errors
/// As `POST /v1/topics/{topic}/records` answers; pointers start at `/records`.
pub async fn append_json(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    records: &str,
) -> Result<Produced, Problem> {
    let plan = decode_list(records).and_then(|records| plan(state, topic, options, &records));
    let result = match plan {
        Ok(plan) => append_plan(state, topic, options, plan).await,
        Err(problem) => Err(problem),
    };
    metrics::produce_finished(outcome(&result));
    result
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
    let now_ms = tidegate_kit::clock::now_ms();
    let mut keyless = None;
    let mut assigned = Vec::with_capacity(records.len());
    let mut groups: BTreeMap<PartitionId, Assembler> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let partition = match choose(topic, options, record, index)? {
            Some(partition) => partition,
            None => *keyless.get_or_insert_with(|| state.round_robin().next(topic)),
        };
        assigned.push((partition, 1));
        let group = groups
            .entry(partition)
            .or_insert_with(|| Assembler::new(topic, options.stamp.clone()));
        let headers: Vec<(&str, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let record = RecordRef {
            timestamp_ms: record.timestamp_ms.unwrap_or(now_ms),
            key: record.key.datum(),
            value: record.value.datum(),
            headers: &headers,
        };
        group
            .push(&record)
            .map_err(|wrong| wrong.at(&format!("/records/{index}")))?;
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

/// Appends a plan: all partitions at once, each all or none.
pub(crate) async fn append_plan(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    mut plan: Plan,
) -> Result<Produced, Problem> {
    if plan.groups.len() == 1
        && let Some((partition, batches)) = plan.groups.pop_first()
    {
        let appended = append_batches(state, topic, options, partition, batches).await?;
        return Ok(answer(options, &[(partition, appended)]));
    }
    let appends = plan
        .groups
        .into_iter()
        .map(|(partition, batches)| async move {
            (
                partition,
                append_batches(state, topic, options, partition, batches).await,
            )
        });
    settle(options, &plan.assigned, join_all(appends).await)
}

/// One append to one partition.
pub(crate) async fn append_batches(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    partition: PartitionId,
    batches: Vec<ClientBatch>,
) -> Result<Appended, Problem> {
    let bytes: usize = batches.iter().map(ClientBatch::len).sum();
    let request = AppendRequest {
        batches,
        acks: options.acks,
        expected_end: options.expected_end,
        timeout: options.timeout,
    };
    // The node that appends knows best what became of the records when the deadline passes, so it is
    // given a moment to say so before we can only shrug.
    let patience = options.timeout + Duration::from_millis(APPEND_GRACE_MS);
    let append = state.partitions().append(topic.key(partition), request);
    let appended = tokio::time::timeout(patience, append)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("no answer within {} ms", options.timeout.as_millis());
            Err(Problem::new(ErrorCode::OutcomeUnknown, detail).side_effects(SideEffects::Possible))
        })?;
    if !appended.duplicate {
        metrics::produced(appended.count, bytes as u64);
    }
    Ok(appended)
}

/// 400 for a request with `Idempotency-Key` whose records belong to several partitions.
pub(crate) fn keyed_over_several() -> Problem {
    let detail = "a request with Idempotency-Key goes to one partition; its keys belong to several";
    Problem::new(ErrorCode::InvalidParameter, detail).at("/records", "of several partitions")
}

/// How a request counts.
pub(crate) fn outcome(result: &Result<Produced, Problem>) -> ProduceOutcome {
    match result {
        Ok(Produced::Answer {
            duplicate: true, ..
        }) => ProduceOutcome::Duplicate,
        Ok(Produced::Answer { .. }) => ProduceOutcome::Ok,
        Ok(Produced::Results(_)) => ProduceOutcome::Partial,
        Err(problem) if problem.status() < 500 => ProduceOutcome::Refused,
        Err(_) => ProduceOutcome::Failed,
    }
}

/// The answer when all went well.
pub(crate) fn answer(options: &AppendOptions, appended: &[(PartitionId, Appended)]) -> Produced {
    let duplicate = appended.iter().any(|(_, appended)| appended.duplicate);
    let durable = appended.iter().map(|(_, appended)| appended.durable).min();
    let partitions = appended
        .iter()
        .map(|(partition, appended)| ProducedPartition {
            partition: partition.0,
            base_offset: appended.base_offset.get(),
            count: appended.count,
            timestamp: appended.timestamp_ms,
        })
        .collect();
    let durable = durable.unwrap_or_else(|| options.acks.durable());
    let answer = trim_answer(
        ProduceAnswer {
            partitions,
            durable,
        },
        options.acks,
    );
    Produced::Answer { answer, duplicate }
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

fn settle(
    options: &AppendOptions,
    assigned: &[(PartitionId, u32)],
    fates: Vec<(PartitionId, Result<Appended, Problem>)>,
) -> Result<Produced, Problem> {
    let first_failure = fates.iter().find_map(|(_, fate)| fate.as_ref().err());
    let Some(first_failure) = first_failure else {
        let appended: Vec<_> = fates
            .iter()
            .filter_map(|(partition, fate)| Some((*partition, *fate.as_ref().ok()?)))
            .collect();
        return Ok(answer(options, &appended));
    };
    let is_same = |fate: &Result<Appended, Problem>| {
        fate.as_ref()
            .is_err_and(|problem| problem.code() == first_failure.code())
    };
    if fates.iter().all(|(_, fate)| is_same(fate)) {
        let is_possible = fates
            .iter()
            .any(|(_, fate)| fate.as_ref().is_err_and(|p| !p.is_definite()));
        let problem = first_failure.clone();
        return Err(if is_possible {
            problem.side_effects(SideEffects::Possible)
        } else {
            problem
        });
    }
    let fates: BTreeMap<_, _> = fates.into_iter().collect();
    let mut next: BTreeMap<PartitionId, u64> = BTreeMap::new();
    let mut results = Vec::new();
    for (partition, count) in assigned {
        let nth = next.entry(*partition).or_default();
        for _ in 0..*count {
            results.push(match &fates[partition] {
                Ok(appended) => ProduceResult::Stored(StoredRecord {
                    partition: partition.0,
                    offset: appended.base_offset.plus(*nth).get(),
                }),
                Err(problem) => ProduceResult::Failed(FailedRecord {
                    error: problem.clone(),
                }),
            });
            *nth += 1;
        }
    }
    Ok(Produced::Results(ProduceResults { results }))
}
