//! How much the trials of a cluster do: little in the suite, much by `cargo xtask cluster-trial`.
//!
//! The command sets the environment of the tests; a seed is printed with every failure, and makes the same
//! choices again.

use std::time::Duration;

/// Sizes of one run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// What clients choose by.
    pub seed: u64,
    /// Changes that clients make to topics.
    pub changes: usize,
    /// Watchers that follow at once.
    pub watchers: usize,
    /// How long the controllers and their database are gone.
    pub outage: Duration,
    /// How often every process is restarted in turn.
    pub rounds: u32,
}

impl Effort {
    /// The one that the environment asks for.
    ///
    /// # Panics
    /// When it asks for something that is not a number.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "how `cargo xtask cluster-trial` tells its tests what to do"
    )]
    pub fn of_environment() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().expect("a number"))
        };
        let seed = number("TIDEGATE_TRIAL_SEED").unwrap_or(20_261_123);
        match number("TIDEGATE_TRIAL_ROUNDS") {
            None => Self {
                seed,
                changes: 1_000,
                watchers: 500,
                outage: Duration::from_secs(10),
                rounds: 1,
            },
            Some(rounds) => Self {
                seed,
                changes: 10_000,
                watchers: 2_000,
                outage: Duration::from_secs(60),
                rounds: u32::try_from(rounds).expect("a few"),
            },
        }
    }
}
