//! The kinds of damage that are told apart in reports. Nothing depends on them.

use std::fmt;

/// What a crash did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The process died; the disk kept everything.
    Kill,
    /// Everything unsynced is gone.
    Lost,
    /// Some changes of names are gone.
    Names,
    /// Some writes to one file are gone.
    Subset,
    /// A write arrived in part, by sectors of 512 bytes.
    Tear512,
    /// A write arrived in part, by blocks of 4 KiB.
    Tear4096,
    /// A file is shorter than what was written to it.
    StaleLength,
    /// A file is longer than what arrived: zeros.
    ZeroTail,
    /// Several files and names at random.
    Mixed,
    /// A second crash, while the log recovered from the first.
    SecondCrash,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Lost,
        Self::Names,
        Self::Subset,
        Self::Tear512,
        Self::Tear4096,
        Self::StaleLength,
        Self::ZeroTail,
        Self::Mixed,
        Self::SecondCrash,
    ];

    /// One word, for reports and ledgers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Lost => "lost",
            Self::Names => "names",
            Self::Subset => "subset",
            Self::Tear512 => "tear-512",
            Self::Tear4096 => "tear-4096",
            Self::StaleLength => "stale-length",
            Self::ZeroTail => "zero-tail",
            Self::Mixed => "mixed",
            Self::SecondCrash => "second-crash",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
