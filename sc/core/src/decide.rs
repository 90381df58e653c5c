//! The one door: a request and a model go in, a decision or a refusal comes out.
//!
//! A function of its arguments: time is `now_ms`, randomness is `seed`. The caller makes the changes
//! under their versions and asks again on a newer model when one of them lost.

use uuid::Uuid;

use crate::admit::{create_topic, delete_topic, ensure_topic};
use crate::decision::{Decision, Request};
use crate::drain::drain;
use crate::failed::replicas_failed;
use crate::groups;
use crate::ids::Ids;
use crate::isr::change_isr;
use crate::membership;
use crate::model::Model;
use crate::rebalance::rebalance;
use crate::recover::{RecoverTerms, recover, seal_answers};
use crate::refusal::Refusal;
use crate::register::register;
use crate::requests;
use crate::truncate::truncate_topic;

/// What to do about `request` in the state `model`, at `now_ms`; new ids follow from `seed`.
///
/// # Errors
/// A refusal: nothing is to be done, and why.
pub fn decide(
    model: &Model,
    now_ms: i64,
    seed: Uuid,
    request: &Request,
) -> Result<Decision, Refusal> {
    let ids = &mut Ids::new(seed);
    match request {
        Request::CreateTopic(write) => create_topic(model, now_ms, ids, write),
        Request::EnsureTopic(write) => ensure_topic(model, now_ms, ids, write),
        Request::DeleteTopic { name, if_match } => delete_topic(model, name, if_match.as_ref()),
        Request::TruncateTopic(write) => truncate_topic(model, write),
        Request::EnterSpu(write) => membership::enter_spu(model, write),
        Request::EnsureSpu(write) => membership::ensure_spu(model, write),
        Request::JoinGroup { group, rack } => membership::join_group(model, group, rack.as_ref()),
        Request::CreateSpuGroup(write) => groups::create_group(model, now_ms, write),
        Request::EnsureSpuGroup(write) => groups::put_group(model, now_ms, write),
        Request::RemoveSpuGroup { name, if_match } => {
            groups::remove_group(model, name, if_match.as_ref())
        }
        Request::Register(report) => register(model, now_ms, ids, report),
        Request::Leave { spu, incarnation } => membership::leave(model, *spu, *incarnation),
        Request::ChangeIsr {
            leader,
            incarnation,
            proposals,
        } => change_isr(model, *leader, *incarnation, proposals),
        Request::ElectPreferred { topic, partitions } => {
            requests::elect_preferred(model, topic, partitions)
        }
        Request::Reassign { targets, terms } => {
            requests::reassign(model, now_ms, ids, targets, terms)
        }
        Request::Rebalance { terms } => rebalance(model, now_ms, ids, terms),
        Request::DrainSpu { spu, terms } => drain(model, now_ms, ids, *spu, terms),
        Request::ResumeSpu { spu } => requests::resume(model, now_ms, *spu),
        Request::RemoveSpu { spu, if_match } => {
            membership::remove_spu(model, *spu, if_match.as_ref())
        }
        Request::Recover {
            topic,
            partition,
            accept_loss,
            force,
        } => {
            let terms = RecoverTerms {
                accept_loss: *accept_loss,
                force: *force,
            };
            recover(model, now_ms, ids, topic, *partition, terms)
        }
        Request::Failed {
            spu,
            incarnation,
            replicas,
        } => replicas_failed(model, *spu, *incarnation, replicas),
        Request::SealAnswers(answers) => Ok(seal_answers(model, now_ms, ids, answers)),
        Request::CancelOperation { id } => requests::cancel(model, now_ms, *id),
    }
}
