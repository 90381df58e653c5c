//! Questions to whichever controller answers, as JSON.
//!
//! Everything asked here may be asked again: registrations and heartbeats replace what they said before,
//! and producer ids that nobody got are lost without harm.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_proto::control::{
    FailedRequest, Heartbeat, HeartbeatAnswer, IsrAnswer, IsrRequest, LeaveRequest, Register,
    Registered, SealAnswer, SealRequest, Seen, WatchStart,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::TopicId;
use tokio::time::timeout;

use crate::channel::{Channel, ChannelBody, ChannelError};
use crate::http::read_body;
use crate::limits::{CONTROLLER_ANSWER_BYTES_MAX, CONTROLLER_CALL_TIMEOUT};

/// A question was not answered as hoped.
#[derive(Debug, Error)]
pub enum CallError {
    /// No controller answered.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// None answered in time.
    #[error("no controller answered within {} s", CONTROLLER_CALL_TIMEOUT.as_secs())]
    Slow,
    /// A controller said no.
    #[error("{}", .0.detail())]
    Refused(Problem),
    /// An answer that cannot be read.
    #[error("a controller answered with something else: {0}")]
    Answer(String),
}

impl CallError {
    /// Whether the same question may find another answer later, or elsewhere.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Channel(_) | Self::Slow | Self::Answer(_) => true,
            Self::Refused(problem) => problem.code().is_retryable(),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(problem) => problem,
            CallError::Channel(_) | CallError::Slow | CallError::Answer(_) => {
                Self::new(ErrorCode::Unavailable, "no controller can be reached")
            }
        }
    }
}

/// Asks controllers. Clones share the connection.
#[derive(Clone, Debug)]
pub struct ControllerClient {
    channel: Channel,
}

#[derive(Debug, Deserialize)]
struct ProducerIds {
    first: u64,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Topics {
    topics: Vec<TopicId>,
}

#[derive(Debug, Deserialize)]
struct Deleted {
    deleted: Vec<TopicId>,
}

impl ControllerClient {
    /// Asks over this channel, whose endpoints are the private addresses of controllers.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// The channel itself, for requests of others.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Registers a storage unit.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn register(&self, report: &Register) -> Result<Registered, CallError> {
        self.post("/internal/v1/register", report).await
    }

    /// Gives a sign of life.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<HeartbeatAnswer, CallError> {
        self.post("/internal/v1/heartbeat", beat).await
    }

    /// Tells what sealed replicas hold.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn answer_seals(&self, answers: Vec<SealAnswer>) -> Result<(), CallError> {
        let request = SealRequest { answers };
        self.tell("/internal/v1/seal", &request).await
    }

    /// Tells which replicas failed.
    ///
    /// # Errors
    /// [`CallError`]: then nobody knows whether it was taken.
    pub async fn report_failed(&self, request: &FailedRequest) -> Result<(), CallError> {
        self.tell("/internal/v1/failed", request).await
    }

    /// Proposes in-sync sets; an outcome for each, in order.
    ///
    /// # Errors
    /// [`CallError`]: then nobody knows what became of any of them.
    pub async fn propose_isr(&self, request: &IsrRequest) -> Result<IsrAnswer, CallError> {
        self.post("/internal/v1/isr", request).await
    }

    /// Tells that a storage unit stops on purpose.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn leave(&self, leave: &LeaveRequest) -> Result<(), CallError> {
        self.tell("/internal/v1/leave", leave).await
    }

    /// Takes a block of producer ids that nobody else gets.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn lease_producer_ids(&self) -> Result<Range<u64>, CallError> {
        let none = serde_json::Map::new();
        let ids: ProducerIds = self.post("/internal/v1/producer-ids", &none).await?;
        Ok(ids.first..ids.first.saturating_add(ids.count))
    }

    /// Which of `topics` were deleted, as opposed to never known.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn deleted_topics(&self, topics: Vec<TopicId>) -> Result<Vec<TopicId>, CallError> {
        let asked = Topics { topics };
        let found: Deleted = self.post("/internal/v1/deleted-topics", &asked).await?;
        Ok(found.deleted)
    }

    /// Opens a watch stream.
    pub(super) async fn watch(
        &self,
        start: WatchStart,
    ) -> Result<Response<ChannelBody>, CallError> {
        let place = |name: &str, seen: Seen| {
            let (revision, hash, store) = (seen.revision, seen.hash, seen.store_id);
            format!("?{name}={revision}&hash={hash}&store={store}")
        };
        let query = match start {
            WatchStart::Snapshot => String::new(),
            WatchStart::SnapshotFor(seen) => place("seen", seen),
            WatchStart::After(seen) => place("after", seen),
        };
        let request = Request::get(format!("/internal/v1/watch{query}"));
        let request = request
            .body(Body::empty())
            .map_err(|error| CallError::Answer(error.to_string()))?;
        let answer = in_time(self.channel.send(request)).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refusal(answer).await)
    }

    async fn tell(&self, path: &str, body: &impl Serialize) -> Result<(), CallError> {
        let answer = self.send(path, body).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(refusal(answer).await)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let answer = self.send(path, body).await?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        let read = read_body(Body::new(answer.into_body()), CONTROLLER_ANSWER_BYTES_MAX);
        let bytes = timeout(CONTROLLER_CALL_TIMEOUT, read)
            .await
            .map_err(|_| CallError::Slow)?
            .map_err(|error| CallError::Answer(format!("{error:?}")))?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Answer(error.to_string()))
    }

    async fn send(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response<ChannelBody>, CallError> {
        let text = serde_json::to_vec(body).map_err(|e| CallError::Answer(e.to_string()))?;
        let json = HeaderValue::from_static("application/json");
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, json)
            .body(Body::from(text))
            .map_err(|error| CallError::Answer(error.to_string()))?;
        in_time(self.channel.send(request)).await
    }
}

async fn in_time(
    answer: impl Future<Output = Result<Response<ChannelBody>, ChannelError>>,
) -> Result<Response<ChannelBody>, CallError> {
    let limit: Duration = CONTROLLER_CALL_TIMEOUT;
    match timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Slow),
    }
}

async fn refusal(answer: Response<ChannelBody>) -> CallError {
    let status = answer.status();
    let read = read_body(Body::new(answer.into_body()), CONTROLLER_ANSWER_BYTES_MAX);
    let bytes = match timeout(CONTROLLER_CALL_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) | Err(_) => return CallError::Answer(format!("status {status}")),
    };
    match serde_json::from_slice(&bytes) {
        Ok(problem) => CallError::Refused(problem),
        Err(_) => CallError::Answer(format!("status {status}")),
    }
}
