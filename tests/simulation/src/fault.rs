//! What goes wrong with nodes, links, disks, clocks and the store, and what operators do.
//!
//! Names only: what a fault does is in `world`.

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A unit's process ends at once; what is written stays.
    KillUnit,
    /// A unit's machine loses power; what is not synced may be gone.
    PowerLoss,
    /// All units at once.
    PowerLossAll,
    /// A unit's disk is replaced by an empty one.
    LoseDisk,
    /// A unit's disk is that of some seconds ago.
    RollBackDisk,
    /// A unit stops in order, and comes back.
    StopUnit,
    /// A unit's process stands still.
    PauseUnit,
    /// A unit's disk takes its time.
    SlowDisk,
    /// A unit hears and is heard by nobody.
    CutUnit,
    /// A unit is cut off from the controllers alone.
    CutFromControllers,
    /// A unit is cut off from other units alone.
    CutFromUnits,
    /// A unit is cut off from the gateways alone.
    CutFromGateways,
    /// Two units do not reach each other.
    CutPair,
    /// One unit does not reach another; back it goes.
    CutOneWay,
    /// Messages between units take long.
    SlowLinks,
    /// Connections between units break.
    ResetLinks,
    /// A unit's wall clock jumps.
    StepClock,
    /// A controller ends at once.
    KillController,
    /// A controller stands still, and may wake up with a lease that is another's.
    PauseController,
    /// A controller and the store do not reach each other.
    CutStore,
    /// The store answers nobody.
    StoreDown,
    /// Answers of the store are lost, whether it did what was asked or not, or does it later.
    StoreUnknown,
    /// A gateway ends at once.
    KillGateway,
    /// The log of one of a unit's replicas takes nothing any more, until the unit begins anew.
    FailReplica,
    /// An operator moves a copy.
    MoveCopy,
    /// An operator changes how many copies an acknowledgement needs.
    EditMinInSync,
    /// Retention takes the oldest records.
    Retain,
    /// An operator wants the preferred leaders.
    ElectPreferred,
    /// An operator has a partition surveyed, sometimes one that is led, and accepts no loss (L3).
    Recover,
}

impl FaultKind {
    /// All of them but [`Self::FailReplica`], which has runs of its own.
    pub const ALL: [Self; 28] = [
        Self::KillUnit,
        Self::PowerLoss,
        Self::PowerLossAll,
        Self::LoseDisk,
        Self::RollBackDisk,
        Self::StopUnit,
        Self::PauseUnit,
        Self::SlowDisk,
        Self::CutUnit,
        Self::CutFromControllers,
        Self::CutFromUnits,
        Self::CutFromGateways,
        Self::CutPair,
        Self::CutOneWay,
        Self::SlowLinks,
        Self::ResetLinks,
        Self::StepClock,
        Self::KillController,
        Self::PauseController,
        Self::CutStore,
        Self::StoreDown,
        Self::StoreUnknown,
        Self::KillGateway,
        Self::MoveCopy,
        Self::EditMinInSync,
        Self::Retain,
        Self::ElectPreferred,
        Self::Recover,
    ];
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub at_ms: u64,
    pub lasts_ms: u64,
    /// Which one of the nodes that it may hit.
    pub target: u32,
    /// The other one, a partition, or whatever more it needs.
    pub other: u32,
}
