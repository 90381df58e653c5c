//! Who leads a partition (L1, L2), and what becomes of it when a unit is shut out.
//!
//! Invariants: only a live member of the in-sync set is elected; every election, and every change of
//! the replica set, has an epoch of its own; a partition that is sealed elects nobody.

use tidegate_proto::control::IsrMember;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::LeaderEpoch;

use crate::draft::Draft;
use crate::rows::PartitionRow;
use crate::rule::{Rule, holds};

/// True when the unit takes part under the registration that the member was admitted with.
pub(crate) fn is_live(draft: &Draft<'_>, member: &IsrMember) -> bool {
    draft
        .spu(member.spu)
        .is_some_and(|row| !row.fenced && row.incarnation == member.incarnation)
}

/// True when `spu` may lead: in sync, live, its log works, and the partition is not sealed.
///
/// The only copy there is may lead with a log that failed: what it has is read, and nobody else can.
pub(crate) fn may_lead(draft: &Draft<'_>, row: &PartitionRow, spu: SpuId) -> bool {
    let mut members = row.isr.iter().filter(|member| member.spu == spu);
    let works = |member: &IsrMember| row.replicas.len() == 1 || !row.has_failed(member);
    row.seal.is_none()
        && members
            .any(|member| is_live(draft, member) && holds(Rule::FailedLeadsNot, works(member)))
}

/// The best leader there is: in preferred order, those that stay before those that go.
pub(crate) fn candidate(draft: &Draft<'_>, row: &PartitionRow) -> Option<SpuId> {
    let live = row.replicas.iter().enumerate();
    let live = live.filter(|(_, replica)| may_lead(draft, row, replica.spu));
    let best = live.min_by_key(|(order, replica)| {
        let spu = replica.spu;
        let leaves = row.removing().any(|gone| gone == spu);
        let drains = draft.spu(spu).is_some_and(|unit| unit.draining);
        (leaves || drains, *order)
    });
    best.map(|(_, replica)| replica.spu)
}

/// Makes `leader` lead in a new epoch, above `accepted` too.
pub(crate) fn lead(row: &mut PartitionRow, leader: Option<SpuId>, accepted: LeaderEpoch) {
    row.leader = leader;
    row.leader_epoch = LeaderEpoch(row.leader_epoch.0.max(accepted.0) + 1);
}

/// L1: elects the best candidate. Without one, the partition has no leader (L2).
pub(crate) fn elect(draft: &Draft<'_>, row: &mut PartitionRow, accepted: LeaderEpoch) {
    let leader = candidate(draft, row);
    if leader.is_some() || row.leader.is_some() {
        lead(row, leader, accepted);
    }
}

/// Shuts a unit out and finds other leaders for what it led. The draft has to hold it.
///
/// It leaves the in-sync sets as far as I1 allows: the members that stay are complete.
pub(crate) fn fence(draft: &mut Draft<'_>, spu: SpuId) {
    let Some(row) = draft.spu(spu) else {
        return;
    };
    let mut row = row.clone();
    row.fenced = true;
    draft.put_spu(row);
    for key in draft.model().held_by(spu) {
        let Some(partition) = draft.partition(key) else {
            continue;
        };
        let led = partition.leader == Some(spu);
        let is_enough = partition.isr.len() > usize::from(partition.min_isr);
        let shrinks = partition.has_in_sync(spu) && holds(Rule::FenceFloor, is_enough);
        if !led && !shrinks {
            continue;
        }
        let mut partition = partition.clone();
        if shrinks {
            partition.isr.retain(|member| member.spu != spu);
        }
        if led {
            elect(draft, &mut partition, LeaderEpoch(0));
        }
        draft.put_partition(partition);
    }
}
