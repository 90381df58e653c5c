//! Carries work out on a thread that ends soon after it.
//!
//! The allocator gives back what a thread has freed, and lets others use the rest of its pages, when that
//! thread ends. The runtime's own threads never do: what the rows of ten thousand partitions took for a
//! moment, they would keep for as long as the process does nothing. For seldom and heavy work, not for
//! requests. The work is done to its end even when nobody waits for it any more.

use std::future::Future;
use std::panic::resume_unwind;

use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::{Instrument as _, Span};

/// What the work comes to. On a runtime of one thread, as in simulations, it is done in place.
///
/// # Panics
/// When the work does.
pub async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = Handle::current();
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work.await;
    }
    let work = work.instrument(Span::current());
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work)).await;
    match done.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime is going away, and whoever waits here with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::thread;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_is_done_on_another_thread_and_may_wait_there() {
        let here = thread::current().id();
        let elsewhere = apart(async {
            tokio::task::yield_now().await;
            thread::current().id()
        });
        assert_ne!(elsewhere.await, here);
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_in_place() {
        let here = thread::current().id();
        assert_eq!(apart(async { thread::current().id() }).await, here);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_panic_of_the_work_is_that_of_who_waits() {
        let work = AssertUnwindSafe(apart(async { panic!("broken") }));
        assert!(work.catch_unwind().await.is_err());
    }
}
