//! What goes wrong on the way to the database, by script or by seed.

use std::collections::VecDeque;
use std::time::Duration;

/// What happens to one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused as if somebody had been faster.
    Conflict,
    /// Nothing done, and said so.
    Refused,
    /// Made, but the answer is lost.
    MadeUnknown,
    /// Not made, and the answer is lost.
    NotMadeUnknown,
    /// Made, the answer is lost, and the next attempt to look it up is refused.
    MadeUnreachable,
    /// Made, the answer is lost, and found by the look-up; then the next reading of events is refused.
    MadeUnread,
    /// The answer is lost, and the commit hangs: it is made when
    /// [`MemoryDatabase::let_through`](super::MemoryDatabase::let_through) says so or its time has come.
    MadeLater,
}

/// How often things go wrong by chance, in thousandths of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub seed: u64,
    /// Any call.
    pub refused_per_mille: u16,
    /// A commit; a third of these are made, a third are made later.
    pub unknown_per_mille: u16,
    /// Every call takes up to this long.
    pub latency_max: Duration,
}

#[derive(Debug)]
pub(super) struct Faults {
    pub(super) script: VecDeque<Fault>,
    pub(super) is_down: bool,
    pub(super) is_deaf: bool,
    pub(super) lookups_refused: u32,
    pub(super) readings_refused: u32,
    /// Bells ring without a pause.
    pub(super) is_ringing: bool,
    weather: Weather,
    random: u64,
}

impl Faults {
    pub(super) const fn none() -> Self {
        let weather = Weather {
            seed: 0,
            refused_per_mille: 0,
            unknown_per_mille: 0,
            latency_max: Duration::ZERO,
        };
        Self {
            script: VecDeque::new(),
            is_down: false,
            is_deaf: false,
            lookups_refused: 0,
            readings_refused: 0,
            is_ringing: false,
            weather,
            random: 0,
        }
    }

    pub(super) const fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
        self.random = weather.seed;
    }

    pub(super) fn latency(&mut self) -> Duration {
        let max = self.weather.latency_max;
        if max.is_zero() {
            return max;
        }
        max * u32::from(self.draw(1_000)) / 1_000
    }

    pub(super) fn is_refused(&mut self) -> bool {
        self.is_down || self.hits(self.weather.refused_per_mille)
    }

    pub(super) const fn is_lookup_refused(&mut self) -> bool {
        let refused = self.lookups_refused > 0;
        self.lookups_refused = self.lookups_refused.saturating_sub(1);
        refused
    }

    pub(super) const fn is_reading_refused(&mut self) -> bool {
        let refused = self.readings_refused > 0;
        self.readings_refused = self.readings_refused.saturating_sub(1);
        refused
    }

    /// What happens to the commit that is made now.
    pub(super) fn next(&mut self) -> Option<Fault> {
        if let Some(fault) = self.script.pop_front() {
            return Some(fault);
        }
        if !self.hits(self.weather.unknown_per_mille) {
            return None;
        }
        Some(match self.draw(3) {
            0 => Fault::MadeUnknown,
            1 => Fault::NotMadeUnknown,
            _ => Fault::MadeLater,
        })
    }

    fn hits(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.draw(1_000) < per_mille
    }

    /// SplitMix64: small, and good enough to choose faults.
    fn draw(&mut self, below: u16) -> u16 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        u16::try_from(word % u64::from(below)).unwrap_or_default()
    }
}
