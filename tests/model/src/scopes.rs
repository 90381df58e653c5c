//! The scopes that are searched: together they have all the trouble of the contract's budget.

use crate::scope::{Budget, Scope};

const QUIET: Budget = Budget {
    appends: 0,
    crashes: 0,
    damages: 0,
    wipes: 0,
    disk_rollbacks: 0,
    fences: 0,
    elections: 0,
    moves: 0,
    recoveries: 0,
    accepted_losses: 0,
    store_rollbacks: 0,
    duplicates: 0,
    breaks: 0,
    lags: 0,
    waits: 0,
    late_decisions: 0,
    trims: 0,
    edits: 0,
};

const BASE: Scope = Scope {
    name: "",
    copies: 3,
    min_isr: 2,
    budget: QUIET,
    is_disk_quick: true,
    is_watch_late: false,
    epochs: 4,
    notices_rollback: true,
};

/// Leaders come and go, and nothing is lost: 3 epochs, 2 records.
pub const FAILOVER: Scope = Scope {
    name: "failover",
    budget: Budget {
        appends: 2,
        crashes: 2,
        fences: 2,
        waits: 2,
        ..QUIET
    },
    ..BASE
};

/// Two copies of which one is enough, so that logs part: what is cut, and where.
pub const PARTING: Scope = Scope {
    name: "parting",
    copies: 2,
    min_isr: 1,
    budget: Budget {
        appends: 4,
        crashes: 2,
        fences: 3,
        waits: 2,
        ..QUIET
    },
    epochs: 5,
    ..BASE
};

/// Three copies of which one is enough: two that led part from each other.
pub const FORKS: Scope = Scope {
    name: "forks",
    copies: 3,
    min_isr: 1,
    budget: Budget {
        appends: 3,
        crashes: 2,
        fences: 3,
        waits: 1,
        ..QUIET
    },
    epochs: 5,
    ..BASE
};

/// Disks that are slow: what a process did not sync is gone with it.
pub const POWER: Scope = Scope {
    name: "power",
    copies: 2,
    min_isr: 1,
    budget: Budget {
        appends: 2,
        crashes: 3,
        fences: 2,
        waits: 2,
        ..QUIET
    },
    is_disk_quick: false,
    is_watch_late: true,
    ..BASE
};

/// In-sync sets shrink and grow while proposals are late, doubled and refused.
pub const SETS: Scope = Scope {
    name: "sets",
    budget: Budget {
        appends: 2,
        crashes: 1,
        fences: 1,
        duplicates: 1,
        breaks: 1,
        lags: 2,
        waits: 2,
        ..QUIET
    },
    ..BASE
};

/// Copies come back with less than they had, and say so; disks are replaced.
pub const LOSSES: Scope = Scope {
    name: "losses",
    budget: Budget {
        appends: 2,
        crashes: 2,
        damages: 2,
        wipes: 1,
        fences: 1,
        lags: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// Disks that are put back to an earlier state.
pub const BACKUPS: Scope = Scope {
    name: "backups",
    budget: Budget {
        appends: 2,
        crashes: 4,
        disk_rollbacks: 1,
        fences: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// A copy is taken away and added again, between two looks of its unit.
pub const MOVES: Scope = Scope {
    name: "moves",
    budget: Budget {
        appends: 2,
        moves: 1,
        fences: 1,
        breaks: 1,
        duplicates: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// Operators ask what copies hold, with and without loss.
pub const SURVEYS: Scope = Scope {
    name: "surveys",
    budget: Budget {
        appends: 2,
        crashes: 2,
        fences: 2,
        recoveries: 2,
        accepted_losses: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// The store loses commits.
pub const ROLLBACKS: Scope = Scope {
    name: "rollbacks",
    copies: 2,
    min_isr: 1,
    budget: Budget {
        appends: 2,
        crashes: 1,
        fences: 2,
        store_rollbacks: 1,
        lags: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// Controllers that act late.
pub const LATE: Scope = Scope {
    name: "late",
    copies: 2,
    min_isr: 1,
    budget: Budget {
        appends: 2,
        crashes: 1,
        fences: 2,
        lags: 1,
        waits: 1,
        late_decisions: 1,
        ..QUIET
    },
    ..BASE
};

/// Retention takes what a copy that was away has not got yet.
pub const TRIMS: Scope = Scope {
    name: "trims",
    copies: 2,
    min_isr: 1,
    budget: Budget {
        appends: 2,
        crashes: 2,
        fences: 1,
        lags: 1,
        trims: 1,
        waits: 2,
        ..QUIET
    },
    ..BASE
};

/// Operators change how many copies a commit needs.
pub const EDITS: Scope = Scope {
    name: "edits",
    budget: Budget {
        appends: 2,
        crashes: 1,
        fences: 2,
        lags: 1,
        edits: 2,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// Nothing whole is left, and operators take what there is.
pub const WRECKS: Scope = Scope {
    name: "wrecks",
    budget: Budget {
        appends: 2,
        crashes: 3,
        damages: 3,
        accepted_losses: 1,
        waits: 1,
        ..QUIET
    },
    ..BASE
};

/// A unit leads, follows, and leads again in one life.
pub const RETURNS: Scope = Scope {
    name: "returns",
    copies: 3,
    min_isr: 1,
    budget: Budget {
        appends: 3,
        crashes: 2,
        fences: 2,
        elections: 2,
        waits: 1,
        ..QUIET
    },
    epochs: 6,
    ..BASE
};

/// Two surveys, of which the answers to the first may come in the second.
pub const SEALS: Scope = Scope {
    name: "seals",
    budget: Budget {
        appends: 1,
        lags: 1,
        recoveries: 2,
        ..QUIET
    },
    ..BASE
};

/// What is searched for faults.
pub const ALL: [Scope; 16] = [
    FAILOVER, PARTING, FORKS, POWER, SETS, LOSSES, BACKUPS, MOVES, SURVEYS, ROLLBACKS, LATE, TRIMS,
    EDITS, RETURNS, SEALS, WRECKS,
];
