//! How the copies of partitions are, and what threatens a partition, computed from the rows.
//!
//! Nothing is stored and nothing is decided here. What only a leader knows, whether a copy follows it, is
//! passed in. Invariant: what is counted for the whole cluster is what is shown of each partition.

use tidegate_proto::api::topic::{CopyState, PartitionState};
use tidegate_proto::control::{IsrMember, SealAnswer};
use tidegate_proto::id::SpuId;

use crate::model::{Model, Topic};
use crate::rows::{PartitionRow, Seal};
use crate::rule::{Rule, holds};
use crate::status::partition_state;

/// Why what a copy answered to a survey proves nothing of what quorums stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Its unit is away, or registered again since.
    #[error("its storage unit went away since")]
    Away,
    /// Something that it acknowledged may be missing.
    #[error("its copy is damaged or may lack something")]
    NotIntact,
    /// It was made anew, or left the copies in sync before.
    #[error("its copy was not known to have everything")]
    NotVouched,
}

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
    if let Some(failed) = failed(model, row, spu) {
        return (CopyState::Detached, Some(failed));
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
            Some(surveyed(model, row, seal))
        }
        PartitionState::Offline if in_sync == 0 => Some(
            "none of its copies is known to have everything: `tidegate partition recover` finds out"
                .to_owned(),
        ),
        PartitionState::Offline => {
            let members = row.isr.iter().map(|member| {
                let has_failed = is_live(model, *member) && row.has_failed(member);
                let failed = if has_failed { " (its log failed)" } else { "" };
                format!("{}{failed}", member.spu)
            });
            let members: Vec<String> = members.collect();
            Some(format!(
                "none of the storage units that have everything is at hand: {}",
                members.join(", ")
            ))
        }
        PartitionState::Online if row.leader.is_some_and(|spu| failed(model, row, spu).is_some()) => {
            let why = row.leader.and_then(|spu| failed(model, row, spu))?;
            Some(format!("it is read, and not written: {why}"))
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

/// Why the answer does not count towards those that a recovery without loss needs; none when it does.
#[must_use]
pub fn doubt(model: &Model, row: &PartitionRow, answer: &SealAnswer) -> Option<Doubt> {
    doubted(row, answer, is_live(model, answer.member))
}

/// The same of an answer whose unit takes part under the registration that it answered in, or does not.
pub(crate) fn doubted(row: &PartitionRow, answer: &SealAnswer, is_live: bool) -> Option<Doubt> {
    // One on a disk that was replaced is whole, and knows nothing of what quorums counted.
    let replica = row.replica(answer.member.spu);
    let is_vouched = replica.is_some_and(|own| own.vouched) || row.isr.contains(&answer.member);
    if !is_live {
        Some(Doubt::Away)
    } else if !answer.intact {
        Some(Doubt::NotIntact)
    } else if !holds(Rule::SurveyVouched, is_vouched) {
        Some(Doubt::NotVouched)
    } else {
        None
    }
}

/// How far a survey is: what is there, what counts, and what whoever waits for it can do.
fn surveyed(model: &Model, row: &PartitionRow, seal: &Seal) -> String {
    let doubts = seal.answers.iter().filter_map(|answer| {
        let (spu, doubt) = (answer.member.spu, doubt(model, row, answer)?);
        Some(format!("; that of {spu} does not count: {doubt}"))
    });
    let doubts: Vec<String> = doubts.collect();
    let (answers, needed) = (seal.answers.len(), seal.answers_needed);
    let counted = answers - doubts.len();
    let is_over = answers == row.replicas.len() && row.moving.is_none();
    let way_out = match is_over && counted < usize::from(needed) {
        true => "; nobody else can be asked: cancel the recovery, and accept the loss or wait",
        false => "",
    };
    format!(
        "it is closed, and its copies are asked what they hold: {answers} answered, {counted} of them count, \
         {needed} are needed{}{way_out}",
        doubts.concat()
    )
}

/// Copies that there should be.
fn wanted(topic: &Topic, row: &PartitionRow) -> usize {
    row.replicas
        .len()
        .max(usize::from(topic.row.replication_factor))
}

/// Why a copy takes nothing, if its log failed under its unit's registration.
fn failed(model: &Model, row: &PartitionRow, spu: SpuId) -> Option<String> {
    let incarnation = model.spu(spu)?.incarnation;
    let has_failed = row.has_failed(&IsrMember { spu, incarnation });
    has_failed.then(|| {
        format!(
            "its log failed on storage unit {spu} and takes nothing until the unit is started anew \
             or the copy is replaced"
        )
    })
}

/// Members of the in-sync set that work and take part under the registration they were admitted with.
fn live<'a>(model: &'a Model, row: &'a PartitionRow) -> impl Iterator<Item = SpuId> + 'a {
    let members = row.isr.iter();
    members
        .filter(move |member| is_live(model, **member) && !row.has_failed(member))
        .map(|member| member.spu)
}

fn is_live(model: &Model, member: IsrMember) -> bool {
    let unit = model.spu(member.spu);
    unit.is_some_and(|unit| !unit.fenced && unit.incarnation == member.incarnation)
}
