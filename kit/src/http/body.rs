//! Reading request bodies within bounds of size and of time.
//!
//! [`read_body`] is for handlers that need the whole body; streaming handlers poll the body they got
//! and turn its errors into problems with `body_problem`. Invariant: memory follows the bytes that
//! really came, never a length that was only announced.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tidegate_proto::error::Problem;
use tokio::time::Sleep;

use super::fault::{BodyFault, body_problem};

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
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
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

/// A body that fails when it brings nothing for `patience`. The timer is only made once the body is
/// waited for, so a body that is already there costs nothing.
pub(super) struct Patient<B> {
    inner: B,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
}

impl<B> Patient<B> {
    pub(super) fn new(inner: B, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            timer: None,
            is_armed: false,
        }
    }
}

impl<B> HttpBody for Patient<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.is_armed = false;
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

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tidegate_proto::error::ErrorCode;

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
        let patient = Patient::new(Body::from_stream(stalled), Duration::from_secs(30));
        let problem = read_body(Body::new(patient), 100).await.unwrap_err();
        assert!(problem.detail().contains("nothing for 30 s"), "{problem}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_keeps_coming_is_read() {
        let slow = stream::iter(["1", "2", "3"]).then(|part| async move {
            tokio::time::advance(Duration::from_secs(20)).await;
            Ok::<_, BoxError>(part)
        });
        let patient = Patient::new(Body::from_stream(slow), Duration::from_secs(30));
        assert_eq!(read_body(Body::new(patient), 100).await.unwrap(), "123");
    }

    #[tokio::test]
    async fn a_broken_connection_is_told_as_such() {
        let broken = stream::iter([Ok("12"), Err(BoxError::from("reset by peer"))]);
        let problem = read_body(Body::from_stream(broken), 100).await.unwrap_err();
        assert_eq!(problem.status(), 400);
        assert!(problem.detail().contains("reset by peer"), "{problem}");
    }
}
