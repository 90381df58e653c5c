//! Replicas that fail while their unit runs on: others lead, and the failed are not relied on (S1, L1).
//!
//! The row keeps under which registration a replica failed. While that is its unit's, the replica is neither
//! elected nor added to the in-sync set; a new registration, or another copy in its place, begins anew. So a
//! report may come late and often. Invariants: one that may have lost something leaves the in-sync set
//! whatever its size; one that is complete leaves it as far as I1 allows, and is there when its unit comes
//! back: nothing is committed without it.

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::FailedReplica;
use tidegate_proto::id::{Incarnation, SpuId};

use crate::decision::{Decision, Outcome};
use crate::draft::{Draft, drafted};
use crate::elect::elect;
use crate::limits::FAILED_PER_REQUEST_MAX;
use crate::membership::current;
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::PartitionRow;

/// Takes in what `spu` says of its replicas, in one transaction. Of another registration, of replicas that
/// were replaced, or said again, it changes nothing.
pub(crate) fn replicas_failed(
    model: &Model,
    spu: SpuId,
    incarnation: Incarnation,
    replicas: &[FailedReplica],
) -> Result<Decision, Refusal> {
    current(model, spu, incarnation)?;
    if replicas.len() > FAILED_PER_REQUEST_MAX {
        let what = format!("at most {FAILED_PER_REQUEST_MAX} at a time");
        return Err(Refusal::Invalid(vec![Fault::new("/replicas", what)]));
    }
    let mut draft = Draft::new(model);
    for report in replicas {
        let Some(before) = draft.partition(report.key) else {
            continue;
        };
        let mut row = before.clone();
        if note(&mut row, (spu, incarnation), report) && row != *before {
            if row.leader == Some(spu) && row.replicas.len() > 1 {
                elect(&draft, &mut row, report.leader_epoch);
            }
            draft.put_partition(row);
        }
    }
    Ok(drafted(draft, WriteResult::Updated, Outcome::None))
}

/// Marks the replica, and takes it out of the in-sync set as far as may be; false when it is not there.
fn note(row: &mut PartitionRow, own: (SpuId, Incarnation), report: &FailedReplica) -> bool {
    let (spu, incarnation) = own;
    let is_only = row.replicas.len() == 1;
    let mut replicas = row.replicas.iter_mut();
    let is_same = |spu, replica_gen| (spu, replica_gen) == (own.0, report.replica_gen);
    let Some(replica) = replicas.find(|one| is_same(one.spu, one.replica_gen)) else {
        return false;
    };
    replica.failed_in = Some(incarnation);
    if is_only {
        // Nobody else could ever lead it, and what it has is still read.
        return true;
    }
    replica.vouched &= report.intact;
    if !report.intact || row.isr.len() > usize::from(row.min_isr) {
        row.isr.retain(|member| member.spu != spu);
    }
    if let Some(seal) = &mut row.seal {
        seal.answers.retain(|answer| answer.member.spu != spu);
    }
    true
}
