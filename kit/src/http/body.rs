//! Reading request bodies within bounds of size and of time.
//!
//! [`read_body`] is for handlers that need the whole body; streaming handlers poll the body they got
//! and turn its errors into problems with `body_problem`. A body that is refused before its end is
//! read to its end all the same, without keeping it: HTTP/1 clients that write everything before they
//! read would find the connection reset and never see the answer.
//! Invariant: memory follows the bytes that really came, never a length that was only announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tidegate_proto::error::Problem;
use tokio::runtime::Handle;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

use super::fault::{BodyFault, body_problem};
use crate::clock;
use crate::limits::{
    BODY_ANSWER_HOLD, BODY_BYTES_PER_SECOND_MIN, BODY_DISCARD_BYTES_MAX, BODY_DISCARD_TIME,
    BODY_PACE_GRACE,
};

// A length that a client announced is believed up to here before its bytes have come.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// The whole body, at most `limit_bytes` of it.
///
/// # Errors
/// 413 `too_large` with `limit`, or what broke the body.
pub async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::from(BodyFault::TooLarge { limit_bytes });
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit_bytes {
        return Err(too_large());
    }
    // Most bodies are one frame, which is taken as it is.
    let Some(first) = next_chunk(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit_bytes {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::new();
    let pace = Pace::start();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if whole.is_empty() {
            whole.reserve(announced.clamp(
                first.len() + chunk.len(),
                RESERVE_BYTES_MAX.max(first.len() + chunk.len()),
            ));
            whole.extend_from_slice(&first);
        }
        if whole.len() + chunk.len() > limit_bytes {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
        pace.check(whole.len())?;
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// How fast a body comes that has to be whole before anything can be done with it. Streams that are
/// used as they come have no pace to keep, only [`crate::limits::BODY_IDLE_TIMEOUT`].
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    started: Instant,
}

impl Pace {
    /// The clock runs from here.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: clock::monotonic(),
        }
    }

    /// After so many bytes in all.
    ///
    /// # Errors
    /// When that is less than anybody has to send.
    pub fn check(&self, bytes: usize) -> Result<(), BodyFault> {
        let took = clock::monotonic().saturating_duration_since(self.started);
        let judged = took.saturating_sub(BODY_PACE_GRACE);
        if judged.as_secs_f64() * BODY_BYTES_PER_SECOND_MIN > bytes as f64 {
            return Err(BodyFault::Slow { bytes, took });
        }
        Ok(())
    }
}

// The next bytes; trailers and the empty frames that HTTP/2 may end with are skipped.
async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(body_problem(&error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) if !chunk.is_empty() => return Ok(Some(chunk)),
                Ok(_) | Err(_) => {}
            },
        }
    }
}

/// What becomes of the rest of a body that nobody reads to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is none, or the connection is gone.
    Left,
    /// It is read and thrown away, within limits. Over HTTP/2 as well: a stream that is reset while
    /// the peer still sends costs some clients (curl among them) the answer.
    Discarded,
    /// The same once the body was asked for: until then the peer waits for `100 Continue` and has
    /// not sent any of it.
    DiscardedOnceBegun,
}

impl Rest {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        if request.headers().contains_key(EXPECT) {
            Self::DiscardedOnceBegun
        } else {
            Self::Discarded
        }
    }
}

/// A body that fails when it brings nothing for `patience`. The timer is only made once the body is
/// waited for, so a body that is already there costs nothing.
pub(super) struct Patient {
    inner: Body,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
    rest: Rest,
    discards: Discards,
}

