//! One stream of appends.
//!
//! Requests are handed to their partitions in the order in which they came, and wait there side by side;
//! what became of them goes out as it is known, all that is known in one piece. When the node stops the
//! stream says which requests it did not take and answers the others.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tidegate_data_plane::partitions::{AppendRequest, Appended, Partitions};
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_kit::clock;
use tidegate_kit::frames::{Arrived, FrameFault, FrameReader, Keep};
use tidegate_kit::outlet::Outlet;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::private::append::{
    APPEND, APPEND_PAYLOAD_MAX, Answer, Append, Goodbye, Refused, Taken,
};
use tidegate_proto::private::{FrameError, FrameHeader, Pieces};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::queued;
use crate::limits::{STREAM_APPENDS_MAX, STREAM_QUEUED_BYTES_MAX};

/// Answers that are encoded before requests are looked at again.
const ANSWERS_AT_ONCE: usize = 256;

pub(super) struct AppendStream {
    pub(super) partitions: Arc<dyn Partitions>,
    pub(super) bodies: ByteBudget,
    pub(super) outlet: Outlet<Pieces>,
    pub(super) stop: CancellationToken,
    pub(super) age_max: Duration,
}

type UnderWay = FuturesUnordered<BoxFuture<'static, Answer>>;

impl AppendStream {
    /// Runs until the peer goes, or all is answered after the end.
    pub(super) async fn run(self, body: Body) {
        let mut reader = FrameReader::new(body);
        let mut under_way = UnderWay::new();
        let mut first_untaken = 0;
        let mut is_ending = false;
        let too_old = sleep_until((clock::monotonic() + self.age_max).into());
        tokio::pin!(too_old);
        while !(is_ending && under_way.is_empty()) {
            let is_full = queued(&self.outlet) >= STREAM_QUEUED_BYTES_MAX;
            let may_take = !is_ending && !is_full && under_way.len() < STREAM_APPENDS_MAX;
            tokio::select! {
                biased;
                () = self.outlet.gone() => return,
                Some(answer) = under_way.next(), if !is_full && !under_way.is_empty() => {
                    self.answer(answer, &mut under_way);
                }
                () = self.outlet.taken(), if is_full => {}
                () = self.stop.cancelled(), if !is_ending => {
                    is_ending = true;
                    self.say_goodbye(first_untaken);
                }
                () = &mut too_old, if !is_ending => {
                    is_ending = true;
                    self.say_goodbye(first_untaken);
                }
                arrived = reader.next(|header| self.keep(header)), if may_take => {
                    match arrived {
                        Ok(Some(arrived)) => {
                            if let Some(id) = Append::id_of(&arrived.payload) {
                                first_untaken = id.saturating_add(1);
                            }
                            under_way.push(self.take(arrived));
                        }
                        // The peer sends no more, and reads on.
                        Ok(None) => is_ending = true,
                        Err(fault) => {
                            is_ending = true;
                            self.broke(&fault, first_untaken);
                        }
                    }
                }
            }
        }
        self.outlet.end();
    }

    fn keep(&self, header: FrameHeader) -> Result<Keep, FrameError> {
        if header.kind != APPEND {
            return Err(FrameError::Kind { kind: header.kind });
        }
        header.check(APPEND_PAYLOAD_MAX)?;
        Ok(Keep::Paid(self.bodies.clone()))
    }

    /// Hands a request over. The first poll of what is returned does it.
    fn take(&self, arrived: Arrived) -> BoxFuture<'static, Answer> {
        let Some(id) = Append::id_of(&arrived.payload) else {
            let problem = Problem::new(ErrorCode::CorruptBatch, "an append without a number");
            return refused(u64::MAX, problem);
        };
        if arrived.is_skipped {
            let limit = self.bodies.total();
            let detail =
                format!("one request may hold at most {limit} bytes of batches on this node");
            let problem = Problem::new(ErrorCode::TooLarge, detail).with("limit", limit);
            return refused(id, problem);
        }
        match Append::decode(arrived.payload) {
            Ok(append) => {
                let partitions = Arc::clone(&self.partitions);
                Box::pin(carry_out(partitions, append, arrived.permit))
            }
            Err(error) => refused(id, corrupt(error)),
        }
    }

    /// Encodes this answer and all others that are there.
    fn answer(&self, first: Answer, under_way: &mut UnderWay) {
        self.outlet.with(|pieces| {
            first.encode(pieces);
            for _ in 0..ANSWERS_AT_ONCE {
                let Some(Some(next)) = under_way.next().now_or_never() else {
                    break;
                };
                next.encode(pieces);
            }
        });
    }

    fn say_goodbye(&self, first_untaken: u64) {
        let goodbye = Answer::Goodbye(Goodbye { first_untaken });
        self.outlet.with(|pieces| goodbye.encode(pieces));
    }

    fn broke(&self, fault: &FrameFault, first_untaken: u64) {
        if !matches!(fault, FrameFault::Broken(_)) {
            tracing::warn!(%fault, "a stream of appends is not understood and ends");
        }
        self.say_goodbye(first_untaken);
    }
}

async fn carry_out(
    partitions: Arc<dyn Partitions>,
    append: Append,
    permit: Option<BytePermit>,
) -> Answer {
    let id = append.id;
    let request = AppendRequest {
        batches: append.batches,
        acks: append.acks,
        expected_end: append.expected_end,
        leader_epoch_min: Some(append.leader_epoch),
        may_stamp: false,
        timeout: Duration::from_millis(append.timeout_ms.into()),
    };
    let outcome = partitions.append(append.key, request).await;
    drop(permit);
    match outcome {
        Ok(appended) => Answer::Taken(taken(id, appended)),
        Err(problem) => Answer::Refused(Refused { id, problem }),
    }
}

fn taken(id: u64, appended: Appended) -> Taken {
    Taken {
        id,
        base_offset: appended.base_offset,
        count: appended.count,
        timestamp_ms: appended.timestamp_ms,
        durable: appended.durable,
        duplicate: appended.duplicate,
    }
}

fn refused(id: u64, problem: Problem) -> BoxFuture<'static, Answer> {
    Box::pin(std::future::ready(Answer::Refused(Refused { id, problem })))
}

fn corrupt(error: FrameError) -> Problem {
    match error {
        FrameError::Batch(error) => error.into(),
        error => Problem::new(ErrorCode::CorruptBatch, error.to_string()),
    }
}
