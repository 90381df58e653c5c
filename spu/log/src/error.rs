//! What can go wrong, a type per fact.
//!
//! A failed write, sync or close is final for the log ([`LogDead`]): the kernel may have dropped
//! the pages and marked them clean, so a retry that "succeeds" proves nothing. What was refused for
//! lack of space, or of file handles, before anything was promised ([`DiskError::is_passing`]) is
//! done again later. A failed read is the reader's alone ([`ReadError`]).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::platform;

/// The log takes nothing any more; what was reported durable is durable. Reads go on.
#[derive(Debug, Clone, Error)]
#[error("the log in {dir} is stopped: {operation} failed: {message}")]
pub struct LogDead {
    /// The data directory.
    pub dir: PathBuf,
    /// What was being done, with the file's name.
    pub operation: String,
    /// The system's words.
    pub message: String,
    /// Why, as far as it changes what to do.
    pub cause: DeadCause,
}

/// Why a log is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadCause {
    /// There was no space, at a moment at which that cannot be undone (a sync, or an orderly close).
    NoSpace,
    /// The file system went read-only.
    ReadOnly,
    /// Any other error of a write, sync or close.
    Io,
    /// [`crate::Log::close`] was called.
    Closed,
}

/// Why a submission was refused, whole. Nothing of it happened.
#[derive(Debug, Clone, Error)]
pub enum SubmitError {
    /// The log takes nothing any more.
    #[error(transparent)]
    Dead(#[from] LogDead),
    /// An entry names a replica that this log does not hold.
    #[error("no replica {0} in this log")]
    UnknownReplica(ReplicaKey),
    /// A batch does not begin where the replica ends: the caller lost count.
    #[error("replica {key} ends at {end}, the batch begins at {base}")]
    NotNext {
        /// The replica.
        key: ReplicaKey,
        /// Its end.
        end: Offset,
        /// Where the batch begins.
        base: Offset,
    },
}

/// Why a replica was not made.
#[derive(Debug, Clone, Error)]
pub enum CreateError {
    /// The log takes nothing any more.
    #[error(transparent)]
    Dead(#[from] LogDead),
    /// This log holds a replica of that partition already.
    #[error("there is a replica {0} already")]
    Exists(ReplicaKey),
    /// There is no space, or no file handle, for it now. Nothing of it happened.
    #[error("there is no room for a replica now: {0}")]
    NoRoom(LogDead),
}

/// How a disk failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFailure {
    /// When, in epoch milliseconds; 0 when nobody had told the log the time.
    pub when_ms: i64,
    /// What was being done, with the file's name.
    pub operation: String,
    /// The system's words.
    pub message: String,
}

impl fmt::Display for DiskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.message)
    }
}

/// Why a data directory could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be written: permissions, or a read-only file system.
    #[error("the data directory cannot be written ({}): {source}", path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space left for {}", path.display())]
    NoSpace {
        /// What could not be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file that must be whole is not. Nothing was changed.
    #[error("{} is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk failed in an earlier run, and nobody accepted that yet: see
    /// [`crate::accept_failure`].
    #[error("the disk of {} failed: {failure}", dir.display())]
    Failed {
        /// The directory.
        dir: PathBuf,
        /// What is known of it.
        failure: DiskFailure,
    },
    /// A write, sync or close failed now. Later openings give [`Self::Failed`], as far as that could
    /// be kept.
    #[error("{operation} {} failed: {source}", path.display())]
    Broke {
        /// What was being done.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Any other error of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match cause_of(&source) {
            DeadCause::NoSpace => Self::NoSpace { path, source },
            DeadCause::ReadOnly => Self::NotWritable { path, source },
            DeadCause::Io | DeadCause::Closed => Self::Io { path, source },
        }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }
}

