//! Single questions to one storage unit, side by side on one connection.
//!
//! The connection is made when somebody asks and none is there; whoever asks meanwhile waits for the same.
//! Questions change nothing, so every failure of the way may be tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_kit::frames::{FrameReader, Keep};
use tidegate_proto::error::Problem;
use tidegate_proto::limits::FRAME_PROBLEM_BYTES_MAX;
use tidegate_proto::private::ask::{Ask, CHUNK, REPLY_PAYLOAD_MAX, Reply};
use tidegate_proto::private::{ASK_PATH, FrameHeader};
use tokio::sync::Semaphore;

use super::dial::{DialError, Dialer, Sender, send};
use super::limits::ASKS_MAX;

type Dialling = Shared<BoxFuture<'static, Result<Sender, DialError>>>;

enum Phase {
    Closed,
    Dialling(Dialling),
    Open(Sender),
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum AskFault {
    /// The way failed: ask again.
    Way(String),
    /// The storage unit refused.
    Refused(Problem),
}

/// The connection for questions to one unit.
pub(super) struct AskLine {
    dialer: Dialer,
    phase: Mutex<Phase>,
    room: Semaphore,
}

impl AskLine {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            phase: Mutex::new(Phase::Closed),
            room: Semaphore::new(ASKS_MAX),
        }
    }

    /// Asks once. A reply with batches is paid for out of `memory` as long as the permit lives.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        memory: &ByteBudget,
    ) -> Result<(Reply, Option<BytePermit>), AskFault> {
        let way = |error: &dyn std::fmt::Display| AskFault::Way(error.to_string());
        let _place = self.room.acquire().await.map_err(|error| way(&error))?;
        let mut sender = self.sender().await.map_err(|error| way(&error))?;
        let body = Full::new(ask.to_bytes()).boxed_unsync();
        let answer = send(&mut sender, ASK_PATH, body).await;
        let answer = answer.map_err(|error| way(&error))?;
        if !answer.status().is_success() {
            return Err(refusal(answer.into_body()).await);
        }
        let mut reader = FrameReader::new(answer.into_body());
        let keep = |header: FrameHeader| {
            if header.kind != CHUNK {
                // Short: it need not wait until large reads have given back what they took.
                header.check(FRAME_PROBLEM_BYTES_MAX)?;
                return Ok(Keep::Shared);
            }
            header.check(REPLY_PAYLOAD_MAX)?;
            Ok(Keep::PaidAtMost(memory.clone()))
        };
        let arrived = reader.next(keep).await.map_err(|error| way(&error))?;
        let arrived = arrived.ok_or_else(|| AskFault::Way("an empty answer".to_owned()))?;
        let reply = Reply::decode(arrived.kind, arrived.payload);
        Ok((reply.map_err(|error| way(&error))?, arrived.permit))
    }

    /// The connection as it is, or a new one.
    async fn sender(&self) -> Result<Sender, DialError> {
        let dialling = {
            let mut phase = self.lock();
            match &*phase {
                Phase::Open(sender) if !sender.is_closed() => return Ok(sender.clone()),
                Phase::Dialling(dialling) => dialling.clone(),
                Phase::Open(_) | Phase::Closed => {
                    let dialer = self.dialer.clone();
                    let dialling = async move { dialer.connect().await }.boxed().shared();
                    *phase = Phase::Dialling(dialling.clone());
                    dialling
                }
            }
        };
        let outcome = dialling.clone().await;
        let mut phase = self.lock();
        if matches!(&*phase, Phase::Dialling(now) if now.ptr_eq(&dialling)) {
            *phase = match &outcome {
                Ok(sender) => Phase::Open(sender.clone()),
                Err(_) => Phase::Closed,
            };
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // It is whole after every statement.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn refusal(body: Incoming) -> AskFault {
    let whole = Limited::new(body, FRAME_PROBLEM_BYTES_MAX).collect().await;
    let bytes = whole.map_or_else(|_| Bytes::new(), |whole| whole.to_bytes());
    match serde_json::from_slice(&bytes) {
        Ok(problem) => AskFault::Refused(problem),
        Err(_) => AskFault::Way("an answer that is no problem".to_owned()),
    }
}
