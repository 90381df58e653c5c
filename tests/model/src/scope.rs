//! How far a search goes: what may happen, and how often.
//!
//! A search through everything at once gets nowhere deep; each scope allows a few kinds of trouble and
//! is searched from a cluster that already runs.

/// How often each kind of thing may still happen on one way through the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Records that clients append.
    pub appends: u8,
    /// Processes that end; what was not synced is gone.
    pub crashes: u8,
    /// Disks that lose the end of their log, and say so at the next start.
    pub damages: u8,
    /// Disks that are replaced by empty ones.
    pub wipes: u8,
    /// Disks that are put back to an earlier state.
    pub disk_rollbacks: u8,
    /// Units that the controllers shut out, for silence.
    pub fences: u8,
    /// Times that operators let the preferred copy lead.
    pub elections: u8,
    /// Copies that operators take away and add again.
    pub moves: u8,
    /// Surveys that operators ask for.
    pub recoveries: u8,
    /// Those among them that accept loss.
    pub accepted_losses: u8,
    /// Times that the store goes back.
    pub store_rollbacks: u8,
    /// Messages that arrive twice.
    pub duplicates: u8,
    /// Connections that break.
    pub breaks: u8,
    /// Times that a leader waits for longer than a follower may lag.
    pub lags: u8,
    /// Times that a unit waits for a moment, and tries again what went wrong.
    pub waits: u8,
    /// Decisions of controllers that are carried out late.
    pub late_decisions: u8,
    /// Times that the start of the log is moved up.
    pub trims: u8,
    /// Times that operators change how many copies a commit needs.
    pub edits: u8,
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// How it is called.
    pub name: &'static str,
    /// Copies of the partition.
    pub copies: u16,
    /// Copies that a commit needs.
    pub min_isr: u16,
    /// What may happen.
    pub budget: Budget,
    /// A journal round is done when it is begun, unless a process ends right then.
    pub is_disk_quick: bool,
    /// A unit may be told of rows that are older than its registration.
    pub is_watch_late: bool,
    /// Nobody is shut out any more from this epoch on.
    pub epochs: u64,
    /// X1: whoever saw more than the store has tells.
    pub notices_rollback: bool,
}
