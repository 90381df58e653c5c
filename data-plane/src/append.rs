//! The way of planned batches to their partitions: append, answer.
//!
//! Every transport that takes JSON or single records comes through here, so that the same records
//! land in the same places with the same answer. Invariant: all records of one partition of one
//! request are in one append, which is all or none.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use tidegate_proto::api::records::{
    FailedRecord, ProduceAnswer, ProduceResult, ProduceResults, ProducedPartition, StoredRecord,
};
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::{Cleanup, TopicSpec};
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::id::PartitionId;

use crate::decode::batch::decode_batches;
use crate::decode::json::decode_list;
use crate::encode::answer::trim_answer;
use crate::metrics::ProduceOutcome;
use crate::partitions::{AppendRequest, Appended};
use crate::plan::{AppendOptions, Plan, plan};
use crate::state::DataPlane;
use crate::topics::of_partition;

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
    state.produce_counters().finished(outcome(&result));
    result
}

/// Appends the batches of a binary body to the partition that the options name, and counts the request.
///
/// # Errors
/// As `POST /v1/topics/{topic}/partitions/{partition}/records` answers.
pub async fn append_body(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    body: Bytes,
) -> Result<Produced, Problem> {
    let record_bytes_max = topic.config.max_record_bytes as usize;
    let batches = decode_batches(body, record_bytes_max).and_then(|batches| {
        let missing = || Problem::new(ErrorCode::InvalidParameter, "batches need a partition");
        Ok((options.partition.ok_or_else(missing)?, batches))
    });
    let options = AppendOptions {
        is_as_sent: true,
        ..options.clone()
    };
    let result = match batches {
        Ok((partition, batches)) => append_to_one(state, topic, &options, partition, batches).await,
        Err(problem) => Err(problem),
    };
    state.produce_counters().finished(outcome(&result));
    result
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
        return append_to_one(state, topic, options, partition, batches).await;
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

/// Appends what is for one partition and makes the answer.
pub(crate) async fn append_to_one(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    partition: PartitionId,
    batches: Vec<ClientBatch>,
) -> Result<Produced, Problem> {
    let appended = append_batches(state, topic, options, partition, batches).await?;
    Ok(answer(options, &[(partition, appended)]))
}

/// One append to one partition.
pub(crate) async fn append_batches(
    state: &DataPlane,
    topic: &TopicSpec,
    options: &AppendOptions,
    partition: PartitionId,
    batches: Vec<ClientBatch>,
) -> Result<Appended, Problem> {
    if topic.config.cleanup == Cleanup::Compact {
        batches.iter().try_for_each(check_keys)?;
    }
    let bytes: usize = batches.iter().map(ClientBatch::len).sum();
    let request = AppendRequest {
        batches,
        acks: options.acks,
        expected_end: options.expected_end,
        leader_epoch_min: None,
        may_stamp: !options.is_as_sent,
        timeout: options.timeout,
    };
    // The deadline is kept by the partitions, which alone know what became of the records.
    let appended = state
        .partitions()
        .append(topic.key(partition), request)
        .await
        .map_err(|problem| of_partition(problem, topic, partition))?;
    if !appended.duplicate {
        state
            .produce_counters()
            .produced(appended.count, bytes as u64);
    }
    Ok(appended)
}

/// Compaction keeps the newest record of each key: one without a key could never go.
fn check_keys(batch: &ClientBatch) -> Result<(), Problem> {
    for (index, record) in batch.records()?.iter().enumerate() {
        if record?.key.is_absent() {
            let detail = "the topic keeps the newest record of each key (cleanup=compact), and a \
                          record has no key: give every record a key, or send to a topic with \
                          cleanup=delete";
            return Err(Problem::new(ErrorCode::InvalidParameter, detail).with("record", index));
        }
    }
    Ok(())
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
