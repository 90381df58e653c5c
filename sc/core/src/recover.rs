//! Seal and survey: a partition without a clean candidate asks its replicas what they hold (L3).
//!
//! Also the way in which a partition without records changes its place. Invariants: answers count only
//! at the epoch of the seal, from the replica and registration that the rows name now; nothing is given
//! up unless an operator said so, and then `recovery_gen` grows.

use std::collections::BTreeSet;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::{IsrMember, Loss, SealAnswer};
use tidegate_proto::id::{PartitionId, SpuId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::decision::{Decision, Outcome};
use crate::difference::moved;
use crate::draft::{Draft, drafted};
use crate::elect::{elect, is_live, lead, may_lead};
use crate::health::doubted;
use crate::ids::Ids;
use crate::limits::LOSSES_MAX;
use crate::model::Model;
use crate::moves::put_empty;
use crate::operation::{begin, count_failed, operation_of};
use crate::refusal::Refusal;
use crate::rows::{OperationKind, PartitionRow, Seal, SpuRow};
use crate::rule::{Rule, holds};

/// What a survey waits for whose answers are all in and prove too little; none while it may end by itself.
pub(crate) fn stuck(draft: &Draft<'_>, row: &PartitionRow) -> Option<String> {
    let seal = row.seal.as_ref().filter(|_| row.moving.is_none())?;
    let has_answered = |spu: SpuId| seal.answers.iter().any(|answer| answer.member.spu == spu);
    if !row.replicas.iter().all(|own| has_answered(own.spu)) {
        return None;
    }
    let doubts = seal.answers.iter().filter_map(|answer| {
        let spu = answer.member.spu;
        doubted(row, answer, is_live(draft, &answer.member))
            .map(|doubt| format!("that of {spu} does not count: {doubt}"))
    });
    let doubts: Vec<String> = doubts.collect();
    let counted = seal.answers.len() - doubts.len();
    let (key, needed, why) = (
        draft.told(row.key()),
        seal.answers_needed,
        doubts.join(", "),
    );
    Some(format!(
        "{key} waits: {counted} of the {needed} answers that are needed count; {why}; cancel this operation, \
         and recover with --accept-loss or wait for other copies"
    ))
}

/// What an operator allows a recovery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecoverTerms {
    pub(crate) accept_loss: bool,
    /// Also when it is led.
    pub(crate) force: bool,
}

/// Takes the leader away and begins the survey.
pub(crate) fn recover(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    topic: &TopicName,
    partition: PartitionId,
    terms: RecoverTerms,
) -> Result<Decision, Refusal> {
    let found = model.topics.get(topic);
    let found = found.ok_or_else(|| Refusal::TopicNotFound(topic.clone()))?;
    let row = found.partitions.get(partition.0 as usize);
    let row = row.ok_or_else(|| Refusal::PartitionNotFound {
        name: topic.clone(),
        count: found.row.partitions,
    })?;
    if !row.is_placed() {
        let what = format!("partition {partition} of topic {topic} was never placed");
        return Err(Refusal::Conflict(what));
    }
    if let Some(other) = operation_of(row) {
        return Err(Refusal::Conflict(format!(
            "partition {partition} of topic {topic} is part of operation {other}; cancel it first"
        )));
    }
    let mut draft = Draft::new(model);
    // One whose leader is gone has nobody to take away.
    let led = row.leader.filter(|leader| may_lead(&draft, row, *leader));
    if let Some(leader) = led.filter(|_| !terms.force) {
        return Err(Refusal::Conflict(format!(
            "storage unit {leader} leads partition {partition} of topic {topic}: there is nothing to \
             recover; to take its leader away all the same, force it"
        )));
    }
    let kind = OperationKind::Recover {
        partition: row.key(),
    };
    let operation = begin(&mut draft, now_ms, ids, kind, 1, None)?;
    let mut row = (**row).clone();
    let copies = u16::try_from(row.replicas.len()).unwrap_or(u16::MAX);
    lead(&mut row, None, LeaderEpoch(0));
    row.seal = Some(Box::new(Seal {
        operation,
        epoch: row.leader_epoch,
        accept_loss: terms.accept_loss,
        // Every quorum of min_isr has one of any so many in it.
        answers_needed: copies.saturating_sub(row.min_isr) + 1,
        answers: Vec::new(),
    }));
    draft.put_partition(row);
    let outcome = Outcome::Operation(operation);
    Ok(moved(model, drafted(draft, WriteResult::Updated, outcome)))
}

/// Takes answers in and ends the surveys that have enough of them.
pub(crate) fn seal_answers(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    answers: &[SealAnswer],
) -> Decision {
    let mut draft = Draft::new(model);
    let mut keys = BTreeSet::new();
    for answer in answers {
        if take_in(&mut draft, answer) {
            keys.insert(answer.key);
        }
    }
    for key in keys {
        end_survey(&mut draft, now_ms, ids, key);
    }
    drafted(draft, WriteResult::Updated, Outcome::None)
}

/// Notes one answer; false when it does not count.
fn take_in(draft: &mut Draft<'_>, answer: &SealAnswer) -> bool {
    let Some(mut row) = draft.partition(answer.key).cloned() else {
        return false;
    };
    let is_replica = row
        .replica(answer.member.spu)
        .is_some_and(|own| own.replica_gen == answer.replica_gen);
    let has_failed = row.has_failed(&answer.member);
    let Some(seal) = &mut row.seal else {
        return false;
    };
    let is_sealed = holds(Rule::SurveyEpoch, seal.epoch == answer.sealed_at);
    if !is_replica || !is_sealed || has_failed || !is_live(draft, &answer.member) {
        return false;
    }
    let mut known = seal.answers.iter();
    if !known.any(|other| other.member == answer.member) {
        seal.answers.push(*answer);
    }
    draft.put_partition(row);
    true
}

