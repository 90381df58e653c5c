//! Rules of the log that a test takes away, one at a time, to show that the crash images notice.
//!
//! Outside of tests and the `testing` feature every guard stands, known to the compiler. The switch is
//! the thread's own: tests that run beside it are not touched.

/// A rule that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// J2: a cut deletes earlier entries of the fold.
    CutDeletesEarlier,
    /// J1: a round that is written before the last is synced says so.
    NameSynced,
    /// J3: a journal file is used again only when a checkpoint covers all of it.
    RecycleCoveredOnly,
}

#[cfg(any(test, feature = "testing"))]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static REMOVED: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Runs without that guard, on this thread.
    pub fn without<T>(guard: Guard, run: impl FnOnce() -> T) -> T {
        let before = REMOVED.replace(Some(guard));
        let result = run();
        REMOVED.set(before);
        result
    }

    pub(crate) fn stands(guard: Guard) -> bool {
        REMOVED.get() != Some(guard)
    }
}

#[cfg(any(test, feature = "testing"))]
pub use switch::without;

#[cfg(any(test, feature = "testing"))]
pub(crate) use switch::stands;

#[cfg(not(any(test, feature = "testing")))]
pub(crate) const fn stands(_guard: Guard) -> bool {
    true
}
