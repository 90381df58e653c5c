//! Waiting for a value: level-triggered and bounded, the only place in the tests that sleeps.
//!
//! The bound is generous because it only decides how long a failure takes, never whether a slow machine
//! passes.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

/// Polls until `probe` gives a value.
///
/// # Panics
/// When [`PATIENCE`] runs out, naming `what`.
pub async fn wait_for<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut probe: F) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// Polls from a plain thread until `probe` gives a value.
///
/// # Panics
/// When [`PATIENCE`] runs out, naming `what`.
pub fn wait_blocking<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(STEP);
    }
}

/// Awaits a future within [`PATIENCE`].
///
/// # Panics
/// When it takes longer, naming `what`.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} in vain for {what}")
    };
    value
}

/// Lets that much time pass: before another attempt, or while something has to stay gone.
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Asserts equality of two long values without printing them whole.
///
/// # Panics
/// When they differ, with the first difference.
pub fn assert_same<T: PartialEq + Debug>(what: &str, got: &[T], want: &[T]) {
    let differs = got.iter().zip(want).position(|(got, want)| got != want);
    if let Some(at) = differs {
        panic!("{what}: item {at} is {:?}, not {:?}", got[at], want[at]);
    }
    assert_eq!(got.len(), want.len(), "{what}: another number of items");
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests measure how long they have waited"
)]
fn now() -> Instant {
    Instant::now()
}
