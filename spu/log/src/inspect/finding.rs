//! What an inspection has to say: a fact, where it is, and whether it is a loss.
//!
//! Findings are told one by one as they are made, so that a directory of any size is looked at in
//! bounded memory. Damage that stands together is one finding.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::damage::FileDamage;

/// Something in a data directory that is not as a log at rest would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The file or directory.
    pub path: PathBuf,
    /// The replica it belongs to, when it belongs to one.
    pub replica: Option<(ReplicaKey, ReplicaGen)>,
    /// Place in the file. Empty where bytes are missing.
    pub bytes: Option<Range<u64>>,
    /// Offsets that cannot be served, or that are meant. Empty when they are not known.
    pub offsets: Option<Range<Offset>>,
    /// What is wrong, in words.
    pub what: String,
}

/// Kinds of findings. All but `Torn` and `Leftover` are problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Bytes that were written once and are no longer what they were.
    Rot,
    /// Something that must be there and is not.
    Missing,
    /// The end of what a crash interrupted. The next start cuts it; nothing acknowledged is in it.
    Torn,
    /// An index that does not fit its segment. Reads get slower, none fails; it can be rebuilt.
    Index,
    /// A producer snapshot that cannot be used.
    Snapshot,
    /// Something the log did not make, or no longer knows. The next start moves it to quarantine.
    Stray,
    /// What the next start removes or moves to the trash; nothing of it is needed.
    Leftover,
    /// The system cannot read it.
    Unreadable,
}

/// Who is told while something is looked at.
pub(super) trait Listener {
    fn tell(&mut self, finding: Finding);
    /// So many bytes more are checked.
    fn progress(&mut self, bytes: u64);
    /// True when nobody wants to know more.
    fn is_stopped(&self) -> bool;
}

impl FindingKind {
    /// False for what a crash leaves behind in good order.
    #[must_use]
    pub fn is_problem(self) -> bool {
        !matches!(self, Self::Torn | Self::Leftover)
    }

    /// A stable word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rot => "rot",
            Self::Missing => "missing",
            Self::Torn => "torn",
            Self::Index => "index",
            Self::Snapshot => "snapshot",
            Self::Stray => "stray",
            Self::Leftover => "leftover",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Finding {
    /// A finding about a whole file or directory.
    pub(crate) fn new(kind: FindingKind, path: PathBuf, what: impl Into<String>) -> Self {
        Self {
            kind,
            path,
            replica: None,
            bytes: None,
            offsets: None,
            what: what.into(),
        }
    }

    pub(crate) fn of(mut self, key: ReplicaKey, replica_gen: ReplicaGen) -> Self {
        self.replica = Some((key, replica_gen));
        self
    }

    pub(crate) fn bytes(mut self, bytes: Range<u64>) -> Self {
        self.bytes = Some(bytes);
        self
    }

    pub(crate) fn offsets(mut self, offsets: Range<Offset>) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// The same as it is kept of a replica.
    pub(crate) fn to_damage(&self) -> FileDamage {
        let (bytes, offsets) = (self.bytes.clone(), self.offsets.clone().unwrap_or_default());
        FileDamage {
            path: self.path.clone(),
            position: bytes.map_or(0, |bytes| bytes.start),
            from: offsets.start,
            until: offsets.end,
            what: self.what.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.path.display())?;
        if let Some(bytes) = &self.bytes {
            write!(f, ", bytes {}..{}", bytes.start, bytes.end)?;
        }
        if let Some(offsets) = &self.offsets {
            write!(f, ", offsets {}..{}", offsets.start, offsets.end)?;
        }
        write!(f, ": {}", self.what)
    }
}
