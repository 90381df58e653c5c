//! The vocabulary of a history.
//!
//! Partitions, clients, readers, groups and watches are numbers that the recorder gives out; an operation
//! has an id that no other operation of the history has, and a value is sent by one operation only. The
//! order of the list is the order of time; no event carries a clock's reading.

use serde::{Deserialize, Serialize};

/// Which acknowledgement a producer asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// Nothing is promised, and no place is told: note [`What::Unknown`] when it was taken.
    None,
    /// The leader's copy: a failover may lose it.
    Leader,
    /// Every in-sync copy: it is there for good.
    Quorum,
}

/// The identity of an idempotent producer and the sequence number of a batch's first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    pub id: u64,
    pub epoch: u16,
    pub sequence: u64,
}

/// One batch on its way: consecutive offsets of one partition if it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    pub op: u64,
    /// None where the server chooses by key.
    pub partition: Option<u32>,
    pub acks: Acks,
    /// Present: sent again by its client, it is still written once.
    pub producer: Option<Producer>,
    /// One for each record, in order; never sent by another operation.
    pub values: Vec<u64>,
}

/// A record as a reader got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub offset: u64,
    pub value: u64,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// All attempts of one batch are one operation: it ends with the outcome of the last.
    Send(Send),
    /// Acknowledged at this place.
    Sent {
        op: u64,
        partition: u32,
        base_offset: u64,
    },
    /// Any operation: it had no effect and never will have.
    Failed {
        op: u64,
    },
    /// Any operation: nobody knows. One that never ends counts the same.
    Unknown {
        op: u64,
    },

    /// A reader begins. Another position or assignment is another reader.
    ReadFrom {
        reader: u64,
        partition: u32,
        offset: u64,
    },
    /// What it got, with the watermark if one was told along.
    Read {
        reader: u64,
        records: Vec<Seen>,
        high_watermark: Option<u64>,
    },
    /// It was told that the records before this offset are gone.
    Moved {
        reader: u64,
        offset: u64,
    },

    /// A client asks where the log ends.
    AskLatest {
        op: u64,
        partition: u32,
    },
    /// Answers of one scope (a leader epoch, say, where a leader that was replaced may still answer) are judged
    /// among each other; those without a scope also against acknowledgements and reads.
    Latest {
        op: u64,
        offset: u64,
        scope: Option<u64>,
    },

    /// A member of a group commits its position.
    Commit {
        op: u64,
        group: u32,
        partition: u32,
        assignment_epoch: u64,
        offset: u64,
        is_forced: bool,
    },
    Committed {
        op: u64,
    },
    /// Somebody asks for the committed position.
    AskCommitted {
        op: u64,
        group: u32,
        partition: u32,
    },
    FoundCommitted {
        op: u64,
        offset: Option<u64>,
    },
    /// A member was told that the partition is its own.
    Owned {
        group: u32,
        partition: u32,
        member: u64,
        assignment_epoch: u64,
    },

    /// Somebody saw this leader in this epoch.
    Led {
        partition: u32,
        leader_epoch: u64,
        leader: u64,
    },

    /// A watch begins after this revision. Watches of one filter have to see the same revisions; without a
    /// filter, each.
    Watched {
        watch: u64,
        filter: Option<u32>,
        after: u64,
    },
    /// All changes of this revision arrived.
    Revision {
        watch: u64,
        revision: u64,
    },
    /// It was told to begin anew after this revision.
    Compacted {
        watch: u64,
        revision: u64,
    },

    /// An operator accepted the loss of what stood at or above this offset.
    LossAccepted {
        partition: u32,
        from: u64,
    },
    /// The committed log of one replica when all is over, from its start.
    Scan {
        partition: u32,
        replica: u64,
        log_start: u64,
        records: Vec<Seen>,
    },
}

/// What happened to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub client: u32,
    #[serde(flatten)]
    pub what: What,
}

/// A list of events that is being written. Several threads share one behind a lock of theirs, which makes
/// their order the order of time.
#[derive(Debug, Clone, Default)]
pub struct History {
    events: Vec<Event>,
    operations: u64,
}

impl History {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            events: Vec::new(),
            operations: 0,
        }
    }

    /// A new id for an operation, a reader or a watch.
    pub const fn next_id(&mut self) -> u64 {
        self.operations += 1;
        self.operations
    }

    /// Notes that it happened now.
    pub fn note(&mut self, client: u32, what: What) {
        self.events.push(Event { client, what });
    }

    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    #[must_use]
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}