/// Decides on a sealed partition, if enough is known.
pub(crate) fn end_survey(draft: &mut Draft<'_>, now_ms: i64, ids: &mut Ids, key: ReplicaKey) {
    let Some(row) = draft.partition(key).cloned() else {
        return;
    };
    let Some(seal) = row.seal.clone() else {
        return;
    };
    let ended = if row.moving.is_some() {
        end_relocation(draft, now_ms, ids, &row, &seal)
    } else {
        end_recovery(draft, &row, &seal)
    };
    if let Some(row) = ended {
        draft.put_partition(row);
    }
}

/// The only copy says whether it holds anything.
fn end_relocation(
    draft: &mut Draft<'_>,
    now_ms: i64,
    ids: &mut Ids,
    row: &PartitionRow,
    seal: &Seal,
) -> Option<PartitionRow> {
    let answer = seal.answers.first()?;
    let is_empty = answer.log_start == answer.end;
    if answer.intact
        && is_empty
        && !answer.remembers
        && let Some(moved) = put_empty(draft, ids, row, answer.end)
    {
        return Some(moved);
    }
    let why = if !answer.intact {
        "is damaged where it is"
    } else if !is_empty {
        "has got records meanwhile"
    } else if answer.remembers {
        "has no records, but remembers for some minutes what producers sent lately, which a new copy would not,"
    } else {
        "cannot be taken over now"
    };
    let reason = format!("{} {why} and stays where it is", draft.told(row.key()));
    count_failed(draft, seal.operation, reason);
    let mut row = row.clone();
    row.seal = None;
    row.moving = None;
    row.stayed_at_ms = Some(now_ms);
    row.remembers_ms = answer.remembers_ms;
    elect(draft, &mut row, LeaderEpoch(0));
    Some(row)
}

fn end_recovery(draft: &Draft<'_>, row: &PartitionRow, seal: &Seal) -> Option<PartitionRow> {
    let live = |answer: &&SealAnswer| is_live(draft, &answer.member);
    let counts =
        |answer: &&SealAnswer| doubted(row, answer, is_live(draft, &answer.member)).is_none();
    let clean: Vec<&SealAnswer> = seal.answers.iter().filter(counts).collect();
    let is_enough = clean.len() >= usize::from(seal.answers_needed);
    if !clean.is_empty() && holds(Rule::SurveyAnswers, is_enough) {
        return Some(led_by_the_longest(draft, row, &clean, false));
    }
    let has_answered = |spu: SpuId| seal.answers.iter().any(|answer| answer.member.spu == spu);
    let is_last_word = row.replicas.iter().all(|own| has_answered(own.spu));
    let is_whole = clean.iter().any(|answer| row.isr.contains(&answer.member));
    if is_last_word && is_whole {
        // No more will be known, and a member of the in-sync set came back meanwhile: it has everything (L1).
        let mut row = row.clone();
        row.seal = None;
        elect(draft, &mut row, LeaderEpoch(0));
        return Some(row);
    }
    if !seal.accept_loss {
        return None;
    }
    // Whoever can still answer is waited for: the more answers, the less is lost.
    let is_silent = |spu: SpuId| {
        // A log that failed takes no seal, and so never answers.
        let answers = |unit: &SpuRow| {
            let incarnation = unit.incarnation;
            !unit.fenced && !row.has_failed(&IsrMember { spu, incarnation })
        };
        draft.spu(spu).is_some_and(answers) && !has_answered(spu)
    };
    if row.replicas.iter().any(|replica| is_silent(replica.spu)) {
        return None;
    }
    let any: Vec<&SealAnswer> = seal.answers.iter().filter(live).collect();
    if any.is_empty() {
        return None;
    }
    Some(led_by_the_longest(draft, row, &any, true))
}

/// The newest epoch wins, then the longest log, then the preferred replica. Intact ones of the same end
/// are in sync with it: equal ends in equal epochs are equal logs.
fn led_by_the_longest(
    draft: &Draft<'_>,
    row: &PartitionRow,
    answers: &[&SealAnswer],
    loses: bool,
) -> PartitionRow {
    let mut row = row.clone();
    let reached = |answer: &SealAnswer| (answer.last_epoch, answer.end);
    let order = |spu: SpuId| row.replicas.iter().position(|replica| replica.spu == spu);
    let best = answers.iter().max_by_key(|answer| {
        let order = std::cmp::Reverse(order(answer.member.spu));
        (reached(answer), answer.intact, order)
    });
    let Some(best) = best else {
        return row;
    };
    let (leader, end) = (best.member.spu, reached(best));
    let equal = answers.iter().filter(|answer| {
        let leads = answer.member.spu == leader;
        leads || (answer.intact && reached(answer) == end)
    });
    let isr: Vec<IsrMember> = equal.map(|answer| answer.member).collect();
    row.isr = isr;
    row.seal = None;
    row.recovery_gen += u64::from(loses);
    lead(&mut row, Some(leader), LeaderEpoch(0));
    if loses {
        note_loss(&mut row, best.end);
    }
    if let Some(topic) = draft.topic(row.topic_id) {
        crate::settle::follow_min_isr(topic, &mut row);
    }
    row
}

/// So that readers who were beyond it are told, whatever stands there by then. Beyond the most that are kept
/// the two oldest become one, which covers both.
fn note_loss(row: &mut PartitionRow, from: Offset) {
    let before = row.leader_epoch;
    row.losses.push(Loss { before, from });
    if row.losses.len() > LOSSES_MAX {
        let oldest = row.losses.remove(0);
        if let Some(next) = row.losses.first_mut() {
            next.from = next.from.min(oldest.from);
        }
    }
}
