//! The clock of one connection: how long the head of a request may take.
//!
//! The protocol asks for a timer at each head and drops it when the head is there. A timer of the
//! runtime for each would be set and cleared under a lock that all connections share; here that is an
//! atomic, and one timer a connection looks at it when the earliest deadline there can be has come.
//! Invariant: nobody waits for a head beyond its deadline, nor is cut off before it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::clock;

/// Clones are the same clock.
#[derive(Debug, Clone)]
pub(super) struct HeadClock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Nanoseconds after the start at which the head that is waited for is overdue, or `NONE`.
    deadline: AtomicU64,
}

const NONE: u64 = u64::MAX;

impl HeadClock {
    pub(super) fn start() -> Self {
        Self {
            inner: Arc::new(Inner {
                started: clock::monotonic(),
                deadline: AtomicU64::new(NONE),
            }),
        }
    }

    /// Ends when a head is overdue. No deadline is set that is less than `next` away.
    pub(super) async fn overdue(&self, next: Duration) {
        let mut look_at = self.inner.started + next;
        loop {
            tokio::time::sleep_until(look_at.into()).await;
            let now = clock::monotonic();
            look_at = self.deadline().unwrap_or(now + next);
            if look_at <= now {
                return;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.inner.deadline.load(Ordering::Relaxed) {
            NONE => None,
            after => Some(self.inner.started + Duration::from_nanos(after)),
        }
    }

    fn set(&self, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.inner.started);
        let after = u64::try_from(after.as_nanos()).unwrap_or(NONE);
        self.inner.deadline.store(after, Ordering::Relaxed);
    }
}

impl Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.set(deadline);
        Box::pin(Head(self.clone()))
    }

    fn now(&self) -> Instant {
        clock::monotonic()
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.set(deadline);
    }
}

/// A head that is waited for. It never ends: when it is overdue the connection is dropped.
#[derive(Debug)]
struct Head(HeadClock);

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Head {}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.inner.deadline.store(NONE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_whole_time_however_often_the_clock_was_set_before() {
        let clock = HeadClock::start();
        let before = clock::monotonic();
        tokio::join!(clock.overdue(NEXT), async {
            for _ in 0..10 {
                let head = clock.sleep(NEXT);
                tokio::time::advance(Duration::from_secs(74)).await;
                drop(head);
                // The answer takes longer than any head may.
                tokio::time::advance(3 * NEXT).await;
            }
            std::mem::forget(clock.sleep(NEXT));
        });
        let took = clock::monotonic() - before;
        assert_eq!(took.as_secs(), 10 * (74 + 225) + 75);
    }
}