/// Why records could not be read. No wrong byte was served.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Below the first offset still kept.
    #[error("offset {from} is below the first kept offset {log_start}")]
    Trimmed {
        /// What was asked for.
        from: Offset,
        /// The first offset kept.
        log_start: Offset,
    },
    /// Above the end.
    #[error("offset {from} is above the end {end}")]
    BeyondEnd {
        /// What was asked for.
        from: Offset,
        /// The end.
        end: Offset,
    },
    /// A stored batch fails its checks, or is another one than belongs there.
    #[error("replica {key}: damaged at offset {at} ({}, byte {position}): {what}", path.display())]
    Corrupt {
        /// The replica.
        key: ReplicaKey,
        /// First offset that cannot be served.
        at: Offset,
        /// The next offset that can, when it is near enough to be known.
        until: Option<Offset>,
        /// The segment's file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What failed.
        what: String,
    },
    /// The file system's error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Syncing a file that is put in the place of another one, or of several, only when this went well.
pub(crate) const SYNC_NEW: &str = "sync new file";

/// Finding the place of a cut.
pub(crate) const CUT: &str = "cut";

/// Closing such a file.
pub(crate) const CLOSE_NEW: &str = "close new file";

/// A producer snapshot that is needed, for stored batches do not tell what it did, and cannot be had.
/// Whoever serves the replica without it lets duplicates in (rule D3).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the producer snapshot of {key}: {what}")]
pub struct SnapshotLost {
    /// The replica.
    pub key: ReplicaKey,
    /// What is wrong with it.
    pub what: &'static str,
}

/// An I/O error of the writing side with the operation it ended. Becomes [`LogDead`] or
/// [`OpenError`] at the border.
#[derive(Debug, Error)]
#[error("{operation} {}: {source}", path.display())]
pub(crate) struct DiskError {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl DiskError {
    /// True when the system refused to begin: no space, no file handle, no memory. Nothing that was
    /// written before is in doubt, and the same may go well later. A sync or a close that fails so is
    /// final: what it was to keep may be gone from memory already. Of a file that nothing relies on yet
    /// ([`SYNC_NEW`], [`CLOSE_NEW`]) it is not: the file is thrown away.
    pub(crate) fn is_passing(&self) -> bool {
        self.begins() && (self.is_no_space() || is_exhausted(&self.source))
    }

    /// True when there is no space on the disk.
    pub(crate) fn is_no_space(&self) -> bool {
        cause_of(&self.source) == DeadCause::NoSpace
    }

    /// True for what changes the disk. Its failure says that the disk cannot be trusted; that of a
    /// read, or of the program itself, does not.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(
            self.operation,
            "open" | "read" | "stat" | "list" | "run" | "start a thread for" | CUT
        )
    }

    /// True for a read of a stored file that failed, or found what does not fit: the trouble of that file
    /// alone.
    pub(crate) fn is_of_reading(&self) -> bool {
        ["open", "read", CUT].contains(&self.operation) && !self.is_passing()
    }

    fn begins(&self) -> bool {
        let is_new = [SYNC_NEW, CLOSE_NEW].contains(&self.operation);
        is_new || !(self.operation.starts_with("sync") || self.operation == "close")
    }

    pub(crate) fn to_dead(&self, dir: &Path) -> LogDead {
        LogDead {
            dir: dir.to_path_buf(),
            operation: format!("{} {}", self.operation, self.path.display()),
            message: self.source.to_string(),
            cause: cause_of(&self.source),
        }
    }
}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        let is_failure = error.is_change() && !error.is_passing();
        if is_failure && cause_of(&error.source) != DeadCause::ReadOnly {
            return Self::Broke {
                operation: error.operation,
                path: error.path,
                source: error.source,
            };
        }
        Self::io(&error.path, error.source)
    }
}

/// Names the operation and the file of an I/O error.
pub(crate) trait Context<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError {
            operation,
            path: path.to_path_buf(),
            source,
        })
    }
}

/// Handles or memory ran out: of the process or the system, not of the disk.
fn is_exhausted(error: &io::Error) -> bool {
    platform::is_out_of_handles(error) || error.kind() == io::ErrorKind::OutOfMemory
}

fn cause_of(error: &io::Error) -> DeadCause {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DeadCause::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => DeadCause::ReadOnly,
        _ => DeadCause::Io,
    }
}
