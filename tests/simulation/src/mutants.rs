//! The mutants of the simulation: each guard of the machines, and each plant, with what notices.
//!
//! Where two rules bar the same way from two sides, both are taken away besides.

use tidegate_sc_core::rule::Rule;
use tidegate_spu_core::guard::Guard;

use crate::gate::{Found, Mutant};
use crate::plant::Plant;

use Found::{From, Never};

const fn machine(name: &'static str, guards: &'static [Guard], found: Found) -> Mutant {
    Mutant {
        name,
        machine: guards,
        control: &[],
        plant: None,
        found,
    }
}

const fn control(name: &'static str, rules: &'static [Rule], found: Found) -> Mutant {
    Mutant {
        name,
        machine: &[],
        control: rules,
        plant: None,
        found,
    }
}

const fn planted(name: &'static str, plant: Plant, found: Found) -> Mutant {
    Mutant {
        name,
        machine: &[],
        control: &[],
        plant: Some(plant),
        found,
    }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    machine(
        "PersistBeforeActing",
        &[Guard::PersistBeforeActing],
        Never(
            "not in 180 seeds: power has to go between an answer and the round with its epoch; the model finds it",
        ),
    ),
    machine(
        "AttachEpoch",
        &[Guard::AttachEpoch],
        Never("the follower drops an answer of another epoch (T4); see both together"),
    ),
    machine(
        "AttachReplicaGen",
        &[Guard::AttachReplicaGen],
        Never("each change of the copies has an epoch of its own (L4), so the epoch refuses first"),
    ),
    machine(
        "AttachIncarnation",
        &[Guard::AttachIncarnation],
        Never(
            "acknowledgements of another registration do not count (H2), and sessions end with their process",
        ),
    ),
    machine(
        "PendingCounts",
        &[Guard::PendingCounts],
        From(36, "2 CandidateCompleteness"),
    ),
    machine(
        "SettleByVersion",
        &[Guard::SettleByVersion],
        From(82, "3 QuorumSuperset"),
    ),
    machine(
        "AckIncarnation",
        &[Guard::AckIncarnation],
        Never(
            "a copy that lost something leaves the set when it registers (S1), and its sessions end with its process",
        ),
    ),
    machine(
        "CommitMinIsr",
        &[Guard::CommitMinIsr],
        Never(
            "in-sync sets below the minimum come of lost disks alone, which are dealt out as one fewer than it here; the model finds it",
        ),
    ),
    machine(
        "MarkerBeforeLatest",
        &[Guard::MarkerBeforeLatest],
        Never("readers ask for no latest offset here; the model finds it"),
    ),
    machine(
        "LookUpLastEpoch",
        &[Guard::LookUpLastEpoch],
        From(26, "alarm"),
    ),
    machine(
        "CutAtBothEnds",
        &[Guard::CutAtBothEnds],
        Never("not in 180 seeds: it takes logs that part twice; the model finds it"),
    ),
    machine(
        "KeepCommitted",
        &[Guard::KeepCommitted],
        Never(
            "nothing committed is cut while all other rules stand, and it guards against their fall",
        ),
    ),
    machine(
        "AnswerEpoch",
        &[Guard::AnswerEpoch],
        Never("the leader refuses an attach of another epoch (E2); see both together"),
    ),
    machine(
        "ShrinkFloor",
        &[Guard::ShrinkFloor],
        Never("the store refuses it as well; see both together"),
    ),
    machine(
        "ExpandLastEpoch",
        &[Guard::ExpandLastEpoch],
        Never(
            "not in 180 seeds: a member has to be proposed on the word of an earlier epoch; the model finds it",
        ),
    ),
    machine(
        "ExpandCaughtUp",
        &[Guard::ExpandCaughtUp],
        From(14, "2 CandidateCompleteness"),
    ),
    machine(
        "ShippedLedger",
        &[Guard::ShippedLedger],
        Never(
            "not in 180 seeds: power has to go before the snapshot is durable and its unit to lead next",
        ),
    ),
    machine(
        "EnoughAttached",
        &[Guard::EnoughAttached],
        Never(
            "what it refuses early would wait and end as unknown: nothing is lost or doubled by that",
        ),
    ),
    machine(
        "DamagedLeadsNot",
        &[Guard::DamagedLeadsNot],
        Never("no copy is damaged here, and a damaged one is in no in-sync set (S1)"),
    ),
    machine(
        "AttachEpoch, AnswerEpoch",
        &[Guard::AttachEpoch, Guard::AnswerEpoch],
        From(14, "alarm"),
    ),
    control("RowVersion", &[Rule::RowVersion], From(5, "Breach")),
    control(
        "ProposalVersion",
        &[Rule::ProposalVersion],
        From(131, "3 QuorumSuperset"),
    ),
    control(
        "ProposerLeads",
        &[Rule::ProposerLeads],
        Never("every election makes the version grow, which is compared too"),
    ),
    control(
        "IsrFloor",
        &[Rule::IsrFloor],
        Never("leaders do not propose it; see both together"),
    ),
    control("FenceFloor", &[Rule::FenceFloor], From(2, "Breach")),
    control(
        "AddedReplicaGen",
        &[Rule::AddedReplicaGen],
        Never(
            "each change of the copies makes the version and the epoch grow, which are compared too",
        ),
    ),
    control(
        "AddedIncarnation",
        &[Rule::AddedIncarnation],
        From(14, "Breach"),
    ),
    control(
        "SuspectLeaves",
        &[Rule::SuspectLeaves],
        Never(
            "not in 180 seeds: a lost disk has to be elected before it has caught up; the model finds it",
        ),
    ),
    control(
        "DiskWentBack",
        &[Rule::DiskWentBack],
        From(2, "1 LeaderCompleteness"),
    ),
    control(
        "MissingIsLost",
        &[Rule::MissingIsLost],
        From(21, "1 LeaderCompleteness"),
    ),
    control(
        "SurveyAnswers",
        &[Rule::SurveyAnswers],
        Never("not in 180 seeds: most surveys hear all copies; the model finds it"),
    ),
    control(
        "SurveyEpoch",
        &[Rule::SurveyEpoch],
        Never("it takes two surveys with a commit between them that one copy has not got"),
    ),
    control(
        "SurveyVouched",
        &[Rule::SurveyVouched],
        Never(
            "not in 180 seeds since lost disks leave their place (S3); seeds of the suite met it once",
        ),
    ),
    Mutant {
        name: "ShrinkFloor, IsrFloor",
        machine: &[Guard::ShrinkFloor],
        control: &[Rule::IsrFloor],
        plant: None,
        found: From(7, "Breach"),
    },
    planted("AcksUnsynced", Plant::AcksUnsynced, From(0, "8 AckDurable")),
    planted(
        "RestartForgets",
        Plant::RestartForgets,
        From(2, "2 CandidateCompleteness"),
    ),
    planted(
        "LeadsUnasked",
        Plant::LeadsUnasked,
        From(0, "5 OneLeaderPerEpoch"),
    ),
    planted("CutsAll", Plant::CutsAll, From(14, "7 NoCutBelowHW")),
    planted(
        "AltersBatches",
        Plant::AltersBatches,
        From(0, "4 LogMatching"),
    ),
    planted(
        "TrimsAlone",
        Plant::TrimsAlone,
        From(0, "18 DataNeverOrphanDeleted"),
    ),
    planted(
        "StampsAgain",
        Plant::StampsAgain,
        From(3, "12 ExactlyOnceAppend"),
    ),
    planted(
        "ShowsAll",
        Plant::ShowsAll,
        From(0, "history [BeyondWatermark]"),
    ),
    planted(
        "SkipsBatches",
        Plant::SkipsBatches,
        From(0, "history [PollSkipped]"),
    ),
    planted(
        "NeverAttaches",
        Plant::NeverAttaches,
        From(0, "21 Liveness"),
    ),
    planted(
        "CountsForAll",
        Plant::CountsForAll,
        From(0, "2 CandidateCompleteness"),
    ),
];
