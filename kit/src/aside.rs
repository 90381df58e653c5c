//! A future that rests beside another one of the same task, and is polled only when it was woken
//! itself.
//!
//! The task of a connection is woken for each request; what waits beside it, a stop or a clock, hardly
//! ever. Asking all of it each time costs locks and atomics that all connections share; here it costs
//! a look at a flag of its own.
//! Invariant: once the inner future was woken, the task is woken, and its next poll polls the inner one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that does not care how often its task is woken for something else.
#[derive(Debug)]
pub(crate) struct Aside<F> {
    future: F,
    bell: Arc<Bell>,
    /// What the inner future wakes.
    own: Waker,
    /// What the bell wakes.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Bell {
    is_rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task runs: it must see why.
        self.is_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future + Unpin> Aside<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            is_rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            future,
            own: Waker::from(Arc::clone(&bell)),
            bell,
            task: None,
        }
    }
}

impl<F: Future + Unpin> Future for Aside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let is_rung = this.bell.is_rung.load(Ordering::Acquire);
        let is_known = |task: &Waker| task.will_wake(cx.waker());
        if is_rung || !this.task.as_ref().is_some_and(is_known) {
            // Before the flag is looked at: who rings later finds somebody to wake, who rang earlier
            // is seen.
            this.bell.task.register(cx.waker());
            this.task = Some(cx.waker().clone());
            if this.bell.is_rung.swap(false, Ordering::AcqRel) {
                return Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.own));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Keeps its waker where the test can call it, counts its polls and ends at the third.
    struct Inner(Arc<Count>, Arc<AtomicWaker>);

    impl Inner {
        fn start() -> (Arc<Count>, Arc<AtomicWaker>, Aside<Self>) {
            let (polls, waker) = (Arc::<Count>::default(), Arc::<AtomicWaker>::default());
            let inner = Self(Arc::clone(&polls), Arc::clone(&waker));
            (polls, waker, Aside::new(inner))
        }
    }

    impl Future for Inner {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.1.register(cx.waker());
            match self.0.0.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }
    }

    fn poll(aside: &mut Aside<Inner>, task: &Arc<Count>) -> bool {
        let waker = Waker::from(Arc::clone(task));
        let mut cx = Context::from_waker(&waker);
        Pin::new(aside).poll(&mut cx).is_ready()
    }

    #[test]
    fn it_is_asked_at_first_and_then_only_when_it_was_woken() {
        let (polls, waker, mut aside) = Inner::start();
        let task = Arc::<Count>::default();
        let count = |count: &Count| count.0.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert!(!poll(&mut aside, &task));
        }
        assert_eq!((count(&polls), count(&task)), (1, 0));
        waker.wake();
        assert_eq!((count(&polls), count(&task)), (1, 1));
        for _ in 0..3 {
            assert!(!poll(&mut aside, &task));
        }
        assert_eq!((count(&polls), count(&task)), (2, 1));
        waker.wake();
        assert!(poll(&mut aside, &task));
        assert_eq!((count(&polls), count(&task)), (3, 2));
    }

    #[test]
    fn it_wakes_the_task_that_asked_last() {
        let (polls, waker, mut aside) = Inner::start();
        let (before, now) = (Arc::<Count>::default(), Arc::<Count>::default());
        assert!(!poll(&mut aside, &before));
        assert!(!poll(&mut aside, &now));
        waker.wake();
        let count = |count: &Count| count.0.load(Ordering::Relaxed);
        assert_eq!((count(&before), count(&now), count(&polls)), (0, 1, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_between_threads() {
        for _ in 0..2_000 {
            let (go, gone) = tokio::sync::oneshot::channel();
            let mut aside = Aside::new(gone);
            let sender = tokio::task::spawn_blocking(move || go.send(7));
            let got = poll_fn(|cx| Pin::new(&mut aside).poll(cx)).await;
            assert_eq!(got.unwrap(), 7);
            sender.await.unwrap().unwrap();
        }
    }
}
