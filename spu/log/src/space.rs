//! How full the disk is, and what follows: plenty, low (an alarm), full (no more appends).
//!
//! Pure: it is told what the file system says, about once a second, and when the system refused for
//! lack of space. Space held back by the ballast counts as taken whether the ballast is there or
//! not, so that releasing it does not look like space that came back. Invariant: a level is left at
//! a higher mark than it is entered at.

/// What a file system says about its space. All bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Of the whole file system.
    pub total: u64,
    /// Of it free for this user.
    pub available: u64,
    /// Mounted so that nothing can be written.
    pub is_read_only: bool,
}

impl Space {
    /// Of a file system that does not say: endless.
    pub const UNKNOWN: Self = Self {
        total: u64::MAX,
        available: u64::MAX,
        is_read_only: false,
    };
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceLevel {
    /// All is well.
    #[default]
    Plenty,
    /// Below the soft mark: somebody should look.
    Low,
    /// Below the hard mark, or the system refused to write more: appends must be refused. What makes
    /// space, and metadata, goes on.
    Full,
}

impl SpaceLevel {
    /// One word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plenty => "plenty",
            Self::Low => "low",
            Self::Full => "full",
        }
    }
}

/// Marks and reserve. All bytes; `None` = by the size of the disk, 0 = off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceConfig {
    /// Less than this available: an alarm. By default a tenth of the disk, at most 10 GiB.
    pub soft_bytes: Option<u64>,
    /// Less than this available: no more appends. By default a twentieth of the disk, at most 5 GiB.
    pub hard_bytes: Option<u64>,
    /// A file that only takes space, until there is none. By default a hundredth of the disk, at most
    /// 1 GiB.
    pub ballast_bytes: Option<u64>,
}

impl SpaceConfig {
    /// Nothing is watched or held back: appends are refused only when the system refuses to write.
    pub const OFF: Self = Self {
        soft_bytes: Some(0),
        hard_bytes: Some(0),
        ballast_bytes: Some(0),
    };

    /// Everything by the size of the disk.
    pub const BY_SIZE: Self = Self {
        soft_bytes: None,
        hard_bytes: None,
        ballast_bytes: None,
    };
}

const GIB: u64 = 1 << 30;

/// The marks for one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
    pub(crate) ballast: u64,
}

impl Marks {
    pub(crate) fn new(config: SpaceConfig, total: u64) -> Self {
        // A disk that does not tell its size gets none: nothing it says can be compared with them.
        let total = if total == u64::MAX { 0 } else { total };
        let hard = config.hard_bytes.unwrap_or((total / 20).min(5 * GIB));
        let soft = config.soft_bytes.unwrap_or((total / 10).min(10 * GIB));
        Self {
            soft: if soft == 0 { 0 } else { soft.max(hard) },
            hard,
            ballast: config.ballast_bytes.unwrap_or((total / 100).min(GIB)),
        }
    }
}

/// Looks that must pass without a refusal before the disk counts as not full any more: one to try
/// again what was refused, one to see that it went well.
const QUIET_LOOKS: u32 = 2;

/// The state of it.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    level: SpaceLevel,
    /// Looks since the system refused; counts down.
    noisy: u32,
    /// Room that must be there for work to go on, besides the hard mark.
    room: u64,
}

impl Gauge {
    pub(crate) fn new(room: u64) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// What the file system says now; `missing` is what the ballast lacks.
    pub(crate) fn observe(&mut self, marks: Marks, space: Space, missing: u64) -> SpaceLevel {
        self.noisy = self.noisy.saturating_sub(1);
        let available = space.available.saturating_sub(missing);
        let mut full_below = marks.hard;
        let mut low_below = marks.soft;
        if self.level == SpaceLevel::Full {
            full_below += self.room.max(marks.hard / 8);
        }
        if self.level > SpaceLevel::Plenty {
            low_below += low_below / 8;
        }
        self.level = if self.noisy > 0 || available < full_below {
            SpaceLevel::Full
        } else if available < low_below {
            SpaceLevel::Low
        } else {
            SpaceLevel::Plenty
        };
        self.level
    }

    /// The system refused to write for lack of space.
    pub(crate) fn ran_out(&mut self) {
        self.level = SpaceLevel::Full;
        self.noisy = QUIET_LOOKS;
    }
}

#[cfg(test)]
mod tests;
