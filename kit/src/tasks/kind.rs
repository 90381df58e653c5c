//! The closed table of kinds of tasks: what becomes of each on cancellation and on failure.
//!
//! A table and nothing else. A new kind is a new line here, so that nobody decides about shutdown and
//! failure at the place where a task is started.

/// What happens to a task when its token is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCancel {
    /// Dropped at its next await: it holds nothing that anybody waits for.
    Abort,
    /// Left to end by itself; it watches `cancelled()`. Dropped only at the deadline.
    Wait,
}

/// What the failure of a task (error or panic) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It is written down, the process goes on.
    Log,
    /// The process cannot do its work without it: everything is cancelled and `failure()` says why.
    Exit,
}

/// Every kind of task there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Accepts connections and waits for them to drain.
    Listener,
    /// Serves one connection.
    Connection,
    /// Serves one WebSocket after its upgrade.
    Socket,
    /// Serves one long stream between nodes.
    Stream,
    /// Finishes a request whose client has stopped waiting.
    Request,
    /// Owns the replicas of one shard.
    Shard,
    /// Carries assignments of the controller to shards.
    Assignment,
    /// Runs the controller's loop.
    Controller,
    /// Owns the connection to the metadata store.
    Store,
    /// Follows a snapshot that somebody else publishes.
    Watch,
    /// Keeps a node's place in the cluster: without it the node would not know that it was shut out.
    Session,
    /// Keeps a connection to another node.
    Channel,
    /// Encodes what all subscribers of one partition share.
    Fanout,
    /// Deletes what has expired, on a timer.
    Sweep,
    /// Keeps counters and histograms in shape, on a timer.
    Upkeep,
    /// Work on a blocking thread.
    Blocking,
    /// Waits for the operating system to ask for the end.
    Signal,
}

impl TaskKind {
    /// What happens to the kind when its token is cancelled.
    #[must_use]
    pub fn on_cancel(self) -> OnCancel {
        match self {
            Self::Listener
            | Self::Connection
            | Self::Socket
            | Self::Stream
            | Self::Request
            | Self::Shard
            | Self::Assignment
            | Self::Controller
            | Self::Store
            | Self::Blocking => OnCancel::Wait,
            Self::Watch
            | Self::Session
            | Self::Channel
            | Self::Fanout
            | Self::Sweep
            | Self::Upkeep
            | Self::Signal => OnCancel::Abort,
        }
    }

    /// What the failure of the kind means.
    #[must_use]
    pub fn on_error(self) -> OnError {
        match self {
            Self::Listener
            | Self::Shard
            | Self::Assignment
            | Self::Controller
            | Self::Store
            | Self::Session => OnError::Exit,
            Self::Connection
            | Self::Socket
            | Self::Stream
            | Self::Request
            | Self::Watch
            | Self::Channel
            | Self::Fanout
            | Self::Sweep
            | Self::Upkeep
            | Self::Blocking
            | Self::Signal => OnError::Log,
        }
    }
}
