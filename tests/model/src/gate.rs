//! The mutation gate: each guard with the scopes in which a search without it must find something broken.

use tidegate_sc_core::rule::Rule;
use tidegate_spu_core::guard::Guard;

use crate::scope::Scope;
use crate::scopes;
use crate::steps::Removed;

/// A guard, and where its removal shows.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// Rule and part of the rule.
    pub name: &'static str,
    pub removed: Removed,
    pub scope: Scope,
}

const fn machine(name: &'static str, guard: Guard, scope: Scope) -> Mutant {
    Mutant {
        name,
        removed: Removed::Machine(guard),
        scope,
    }
}

const fn control(name: &'static str, rule: Rule, scope: Scope) -> Mutant {
    Mutant {
        name,
        removed: Removed::Control(rule),
        scope,
    }
}

/// All of them, in the order of the contract.
pub const MUTANTS: [Mutant; 24] = [
    machine("E1", Guard::PersistBeforeActing, scopes::POWER),
    machine("E2 epoch", Guard::AttachEpoch, scopes::PARTING),
    machine("E2 replica_gen", Guard::AttachReplicaGen, scopes::MOVES),
    machine("E2 incarnation", Guard::AttachIncarnation, scopes::LOSSES),
    machine("H1 union", Guard::PendingCounts, scopes::SETS),
    machine("H1 settle by version", Guard::SettleByVersion, scopes::SETS),
    machine("H2 epoch", Guard::AckEpoch, scopes::FAILOVER),
    machine("H2 incarnation", Guard::AckIncarnation, scopes::LOSSES),
    machine("H2 min_isr", Guard::CommitMinIsr, scopes::LOSSES),
    machine("H3 marker", Guard::MarkerBeforeLatest, scopes::FAILOVER),
    machine(
        "T1 last_epoch look-up",
        Guard::LookUpLastEpoch,
        scopes::PARTING,
    ),
    machine("T2 min of both ends", Guard::CutAtBothEnds, scopes::PARTING),
    machine("T4 equal epochs", Guard::AnswerEpoch, scopes::PARTING),
    machine("T5 stays out until I2", Guard::ResetStaysOut, scopes::TRIMS),
    machine("I1 floor, leader", Guard::ShrinkFloor, scopes::SETS),
    control("I1 floor, store", Rule::IsrFloor, scopes::SETS),
    control("I1 floor, fence", Rule::FenceFloor, scopes::FAILOVER),
    machine(
        "I2 attached in this epoch",
        Guard::ExpandAttached,
        scopes::SETS,
    ),
    machine("I2 last_epoch", Guard::ExpandLastEpoch, scopes::SETS),
    machine("I2 DLEO >= HW", Guard::ExpandCaughtUp, scopes::SETS),
    control("I2 replica_gen", Rule::AddedReplicaGen, scopes::MOVES),
    control(
        "I2 incarnation at the store",
        Rule::AddedIncarnation,
        scopes::LOSSES,
    ),
    control(
        "S1/S2 Suspect leaves isr",
        Rule::SuspectLeaves,
        scopes::LOSSES,
    ),
    control("version CAS", Rule::RowVersion, scopes::LATE),
];
