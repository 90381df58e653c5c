//! Whole request bodies, read on a budget that all requests share.
//!
//! Small bodies are bounded by the number of connections. Larger ones take from the budget as their
//! bytes come, never by what they announce, so that somebody who announces much and sends little holds
//! nothing. A full budget is an answer: nobody waits with half a body in hand.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_kit::http::{BodyFault, Pace, body_problem, read_body};
use tidegate_proto::error::{ErrorCode, Problem};

use crate::limits::{BODY_FREE_BYTES, BODY_STEP_BYTES};

/// A body and its share of the budget, to be kept as long as the bytes.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _permits: Vec<BytePermit>,
}

/// The whole body, at most `limit_bytes` of it. 413 beyond, 503 `overloaded` when the budget is full.
pub(crate) async fn read_on_budget(
    budget: impl FnOnce() -> ByteBudget,
    mut body: Body,
    limit_bytes: usize,
) -> Result<Held, Problem> {
    let announced = body.size_hint();
    let is_small = announced
        .exact()
        .is_some_and(|bytes| bytes <= BODY_FREE_BYTES as u64);
    if is_small || announced.lower() > limit_bytes as u64 {
        let bytes = read_body(body, limit_bytes).await?;
        return Ok(Held {
            bytes,
            _permits: Vec::new(),
        });
    }
    let budget = budget();
    // What can never be held is too large, not a matter of waiting.
    let limit_bytes = limit_bytes.min(budget.total() + BODY_FREE_BYTES);
    let mut whole = BytesMut::new();
    let mut permits = Vec::new();
    let pace = Pace::start();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| body_problem(&error))?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        let len = whole.len() + chunk.len();
        if len > limit_bytes {
            return Err(BodyFault::TooLarge { limit_bytes }.into());
        }
        while len > BODY_FREE_BYTES + permits.len() * BODY_STEP_BYTES {
            permits.push(budget.try_acquire(BODY_STEP_BYTES).ok_or_else(overloaded)?);
            // Room for what the permits cover, at once: growing by doubling would copy it all again.
            let covered = BODY_FREE_BYTES + permits.len() * BODY_STEP_BYTES;
            let expected = usize::try_from(announced.lower()).unwrap_or(usize::MAX);
            whole.reserve(covered.min(expected).saturating_sub(whole.len()));
        }
        whole.extend_from_slice(&chunk);
        pace.check(len)?;
    }
    Ok(Held {
        bytes: whole.freeze(),
        _permits: permits,
    })
}

fn overloaded() -> Problem {
    let detail = "too many large request bodies at once; nothing of this one was appended";
    Problem::new(ErrorCode::Overloaded, detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunked(chunks: usize) -> Body {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; BODY_STEP_BYTES]));
        Body::from_stream(stream::iter((0..chunks).map(move |_| chunk())))
    }

    #[tokio::test]
    async fn a_full_budget_is_an_answer_and_is_given_back() {
        let budget = ByteBudget::new(4 * BODY_STEP_BYTES);
        let limit = 32 * BODY_STEP_BYTES;
        let held = read_on_budget(|| budget.clone(), chunked(3), limit)
            .await
            .unwrap();
        assert_eq!(held.bytes.len(), 3 * BODY_STEP_BYTES);
        let refused = read_on_budget(|| budget.clone(), chunked(3), limit)
            .await
            .unwrap_err();
        assert_eq!(
            (refused.code(), refused.is_definite()),
            (ErrorCode::Overloaded, true)
        );
        let small = read_on_budget(|| budget.clone(), Body::from("small"), limit)
            .await
            .unwrap();
        assert_eq!(small.bytes, "small");
        drop(held);
        assert_eq!(budget.available(), budget.total());
        assert!(
            read_on_budget(|| budget.clone(), chunked(3), limit)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_body_that_the_whole_budget_cannot_hold_is_too_large_whenever_it_comes() {
        let budget = ByteBudget::new(2 * BODY_STEP_BYTES);
        let limit = 32 * BODY_STEP_BYTES;
        let refused = read_on_budget(|| budget.clone(), chunked(4), limit)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooLarge);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn the_limit_counts_what_came() {
        let budget = ByteBudget::new(64 * BODY_STEP_BYTES);
        let refused = read_on_budget(|| budget.clone(), chunked(3), 2 * BODY_STEP_BYTES)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TooLarge);
        let announced = Body::from(vec![0; 100]);
        assert_eq!(
            read_on_budget(|| budget.clone(), announced, 99)
                .await
                .unwrap_err()
                .code(),
            ErrorCode::TooLarge
        );
    }
}
