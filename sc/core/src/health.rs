//! How the copies of partitions are, and what threatens a partition, computed from the rows.
//!
//! Nothing is stored and nothing is decided here. What only a leader knows, whether a copy follows it, is
//! passed in. Invariant: what is counted for the whole cluster is what is shown of each partition.

use tidegate_proto::api::topic::{CopyState, PartitionState};
use tidegate_proto::id::SpuId;

use crate::model::{Model, Topic};
use crate::rows::PartitionRow;
use crate::status::partition_state;

/// How many partitions are not as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthCounts {
    /// They have copies, and nobody leads them.
    pub offline: u64,
    /// Fewer copies are in sync than are wanted.
    pub under_replicated: u64,
    /// Fewer copies are in sync and at hand than a quorum append needs.
    pub below_min_in_sync: u64,
}

impl HealthCounts {
    /// Those of the whole cluster.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let mut counts = Self::default();
        for topic in model.topics.values() {
            for row in &topic.partitions {
                let is_offline = partition_state(row) == PartitionState::Offline;
                counts.offline += u64::from(is_offline);
                counts.under_replicated += u64::from(is_under_replicated(topic, row));
                counts.below_min_in_sync += u64::from(is_below_min_in_sync(model, row));
            }
        }
        counts
    }
}

/// Whether fewer copies are in sync than are wanted; never of a partition that has no place yet.
#[must_use]
pub fn is_under_replicated(topic: &Topic, row: &PartitionRow) -> bool {
    row.is_placed() && row.isr.len() < wanted(topic, row)
}

/// Whether fewer copies are in sync and at hand than a quorum append needs; never of a partition that has
/// no place yet.
#[must_use]
pub fn is_below_min_in_sync(model: &Model, row: &PartitionRow) -> bool {
    row.is_placed() && live(model, row).count() < usize::from(row.min_isr)
}

/// How the copy on `spu` is; `follows` is what the leader said of it, if anything.
#[must_use]
pub fn copy_state(
    model: &Model,
    row: &PartitionRow,
    spu: SpuId,
    follows: Option<bool>,
) -> (CopyState, Option<String>) {
    if row.leader == Some(spu) {
        return (CopyState::Leading, None);
    }
    let away = match model.spu(spu) {
        None => Some("was removed"),
        Some(unit) if !unit.is_registered() => Some("has not registered yet"),
        Some(unit) if unit.fenced => Some("is shut out until it registers again"),
        Some(_) => None,
    };
    if let Some(away) = away {
        let reason = format!("storage unit {spu} {away}");
        return (CopyState::Offline, Some(reason));
    }
    if live(model, row).any(|member| member == spu) {
        return (CopyState::InSync, None);
    }
    let (state, reason) = match (row.leader, follows) {
        (None, _) => (CopyState::Detached, "nobody leads the partition"),
        (Some(_), Some(true)) => (
            CopyState::CatchingUp,
            "it does not have all that is committed yet",
        ),
        (Some(_), Some(false)) => (CopyState::Detached, "it does not follow the leader now"),
        (Some(_), None) => (CopyState::Detached, "the leader has not said how it is"),
    };
    (state, Some(reason.to_owned()))
}

/// Why a partition is not online, or what threatens it.
#[must_use]
pub fn partition_reason(model: &Model, topic: &Topic, row: &PartitionRow) -> Option<String> {
    let in_sync = row.isr.len();
    match partition_state(row) {
        PartitionState::Unplaced => Some("no storage unit has room for it yet".to_owned()),
        PartitionState::Offline if row.seal.is_some() => {
            let seal = row.seal.as_ref()?;
            let (answers, needed) = (seal.answers.len(), seal.answers_needed);
            Some(format!(
                "it is closed, and its copies are asked what they hold: {answers} answered, {needed} are \
                 needed"
            ))
        }
        PartitionState::Offline if in_sync == 0 => Some(
            "none of its copies is known to have everything: `tidegate partition recover` finds out"
                .to_owned(),
        ),
        PartitionState::Offline => {
            let members = row.isr.iter().map(|member| member.spu.to_string());
            let members: Vec<String> = members.collect();
            Some(format!(
                "none of the storage units that have everything is at hand: {}",
                members.join(", ")
            ))
        }
        PartitionState::Online if is_below_min_in_sync(model, row) => {
            let (live, needed) = (live(model, row).count(), row.min_isr);
            Some(format!(
                "{live} of the {needed} copies that acks=quorum needs are in sync and at hand"
            ))
        }
        PartitionState::Online if is_under_replicated(topic, row) => {
            let wanted = wanted(topic, row);
            Some(format!("{in_sync} of {wanted} copies are in sync"))
        }
        PartitionState::Online => None,
    }
}

/// Copies that there should be.
fn wanted(topic: &Topic, row: &PartitionRow) -> usize {
    row.replicas
        .len()
        .max(usize::from(topic.row.replication_factor))
}

/// Members of the in-sync set that take part under the registration they were admitted with.
fn live<'a>(model: &'a Model, row: &'a PartitionRow) -> impl Iterator<Item = SpuId> + 'a {
    let is_live = |spu, incarnation| {
        let unit = model.spu(spu);
        unit.is_some_and(|unit| !unit.fenced && unit.incarnation == incarnation)
    };
    let members = row.isr.iter();
    members
        .filter(move |member| is_live(member.spu, member.incarnation))
        .map(|member| member.spu)
}
