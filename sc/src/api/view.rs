//! Rows as clients see them.
//!
//! Shapes only: states are computed by the core, facts of the log come from the leader's status.

use tidegate_kit::clock;
use tidegate_proto::api::cluster::{Cluster, Controller as ControllerInfo, Spu};
use tidegate_proto::api::operation::{Operation, OperationState, OperationType, Progress};
use tidegate_proto::api::spu::SpuGroup;
use tidegate_proto::api::topic::{self, CopyState};
use tidegate_proto::control::Loss;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::Offset;
use tidegate_sc_core::groups::units_of;
use tidegate_sc_core::health::{
    copy_state, doubt, is_below_min_in_sync, is_under_replicated, partition_reason,
};
use tidegate_sc_core::model::{Model, Topic};
use tidegate_sc_core::rows::{
    OperationKind, OperationRow, PartitionRow, SpuGroupRow, SpuKind, SpuRow,
};
use tidegate_sc_core::status::{partition_state, spu_status, topic_status};

use crate::controller::{Controller, Reported};

pub(super) fn topic(model: &Model, topic: &Topic) -> topic::Topic {
    let row = &topic.row;
    topic::Topic {
        id: row.id,
        name: row.name.clone(),
        partitions: row.partitions,
        replication_factor: row.replication_factor,
        min_in_sync: row.effective_min_in_sync(),
        placement: row.placement,
        config: row.config.clone(),
        version: row.version,
        status: topic_status(model, topic),
        created_at: row.created_at_ms,
        updated_at: row.updated_at_ms,
    }
}

pub(super) fn partition(
    model: &Model,
    topic: &Topic,
    row: &PartitionRow,
    reported: Option<&Reported>,
) -> topic::Partition {
    let status = reported.map(|reported| reported.status);
    let replicas = row.replicas.iter().map(|replica| replica.spu);
    topic::Partition {
        partition: row.partition.0,
        state: partition_state(row),
        reason: partition_reason(model, topic, row),
        leader: row.leader,
        leader_epoch: row.leader_epoch.0,
        replicas: replicas.clone().collect(),
        isr: row.isr.iter().map(|member| member.spu).collect(),
        min_in_sync: row.min_isr,
        copies: replicas
            .map(|spu| copy(model, row, spu, reported))
            .collect(),
        under_replicated: is_under_replicated(topic, row),
        below_min_in_sync: is_below_min_in_sync(model, row),
        survey: survey(model, row, status.map(|status| status.high_watermark)),
        losses: row.losses.iter().map(accepted_loss).collect(),
        version: row.version,
        log_start: status.map(|status| status.log_start),
        high_watermark: status.map(|status| status.high_watermark),
        end: status.map(|status| status.end),
        size_bytes: status.map(|status| status.size_bytes),
        last_append_at: status.and_then(|status| status.last_append_ms),
        damage: status.and_then(|status| status.damage),
        as_of: reported.map(|reported| clock::wall_ms(reported.as_of)),
    }
}

fn accepted_loss(loss: &Loss) -> topic::AcceptedLoss {
    topic::AcceptedLoss {
        before_epoch: loss.before.0,
        from: loss.from,
    }
}

/// What was found out of a partition that is closed to be recovered; `committed` is what its last leader said.
fn survey(
    model: &Model,
    row: &PartitionRow,
    committed: Option<Offset>,
) -> Option<topic::PartitionSurvey> {
    let seal = row.seal.as_ref().filter(|_| row.moving.is_none())?;
    let answers = seal.answers.iter();
    let has_answered = |spu: SpuId| seal.answers.iter().any(|answer| answer.member.spu == spu);
    let replicas = row.replicas.iter().map(|replica| replica.spu);
    let kept = answers
        .clone()
        .map(|answer| (answer.last_epoch, answer.end));
    let kept_to = kept.max().map(|(_, end)| end);
    let counted = answers
        .clone()
        .filter(|answer| doubt(model, row, answer).is_none());
    Some(topic::PartitionSurvey {
        operation: seal.operation,
        accepts_loss: seal.accept_loss,
        answers_needed: seal.answers_needed,
        answers_counted: u16::try_from(counted.count()).unwrap_or(u16::MAX),
        kept_to,
        committed_to: committed,
        records_at_stake: kept_to
            .zip(committed)
            .map(|(kept, committed)| committed.get().saturating_sub(kept.get())),
        answers: answers
            .map(|answer| topic::SurveyAnswer {
                spu: answer.member.spu,
                last_epoch: answer.last_epoch.0,
                log_start: answer.log_start,
                end: answer.end,
                intact: answer.intact,
                doubt: doubt(model, row, answer).map(|doubt| doubt.to_string()),
            })
            .collect(),
        silent: replicas.filter(|spu| !has_answered(*spu)).collect(),
    })
}