impl Patient {
    pub(super) fn new(inner: Body, patience: Duration, rest: Rest, discards: Discards) -> Self {
        Self {
            inner,
            patience,
            timer: None,
            is_armed: false,
            rest,
            discards,
        }
    }
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.rest == Rest::DiscardedOnceBegun {
            this.rest = Rest::Discarded;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.is_armed = false;
            if !matches!(frame, Some(Ok(_))) {
                this.rest = Rest::Left;
            }
            return Poll::Ready(frame.map(|result| result.map_err(Into::into)));
        }
        let deadline = crate::clock::monotonic() + this.patience;
        let timer = this.timer.get_or_insert_with(|| {
            this.is_armed = true;
            Box::pin(tokio::time::sleep_until(deadline.into()))
        });
        if !this.is_armed {
            this.is_armed = true;
            timer.as_mut().reset(deadline.into());
        }
        ready!(timer.as_mut().poll(cx));
        this.rest = Rest::Left;
        Poll::Ready(Some(Err(BodyFault::Idle {
            waited: this.patience,
        }
        .into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if self.rest == Rest::Discarded && !self.inner.is_end_stream() {
            self.discards.begin(std::mem::take(&mut self.inner));
        }
    }
}

/// The bodies of one request that are read to their end without being kept. While somebody reads,
/// hyper keeps the connection, and takes the next request from it afterwards; otherwise it would
/// close at once. The tasks run beside their connection and end with it, or in time.
#[derive(Debug, Clone, Default)]
pub(super) struct Discards(TaskTracker);

impl Discards {
    fn begin(&self, body: Body) {
        // A connection may be dropped together with its runtime.
        if Handle::try_current().is_ok() {
            let discarded = tokio::time::timeout(BODY_DISCARD_TIME, discard(body));
            self.0.spawn(discarded);
        }
    }

    /// Waits for their end, for a while. An answer that comes while they still write confuses clients
    /// (hyper's connection may then never become ready for another request), but one that writes
    /// slowly has to learn some time that it need not go on.
    pub(super) async fn settled(&self) {
        if !self.0.is_empty() {
            self.0.close();
            let _ = tokio::time::timeout(BODY_ANSWER_HOLD, self.0.wait()).await;
        }
    }
}

async fn discard(mut body: Body) {
    let mut left_bytes = BODY_DISCARD_BYTES_MAX;
    while !body.is_end_stream()
        && let Some(Ok(frame)) = body.frame().await
    {
        let Some(left) = left_bytes.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return;
        };
        left_bytes = left;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tidegate_proto::error::ErrorCode;
    use tokio::sync::oneshot;

    use super::*;

    fn chunks(parts: &[&'static str]) -> Body {
        Body::from_stream(stream::iter(parts.to_vec()).map(Ok::<_, BoxError>))
    }

    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn the_limit_counts_what_came_not_what_was_announced() {
        assert_eq!(read_body(Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read_body(Body::empty(), 0).await.unwrap(), "");
        assert_eq!(
            read_body(chunks(&["12", "", "345"]), 5).await.unwrap(),
            "12345"
        );
        for body in [
            Body::from("123456"),
            chunks(&["12", "3456"]),
            chunks(&["123456"]),
        ] {
            let problem = read_body(body, 5).await.unwrap_err();
            assert_eq!(problem.code(), ErrorCode::TooLarge);
            assert_eq!(problem.extra("limit").unwrap(), 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let stalled = stream::iter([Ok::<_, BoxError>("12")]).chain(stream::pending());
        let patient = Patient::new(
            Body::from_stream(stalled),
            Duration::from_secs(30),
            Rest::Left,
            Discards::default(),
        );
        let problem = read_body(Body::new(patient), 100).await.unwrap_err();
        assert!(problem.detail().contains("nothing for 30 s"), "{problem}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_keeps_coming_is_read() {
        let part = 32 * 1024;
        let slow = stream::iter(0..3).then(move |_| async move {
            tokio::time::advance(Duration::from_secs(20)).await;
            Ok::<_, BoxError>(vec![b'x'; part])
        });
        let patient = Patient::new(
            Body::from_stream(slow),
            Duration::from_secs(30),
            Rest::Left,
            Discards::default(),
        );
        let whole = read_body(Body::new(patient), 4 * part).await.unwrap();
        assert_eq!(whole.len(), 3 * part);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_long_before_its_end() {
        let trickle = stream::iter(0..1_000_000).then(|_| async move {
            tokio::time::advance(Duration::from_secs(1)).await;
            Ok::<_, BoxError>("x")
        });
        let start = clock::monotonic();
        let body = Body::from_stream(trickle);
        let problem = read_body(body, 1_000_000).await.unwrap_err();
        assert!(problem.detail().contains("bytes in"), "{problem}");
        assert!(clock::monotonic() - start < 2 * BODY_PACE_GRACE);
    }

    #[tokio::test]
    async fn a_broken_connection_is_told_as_such() {
        let broken = stream::iter([Ok("12"), Err(BoxError::from("reset by peer"))]);
        let problem = read_body(Body::from_stream(broken), 100).await.unwrap_err();
        assert_eq!(problem.status(), 400);
        assert!(problem.detail().contains("reset by peer"), "{problem}");
    }

    #[test]
    fn what_becomes_of_the_rest_depends_on_who_waits() {
        let mut request = Request::new(());
        assert_eq!(Rest::of(&request), Rest::Discarded);
        let expects = http::HeaderValue::from_static("100-continue");
        request.headers_mut().insert(EXPECT, expects);
        assert_eq!(Rest::of(&request), Rest::DiscardedOnceBegun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_body_is_read_on_for_a_limited_time() {
        for (rest, is_begun, is_read_on) in [
            (Rest::Discarded, false, true),
            (Rest::Left, true, false),
            (Rest::DiscardedOnceBegun, false, false),
            (Rest::DiscardedOnceBegun, true, true),
        ] {
            let (held, is_held) = oneshot::channel::<()>();
            let endless = stream::iter(["1", "2"]).chain(stream::pending().map(move |part| {
                let _ = &held;
                part
            }));
            let body = Body::from_stream(endless.map(Ok::<_, BoxError>));
            let mut patient =
                Patient::new(body, Duration::from_secs(30), rest, Discards::default());
            if is_begun {
                patient.frame().await.unwrap().unwrap();
            }
            drop(patient);
            let dropped = crate::clock::monotonic();
            is_held.await.unwrap_err();
            let waited = crate::clock::monotonic() - dropped;
            let expected = if is_read_on {
                BODY_DISCARD_TIME
            } else {
                Duration::ZERO
            };
            assert_eq!(waited.as_secs(), expected.as_secs(), "{rest:?} {is_begun}");
        }
    }
}
