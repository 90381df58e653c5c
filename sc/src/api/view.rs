//! Rows as clients see them.
//!
//! Shapes only: states are computed by the core, facts of the log come from the leader's status.

use tidegate_proto::api::cluster::{Cluster, Controller as ControllerInfo, Spu};
use tidegate_proto::api::spu::SpuGroup;
use tidegate_proto::api::topic;
use tidegate_proto::control::PartitionStatus;
use tidegate_sc_core::groups::units_of;
use tidegate_sc_core::model::{Model, Topic};
use tidegate_sc_core::rows::{PartitionRow, SpuGroupRow, SpuKind, SpuRow};
use tidegate_sc_core::status::{partition_state, spu_status, topic_status};

use crate::controller::Controller;

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

pub(super) fn partition(row: &PartitionRow, status: Option<PartitionStatus>) -> topic::Partition {
    topic::Partition {
        partition: row.partition.0,
        state: partition_state(row),
        leader: row.leader,
        leader_epoch: row.leader_epoch.0,
        replicas: row.replicas.iter().map(|replica| replica.spu).collect(),
        isr: row.isr.iter().map(|member| member.spu).collect(),
        min_in_sync: row.min_isr,
        version: row.version,
        log_start: status.map(|status| status.log_start),
        high_watermark: status.map(|status| status.high_watermark),
        end: status.map(|status| status.end),
        size_bytes: status.map(|status| status.size_bytes),
        last_append_at: status.and_then(|status| status.last_append_ms),
        damage: status.and_then(|status| status.damage),
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

pub(super) fn cluster(controller: &Controller) -> Cluster {
    let model = controller.model();
    Cluster {
        cluster_id: model.cluster_id,
        revision: model.revision,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        controller: ControllerInfo {
            store: controller.store_name().to_owned(),
            started_at: controller.started_at_ms(),
        },
        spus: model.spus.values().filter(|row| !row.removed).count() as u64,
        topics: model.topics.len() as u64,
        partitions: model.partition_count(),
    }
}