/// How far a copy is counts from when its leader said so, and only in the epoch that the row is in; of what
/// nobody leads, what the last leader said.
fn copy(
    model: &Model,
    row: &PartitionRow,
    spu: SpuId,
    reported: Option<&Reported>,
) -> topic::PartitionCopy {
    let is_current = |reported: &&Reported| {
        row.leader.is_none() || reported.status.leader_epoch == row.leader_epoch
    };
    let current = reported.filter(is_current);
    let said = current.and_then(|reported| {
        let said = reported.copies.iter().find(|copy| copy.spu == spu)?;
        Some((reported, said))
    });
    let follows = said.map(|(_, said)| said.end.is_some());
    let (state, reason) = copy_state(model, row, spu, follows);
    let is_leading = state == CopyState::Leading;
    let end = match is_leading {
        true => current.map(|reported| reported.status.end),
        false => said.and_then(|(_, said)| said.end),
    };
    let leaders = current.map(|reported| reported.status.end);
    let behind = leaders.zip(end);
    let lag_ms = said.map(|(reported, said)| {
        let since = said.behind_since_ms;
        let as_of_ms = clock::wall_ms(reported.as_of);
        since.map_or(0, |since| {
            as_of_ms.saturating_sub(since).max(0).unsigned_abs()
        })
    });
    topic::PartitionCopy {
        spu,
        state,
        reason,
        end,
        lag_records: behind.map(|(leaders, end)| leaders.get().saturating_sub(end.get())),
        lag_ms: if is_leading { Some(0) } else { lag_ms },
    }
}

pub(super) fn spu(model: &Model, row: &SpuRow) -> Spu {
    let (replicas, leaders) = model.load(row.spu);
    Spu {
        id: row.spu,
        kind: row.kind,
        group: match row.kind {
            SpuKind::Managed => Some(row.group.clone().unwrap_or_default()),
            SpuKind::Custom => None,
        },
        rack: row.rack.clone(),
        site: row.site.clone(),
        labels: row.labels.clone(),
        endpoints: row.endpoints.clone(),
        incarnation: row.incarnation.0,
        status: spu_status(model, row),
        replicas,
        leaders,
        version: row.version,
    }
}

pub(super) fn spu_group(model: &Model, row: &SpuGroupRow) -> SpuGroup {
    SpuGroup {
        name: row.name.clone(),
        replicas: row.replicas,
        units: units_of(model, &row.name),
        first_id: row.first_id,
        racks: row.racks.clone(),
        site: row.site.clone(),
        version: row.version,
        created_at: row.created_at_ms,
        updated_at: row.updated_at_ms,
    }
}

pub(super) fn operation(model: &Model, row: &OperationRow) -> Operation {
    let (kind, spu, recovered) = match row.kind {
        OperationKind::Reassign => (OperationType::Reassign, None, None),
        OperationKind::Rebalance => (OperationType::Rebalance, None, None),
        OperationKind::Drain { spu } => (OperationType::Drain, Some(spu), None),
        OperationKind::Recover { partition } => (OperationType::Recover, None, Some(partition)),
    };
    let topic = recovered.and_then(|key| model.topic_by_id(key.topic_id));
    Operation {
        id: row.id,
        kind,
        spu,
        topic: topic.map(|topic| topic.row.name.clone()),
        partition: recovered.map(|key| key.partition),
        state: row.state,
        reason: row.reason.clone(),
        progress: row.progress,
        throttle: row.throttle,
        version: row.version,
        created_at: row.created_at_ms,
        updated_at: row.updated_at_ms,
        ended_at: row.ended_at_ms,
        expected_end_at: expected_end_ms(row),
    }
}

/// As fast as from its beginning to its last step.
fn expected_end_ms(row: &OperationRow) -> Option<i64> {
    let Progress {
        total,
        done,
        failed,
    } = row.progress;
    let behind = i64::try_from(done + failed)
        .ok()
        .filter(|count| *count > 0)?;
    let ahead = i64::try_from(total.checked_sub(done + failed)?).ok()?;
    let elapsed_ms = row.updated_at_ms.checked_sub(row.created_at_ms)?;
    if row.state != OperationState::Running || ahead == 0 {
        return None;
    }
    let left_ms = elapsed_ms.checked_mul(ahead)? / behind;
    row.updated_at_ms.checked_add(left_ms)
}

pub(super) fn cluster(controller: &Controller) -> Cluster {
    let shown = controller.shown();
    let model = &shown.model;
    Cluster {
        cluster_id: model.cluster_id,
        revision: model.revision,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        controller: ControllerInfo {
            store: controller.store_name().to_owned(),
            store_id: Some(shown.seen.store_id),
            started_at: controller.started_at_ms(),
        },
        spus: model.spus.values().filter(|row| !row.removed).count() as u64,
        topics: model.topics.len() as u64,
        partitions: model.partition_count(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::api::operation::Throttle;
    use tidegate_proto::id::OperationId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_end_is_expected_at_the_speed_so_far_and_only_while_something_is_known() {
        let row = |state, total, done, failed| OperationRow {
            id: OperationId(Uuid::nil()),
            version: 1,
            kind: OperationKind::Rebalance,
            state,
            reason: None,
            progress: Progress {
                total,
                done,
                failed,
            },
            throttle: Throttle {
                partitions_at_once: 1,
                bytes_per_second: None,
            },
            only_empty: false,
            created_at_ms: 1_000,
            updated_at_ms: 3_000,
            ended_at_ms: None,
        };
        let running = OperationState::Running;
        let rows = [
            (row(running, 10, 4, 0), Some(6_000)),
            (row(running, 10, 3, 1), Some(6_000)),
            (row(running, 10, 0, 0), None),
            (row(running, 10, 10, 0), None),
            (row(OperationState::Cancelling, 10, 4, 0), None),
            (row(OperationState::Done, 10, 4, 0), None),
            (row(running, u64::MAX, 4, 0), None),
        ];
        for (row, expected) in rows {
            assert_eq!(expected_end_ms(&row), expected, "{row:?}");
        }
    }
}
