//! Changes of in-sync sets, as their leaders propose them (I1, I2, I3).
//!
//! A list goes in, one transaction and an outcome per row come out. Invariants: a set never shrinks below
//! `min_isr` here; a member is added only as the replica and under the registration that the row and
//! the unit's row name now.

use std::collections::BTreeSet;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::{IsrCandidate, IsrMember, IsrOutcome, IsrProposal, IsrRefusal};
use tidegate_proto::id::{Incarnation, SpuId};

use crate::change::Change;
use crate::decision::{Decision, Outcome};
use crate::draft::{Draft, Guards};
use crate::elect::is_live;
use crate::limits::ISR_PROPOSALS_MAX;
use crate::membership::current;
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::PartitionRow;
use crate::rule::{Rule, holds};
use crate::settle::follow_min_isr;

/// Judges each proposal of the unit `leader` alone; a refused one does not hinder the others.
pub(crate) fn change_isr(
    model: &Model,
    leader: SpuId,
    incarnation: Incarnation,
    proposals: &[IsrProposal],
) -> Result<Decision, Refusal> {
    current(model, leader, incarnation)?;
    if proposals.len() > ISR_PROPOSALS_MAX {
        let what = format!("at most {ISR_PROPOSALS_MAX} at a time");
        return Err(Refusal::Invalid(vec![Fault::new("/proposals", what)]));
    }
    let proposer = IsrMember {
        spu: leader,
        incarnation,
    };
    let draft = Draft::new(model);
    let mut guards = Guards::new(model);
    let (mut changes, mut outcomes) = (Vec::new(), Vec::with_capacity(proposals.len()));
    let mut seen = BTreeSet::new();
    for proposal in proposals {
        let row = model
            .partition(proposal.key)
            .filter(|_| seen.insert(proposal.key));
        let Some(row) = row else {
            outcomes.push(IsrOutcome::Refused {
                reason: IsrRefusal::Unknown,
                version: 0,
            });
            continue;
        };
        if let Some(reason) = fault(&draft, row, proposer, proposal) {
            let version = row.version;
            outcomes.push(IsrOutcome::Refused { reason, version });
            continue;
        }
        let row = changed(&draft, row, proposal);
        let version = row.version;
        outcomes.push(IsrOutcome::Accepted { version });
        guards.rely_on(&row);
        changes.push(Change::PutPartition(row));
    }
    Ok(Decision {
        result: WriteResult::Updated,
        changes,
        guards: guards.list(),
        outcome: Outcome::Isr(outcomes),
        ..Decision::unchanged()
    })
}

/// What stands against a proposal.
fn fault(
    draft: &Draft<'_>,
    row: &PartitionRow,
    proposer: IsrMember,
    proposal: &IsrProposal,
) -> Option<IsrRefusal> {
    let leads = row.leader == Some(proposer.spu)
        && row.leader_epoch == proposal.leader_epoch
        && row.isr.contains(&proposer);
    if !holds(Rule::ProposerLeads, leads) {
        return Some(IsrRefusal::NotLeader);
    }
    if !holds(Rule::ProposalVersion, row.version == proposal.version) {
        return Some(IsrRefusal::Stale);
    }
    let mut units = BTreeSet::new();
    for candidate in &proposal.isr {
        let IsrMember { spu, .. } = candidate.member;
        let replica = row.replica(spu);
        let is_same = replica.is_some_and(|own| own.replica_gen == candidate.replica_gen);
        let is_replica = replica.is_some() && holds(Rule::AddedReplicaGen, is_same);
        if !is_replica || !units.insert(spu) {
            return Some(IsrRefusal::NotReplica);
        }
        // One that stays may be shut out: it is the leader that sees whether it still acks.
        let stays = row.isr.contains(&candidate.member);
        if !stays && !holds(Rule::AddedIncarnation, is_live(draft, &candidate.member)) {
            return Some(IsrRefusal::NotCurrent);
        }
        if !stays && row.has_failed(&candidate.member) {
            return Some(IsrRefusal::NotCurrent);
        }
    }
    if !units.contains(&proposer.spu) {
        return Some(IsrRefusal::NotLeader);
    }
    let shrinks = row.isr.iter().any(|member| !units.contains(&member.spu));
    let is_enough = units.len() >= usize::from(row.min_isr);
    if shrinks && !holds(Rule::IsrFloor, is_enough) {
        return Some(IsrRefusal::BelowMinIsr);
    }
    None
}

fn changed(draft: &Draft<'_>, row: &PartitionRow, proposal: &IsrProposal) -> PartitionRow {
    let mut row = row.clone();
    // The version grows even when the set is the same: that is what settles earlier proposals (H1).
    row.version += 1;
    row.isr = proposal
        .isr
        .iter()
        .map(|candidate| candidate.member)
        .collect();
    for replica in &mut row.replicas {
        // Whoever is in sync has it; from now on a missing one is lost (S4).
        let is_in_sync = |added: &IsrCandidate| added.member.spu == replica.spu;
        let is_in_sync = proposal.isr.iter().any(is_in_sync);
        replica.joined |= is_in_sync;
        replica.vouched |= is_in_sync;
    }
    if let Some(topic) = draft.topic(row.topic_id) {
        follow_min_isr(topic, &mut row);
    }
    row
}
