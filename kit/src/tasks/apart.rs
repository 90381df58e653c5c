//! Carries work out on a thread that ends soon after it.
//!
//! The allocator gives back what a thread has freed, and lets others use the rest of its pages, when that
//! thread ends. The runtime's own threads never do: what the rows of ten thousand partitions took for a
//! moment, they would keep for as long as the process does nothing. For heavy work that is seldom done;
//! what is done for every request stays where it is. The work is done to its end even when nobody waits for
//! it any more, and shutdown waits for it.

use std::future::Future;
use std::panic::resume_unwind;

use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::Span;

use super::{BlockingError, TaskKind, Tasks};

impl Tasks {
    /// What the work comes to. On a runtime of one thread, as in simulations, it is done in place.
    ///
    /// # Panics
    /// When the work does.
    pub async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = Handle::current();
        if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work.await;
        }
        let work = move || runtime.block_on(work);
        let done = self.spawn_blocking(TaskKind::Blocking, Span::current(), work);
        match done.await {
            Ok(done) => done,
            Err(BlockingError::Panicked(detail)) => resume_unwind(Box::new(detail)),
            // The runtime is going away, and whoever waits here with it.
            Err(BlockingError::NotStarted) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::thread;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_is_done_on_another_thread_and_may_wait_there() {
        let here = thread::current().id();
        let tasks = Tasks::new();
        let elsewhere = tasks.apart(async {
            tokio::task::yield_now().await;
            thread::current().id()
        });
        assert_ne!(elsewhere.await, here);
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_in_place() {
        let here = thread::current().id();
        let tasks = Tasks::new();
        let done = tasks.apart(async { thread::current().id() });
        assert_eq!(done.await, here);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_panic_of_the_work_is_that_of_who_waits() {
        let tasks = Tasks::new();
        let work = AssertUnwindSafe(tasks.apart(async { panic!("broken") }));
        assert!(work.catch_unwind().await.is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn shutdown_waits_for_work_that_nobody_else_waits_for() {
        let tasks = Tasks::new();
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let work = tasks.apart(async move {
            begin.send(()).unwrap();
            ended.await.unwrap();
        });
        tokio::select! {
            () = work => panic!("it waits"),
            begun = begun => begun.unwrap(),
        }
        assert_eq!(tasks.running(), 1);
        let mut shutdown = Box::pin(tasks.shutdown(Duration::from_secs(60)));
        assert!((&mut shutdown).now_or_never().is_none());
        end.send(()).unwrap();
        assert!(shutdown.await, "and nothing was dropped");
        assert_eq!(tasks.running(), 0);
    }
}
