//! Rules of the shells that are broken on purpose, to see that somebody notices.
//!
//! The guards of the machines are taken away by themselves (`gate`); these are what a machine cannot know.

/// What every node does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Rounds count as durable when they are written.
    AcksUnsynced,
    /// A start loses the newest batches.
    RestartForgets,
    /// Whoever holds a copy takes itself for the leader.
    LeadsUnasked,
    /// A cut takes everything.
    CutsAll,
    /// A follower writes other records than it was sent.
    AltersBatches,
    /// A follower gives up what is committed, without its leader.
    TrimsAlone,
    /// A request that is sent again gets another number.
    StampsAgain,
    /// Readers are shown what is not committed.
    ShowsAll,
    /// Readers are not shown everything.
    SkipsBatches,
    /// Followers attach to nobody.
    NeverAttaches,
    /// What one follower acknowledges counts for all.
    CountsForAll,
}
