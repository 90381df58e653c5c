//! The mutation gate: each guard with the scope in which a search without it must find something broken.
//!
//! Where two rules bar the same way from two sides, one alone refutes nothing, and both are taken away.

use tidegate_sc_core::rule::Rule;
use tidegate_spu_core::guard::Guard;

use self::Found::{From, Never};

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
    pub found: Found,
}

/// What comes of it.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// Something breaks, soon on walks from this seed on.
    From(u64),
    /// Nothing does: why.
    Never(&'static str),
}

const fn both(
    name: &'static str,
    machine: &'static [Guard],
    control: &'static [Rule],
    scope: Scope,
    found: Found,
) -> Mutant {
    Mutant {
        name,
        found,
        removed: Removed {
            machine,
            control,
            notice_of_rollback: false,
        },
        scope,
    }
}

const fn machine(
    name: &'static str,
    guards: &'static [Guard],
    scope: Scope,
    found: Found,
) -> Mutant {
    both(name, guards, &[], scope, found)
}

const fn control(name: &'static str, rules: &'static [Rule], scope: Scope, found: Found) -> Mutant {
    both(name, &[], rules, scope, found)
}

const X1: Mutant = Mutant {
    name: "X1",
    removed: Removed {
        machine: &[],
        control: &[],
        notice_of_rollback: true,
    },
    scope: scopes::ROLLBACKS,
    found: From(0),
};

/// All of them, in the order of the contract.
pub const MUTANTS: [Mutant; 31] = [
    machine(
        "E1",
        &[Guard::PersistBeforeActing],
        scopes::POWER,
        From(4864),
    ),
    machine(
        "E2 epoch",
        &[Guard::AttachEpoch],
        scopes::PARTING,
        Never("the follower drops an answer of another epoch (T4); see both together"),
    ),
    machine(
        "E2 epoch, T4",
        &[Guard::AttachEpoch, Guard::AnswerEpoch],
        scopes::FAILOVER,
        From(866),
    ),
    machine(
        "E2 replica_gen",
        &[Guard::AttachReplicaGen],
        scopes::MOVES,
        Never("each change of the copies has an epoch of its own (L4), so the epoch refuses first"),
    ),
    machine(
        "E2 incarnation",
        &[Guard::AttachIncarnation],
        scopes::LOSSES,
        Never(
            "acknowledgements of another registration do not count (H2), and sessions end with their process",
        ),
    ),
    machine("H1 union", &[Guard::PendingCounts], scopes::SETS, From(536)),
    machine(
        "H1 settle by version",
        &[Guard::SettleByVersion],
        scopes::SETS,
        From(405),
    ),
    machine("H2 epoch", &[Guard::AckEpoch], scopes::RETURNS, From(0)),
    machine(
        "H2 incarnation",
        &[Guard::AckIncarnation],
        scopes::LOSSES,
        Never(
            "a copy that lost something leaves the set when it registers (S1), and its sessions end with its process",
        ),
    ),
    machine(
        "H2 min_isr",
        &[Guard::CommitMinIsr],
        scopes::LOSSES,
        From(0),
    ),
    machine(
        "H3 marker",
        &[Guard::MarkerBeforeLatest],
        scopes::FAILOVER,
        From(10),
    ),
    machine(
        "T1 last_epoch look-up",
        &[Guard::LookUpLastEpoch],
        scopes::FORKS,
        From(344),
    ),
    machine(
        "T2 min of both ends",
        &[Guard::CutAtBothEnds],
        scopes::FORKS,
        From(344),
    ),
    machine(
        "T4 equal epochs",
        &[Guard::AnswerEpoch],
        scopes::PARTING,
        From(3525),
    ),
    machine(
        "I1 floor, leader",
        &[Guard::ShrinkFloor],
        scopes::SETS,
        Never("the store refuses it as well; see both together"),
    ),
    control(
        "I1 floor, store",
        &[Rule::IsrFloor],
        scopes::SETS,
        Never("leaders do not propose it; see both together"),
    ),
    both(
        "I1 floor, both",
        &[Guard::ShrinkFloor],
        &[Rule::IsrFloor],
        scopes::SETS,
        From(0),
    ),
    control(
        "I1 floor, fence",
        &[Rule::FenceFloor],
        scopes::FAILOVER,
        From(0),
    ),
    control(
        "I2 proposer leads",
        &[Rule::ProposerLeads],
        scopes::SETS,
        Never("every election makes the version grow, which is compared too"),
    ),
    machine(
        "I2 last_epoch",
        &[Guard::ExpandLastEpoch],
        scopes::SETS,
        From(450),
    ),
    machine(
        "I2 DLEO >= HW",
        &[Guard::ExpandCaughtUp],
        scopes::SETS,
        From(42),
    ),
    control(
        "I2 replica_gen",
        &[Rule::AddedReplicaGen],
        scopes::MOVES,
        Never(
            "each change of the copies makes the version and the epoch grow, which are compared too",
        ),
    ),
    control(
        "I2 incarnation at the store",
        &[Rule::AddedIncarnation],
        scopes::LOSSES,
        From(7),
    ),
    control(
        "S1 Suspect leaves isr",
        &[Rule::SuspectLeaves],
        scopes::LOSSES,
        From(8),
    ),
    control(
        "S2 disk went back",
        &[Rule::DiskWentBack],
        scopes::BACKUPS,
        From(984),
    ),
    control("version CAS", &[Rule::RowVersion], scopes::LATE, From(1)),
    control(
        "version of a proposal",
        &[Rule::ProposalVersion],
        scopes::SETS,
        From(19),
    ),
    control(
        "L3 R-count",
        &[Rule::SurveyAnswers],
        scopes::SURVEYS,
        From(162),
    ),
    control(
        "L3 sealed epoch",
        &[Rule::SurveyEpoch],
        scopes::SEALS,
        Never(
            "not in 30,000 walks: it takes two surveys with a commit between them that one copy has not got",
        ),
    ),
    machine(
        "S2 damaged leads not",
        &[Guard::DamagedLeadsNot],
        scopes::LOSSES,
        Never("a damaged copy is in no in-sync set (S1), so nobody names it"),
    ),
    X1,
];
