//! A body that others fill while it is being sent.
//!
//! Many put something in, and the connection takes what there is whenever it can send: under load much
//! leaves in one piece, and alone something leaves at once. What is behind the [`Outlet`] decides what the
//! next piece is. Invariant: a body that ended, or was dropped, asks for nothing more.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use tidegate_proto::private::Pieces;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Where the bytes of a body come from.
pub trait Feed: Send + 'static {
    /// The next piece; none when there is nothing for now.
    fn next(&mut self) -> Option<Bytes>;
}

impl Feed for Pieces {
    fn next(&mut self) -> Option<Bytes> {
        self.take()
    }
}

#[derive(Debug)]
struct Shared<F> {
    state: Mutex<State<F>>,
    /// Told when a piece was taken.
    taken: Notify,
    gone: CancellationToken,
}

#[derive(Debug)]
struct State<F> {
    feed: F,
    waker: Option<Waker>,
    is_ended: bool,
}

impl<F> Shared<F> {
    // The feed is whole after every call, or its owner panicked and goes down.
    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that fills. Clones fill the same body.
#[derive(Debug)]
pub struct Outlet<F> {
    shared: Arc<Shared<F>>,
}

impl<F> Clone for Outlet<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The side that is sent.
#[derive(Debug)]
pub struct OutletBody<F> {
    shared: Arc<Shared<F>>,
}

impl<F: Feed> Outlet<F> {
    /// The two sides of a body.
    #[must_use]
    pub fn new(feed: F) -> (Self, OutletBody<F>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                feed,
                waker: None,
                is_ended: false,
            }),
            taken: Notify::new(),
            gone: CancellationToken::new(),
        });
        let body = OutletBody {
            shared: Arc::clone(&shared),
        };
        (Self { shared }, body)
    }

    /// Works on what is behind the body, and has the connection look at it.
    pub fn with<T>(&self, work: impl FnOnce(&mut F) -> T) -> T {
        let mut state = self.shared.lock();
        let outcome = work(&mut state.feed);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        outcome
    }

    /// The same without having the connection look: for what adds nothing.
    pub fn look<T>(&self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.shared.lock().feed)
    }

    /// Ends the body when all that is in it has been taken.
    pub fn end(&self) {
        self.shared.lock().is_ended = true;
        self.with(|_| ());
    }

    /// Waits until the next piece is taken, or the body is gone. What was taken before this call does not
    /// count, unless nobody waited then.
    pub async fn taken(&self) {
        tokio::select! {
            () = self.shared.taken.notified() => {}
            () = self.shared.gone.cancelled() => {}
        }
    }

    /// Whether the connection let go of the body.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.shared.gone.is_cancelled()
    }

    /// Ends when the connection lets go of the body.
    pub async fn gone(&self) {
        self.shared.gone.cancelled().await;
    }
}

impl<F: Feed> Body for OutletBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.shared.lock();
        if let Some(piece) = state.feed.next() {
            drop(state);
            self.shared.taken.notify_one();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if state.is_ended {
            return Poll::Ready(None);
        }
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if !state.waker.as_ref().is_some_and(is_known) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<F> Drop for OutletBody<F> {
    fn drop(&mut self) {
        self.shared.gone.cancel();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_put_since_the_last_look_leaves_in_one_piece() {
        let (outlet, mut body) = Outlet::new(Pieces::default());
        outlet.with(|pieces| pieces.put(b"a"));
        outlet.with(|pieces| pieces.put(b"b"));
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, "ab");
        outlet.with(|pieces| pieces.put(b"c"));
        outlet.end();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "c");
    }

    #[tokio::test]
    async fn a_body_that_waits_is_woken_by_what_is_put() {
        let (outlet, mut body) = Outlet::new(Pieces::default());
        let (piece, ()) = tokio::join!(body.frame(), async {
            outlet.with(|pieces| pieces.put(b"late"));
        });
        assert_eq!(piece.unwrap().unwrap().into_data().unwrap(), "late");
        outlet.taken().await;
        assert!(!outlet.is_gone());
        drop(body);
        outlet.gone().await;
    }
}
