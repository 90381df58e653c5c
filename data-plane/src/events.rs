//! Server-sent events: a stream of records that resumes where it broke off.
//!
//! The id of every event is a cursor over all followed partitions, so the last id is all that a
//! client needs to go on. One event is made when the connection has taken the one before; nothing is
//! kept for a reader that is slow. Invariant: an event's id covers exactly the records up to it.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_kit::auth::{Op, Principal, require};
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_kit::tasks::Tasks;
use tidegate_proto::api::records::{CaughtUpEvent, DrainEvent, HEADER_CURSOR, PingEvent};
use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::{FRAME_BYTES_TARGET, STREAM_TIMEOUT_MS_MAX};
use tidegate_proto::position::StartPosition;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, sleep_until};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::CallerOrTicket;
use crate::encode::events::{StreamEvent, begin_event, end_event, write_event};
use crate::encode::headers::{insert, insert_high_watermark};
use crate::encode::json::{write_number, write_record_line};
use crate::encode::walk::walk_records;
use crate::follow::{self, Follower, any_moved};
use crate::limits::DRAIN_RETRY_MS;
use crate::metrics::{self, ReadBy};
use crate::negotiate::MEDIA_TYPE_EVENTS;
use crate::position::{Start, parse_cursors, resolve_start};
use crate::query::Query;
use crate::select::Selection;
use crate::state::DataPlane;
use crate::topics::{find_topic, parse_name, topic_not_found};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Room for the records of one event and for what they become.
const EVENT_BYTES: usize = 2 * FRAME_BYTES_TARGET;
const PARAMETERS: [&str; 6] = [
    "from",
    "cursor",
    "last_event_id",
    "partitions",
    "ticket",
    "timeout_ms",
];

/// The event stream route.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new().routes(routes!(stream_events))
}

/// Follow a topic as server-sent events
///
/// Events: `records` (`{"partition","records"}`, id = cursor), `caught_up` once when all that there
/// was has been sent, `ping` every 15 s with the high watermarks, `drain` before the server stops,
/// `error` (a problem object; ends the stream). `from` defaults to `latest`. `Last-Event-ID` counts
/// more than what the URL says.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/events",
    operation_id = "stream_events",
    tag = "records",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("from" = Option<String>, Query, description = "earliest, latest, -n, @<epoch ms>, or an offset (one partition); default latest"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("last_event_id" = Option<String>, Query, description = "As the header Last-Event-ID"),
        ("partitions" = Option<String>, Query, description = "Numbers with commas; default all, those added later too"),
        ("ticket" = Option<String>, Query, description = "Single-use ticket in place of a token"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, maximum = 86400000, description = "For how many milliseconds; then `drain` ends the stream. Absent: until one of both sides has enough"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen"),
    ),
    responses(
        (status = 200, description = "The events; what the `data` of each holds goes by its name: `records`, `caught_up`, `ping`, `drain`, or `error`, which ends them", body = StreamEvent, content_type = "text/event-stream"),
        (status = 400, description = "invalid_parameter, invalid_name, unknown_field or cursor_too_large", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired or log_truncated, with `next_cursor`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range, with `log_start` and `end`", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream_events(
    State(state): State<DataPlane>,
    CallerOrTicket(principal): CallerOrTicket,
    ApiPath(topic): ApiPath<String>,
    request: Request,
) -> ApiResult<Response> {
    let name = parse_name(&topic)?;
    require(&principal, Op::Consume, Some(&name))?;
    let topic = find_topic(&state, &name)?;
    let query = Query::parse(request.uri().query(), &PARAMETERS)?;
    let timeout_ms = query.number("timeout_ms", 1..=STREAM_TIMEOUT_MS_MAX)?;
    let ends_at = timeout_ms.map(|timeout| clock::monotonic() + Duration::from_millis(timeout));
    let resume = last_event_id(request.headers())?;
    let selection = Selection::read(&topic, None, &query, resume, StartPosition::Latest)?;
    Ok(open_events(&state, &principal, topic, selection, ends_at).await?)
}

/// An answer that goes on until one side has enough.
pub(crate) async fn open_events(
    state: &DataPlane,
    principal: &Principal,
    topic: Arc<TopicSpec>,
    selection: Selection,
    ends_at: Option<Instant>,
) -> Result<Response, Problem> {
    let partitions = &**state.partitions();
    let chosen = selection.partitions.as_deref();
    let places = resolve_start(partitions, &topic, chosen, selection.start).await?;
    let followers = follow::open(partitions, &topic, places).await?;
    let cursor = follow::cursor(&topic, &followers)?;
    let high_watermark = follow::high_watermark_text(&followers);
    let mut ping = tokio::time::interval(state.config().ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    metrics::events_started();
    let session = Session {
        state: state.clone(),
        answers: state.answer_budget(principal),
        tasks: state.tasks().clone(),
        topology: state.topology_watch(),
        topic,
        follows_all: selection.partitions.is_none(),
        followers,
        turn: 0,
        has_caught_up: false,
        has_ended: false,
        ends_at: ends_at.map_or(state.next_end(), |asked| asked.min(state.next_end())),
        ping,
    };
    let stream = unfold(session, |mut session| async move {
        let event = session.next_event().await?;
        Some((Ok::<_, Infallible>(event), session))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE_EVENTS));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    insert(headers, HEADER_CURSOR, cursor);
    insert_high_watermark(headers, high_watermark);
    Ok(response)
}

/// What a client that connects again says it saw last.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let value = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    // What is no text is no cursor either.
    parse_cursors(value.map(|value| value.to_str().unwrap_or("?")))
}

/// 503 for an answer that finds no room.
pub(crate) fn overloaded() -> Problem {
    let detail = "too many answers are waiting for their clients to read them";
    Problem::new(ErrorCode::Overloaded, detail).retry_after(1)
}

struct Session {
    state: DataPlane,
    answers: ByteBudget,
    tasks: Tasks,
    topology: watch::Receiver<Arc<Topology>>,
    topic: Arc<TopicSpec>,
    follows_all: bool,
    followers: Vec<Follower>,
    /// Whose turn it is, so that a busy partition does not starve the others.
    turn: usize,
    has_caught_up: bool,
    has_ended: bool,
    ends_at: Instant,
    ping: Interval,
}

impl Session {
    async fn next_event(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        match self.make_event().await {
            Ok(event) => Some(event),
            Err(problem) => {
                self.has_ended = true;
                Some(event(None, "error", &problem).into())
            }
        }
    }

    async fn make_event(&mut self) -> Result<Bytes, Problem> {
        loop {
            if self.tasks.token().is_cancelled() || clock::monotonic() >= self.ends_at {
                return Ok(self.drain()?.into());
            }
            if self.ping.tick().now_or_never().is_some() {
                return Ok(self.tails().into());
            }
            if let Some(index) = self.next_behind()
                && let Some(event) = self.records(index).await?
            {
                return Ok(event);
            }
            if self.followers.iter_mut().any(Follower::is_behind) {
                continue;
            }
            if !self.has_caught_up {
                self.has_caught_up = true;
                let cursor = follow::cursor(&self.topic, &self.followers)?;
                return Ok(event(
                    Some(&cursor),
                    "caught_up",
                    &CaughtUpEvent {
                        cursor: cursor.clone(),
                    },
                )
                .into());
            }
            tokio::select! {
                () = self.tasks.cancelled() => {}
                () = sleep_until(self.ends_at.into()) => {}
                moved = any_moved(&mut self.followers) => {
                    if moved.is_err() {
                        return Err(self.gone());
                    }
                }
                _ = self.ping.tick() => return Ok(self.tails().into()),
                Ok(()) = self.topology.changed() => self.follow_added().await?,
            }
        }
    }

    fn next_behind(&mut self) -> Option<usize> {
        let count = self.followers.len();
        let found = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|index| self.followers[*index].is_behind())?;
        self.turn = found + 1;
        Some(found)
    }

    /// One event with records of one partition; `None` when there turned out to be none.
    async fn records(&mut self, index: usize) -> Result<Option<Bytes>, Problem> {
        // Those who wait here hold nothing that others wait for.
        let mut permit = tokio::select! {
            permit = self.answers.acquire(EVENT_BYTES) => permit.ok_or_else(overloaded)?,
            () = self.tasks.cancelled() => return Ok(None),
        };
        let partitions = Arc::clone(self.state.partitions());
        let follower = &self.followers[index];
        let chunk = match follower.read(&*partitions, FRAME_BYTES_TARGET).await {
            Ok(chunk) => chunk,
            Err(problem) => return Err(self.lost(problem).await),
        };
        let mut body = Vec::with_capacity(FRAME_BYTES_TARGET / 4);
        let mut count = 0_u64;
        let from = follower.next;
        let walked = walk_records(&chunk.batches, from, |batch, offset, record| {
            if count > 0 {
                body.push(b',');
            }
            write_record_line(&mut body, batch, offset, record);
            count += 1;
            match body.len() < FRAME_BYTES_TARGET {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if count == 0 {
            self.followers[index].next = chunk.next.max(walked);
            return match self.followers[index].next > from {
                true => Ok(None),
                false => Err(Problem::new(ErrorCode::Internal, "a read brought nothing")),
            };
        }
        self.followers[index].next = walked;
        let cursor = follow::cursor(&self.topic, &self.followers)?;
        let mut event = Vec::with_capacity(body.len() + cursor.len() + 96);
        begin_event(&mut event, Some(&cursor), "records");
        event.extend_from_slice(b"{\"partition\":");
        write_number(&mut event, u64::from(self.followers[index].partition.0));
        event.extend_from_slice(b",\"records\":[");
        event.extend_from_slice(&body);
        event.extend_from_slice(b"]}");
        end_event(&mut event);
        // One record may be larger than all that an event is meant to hold.
        if !permit.grow_to(event.len()) {
            return Err(overloaded());
        }
        event.shrink_to_fit();
        permit.shrink_to(event.len());
        metrics::fetched(ReadBy::Events, count, event.len() as u64);
        Ok(Some(permit.around(event)))
    }

    fn tails(&self) -> Vec<u8> {
        let tail = |follower: &Follower| {
            (
                follower.partition.to_string(),
                follower.high_watermark().get(),
            )
        };
        let tails = self.followers.iter().map(tail).collect();
        event(None, "ping", &PingEvent { tails })
    }

    fn drain(&mut self) -> Result<Vec<u8>, Problem> {
        self.has_ended = true;
        let cursor = follow::cursor(&self.topic, &self.followers)?;
        let drain = DrainEvent {
            retry_after_ms: DRAIN_RETRY_MS,
            cursor: cursor.clone(),
        };
        let mut text = format!("retry: {DRAIN_RETRY_MS}\n").into_bytes();
        text.extend(event(Some(&cursor), "drain", &drain));
        Ok(text)
    }

    /// Partitions that the topic was given since.
    async fn follow_added(&mut self) -> Result<(), Problem> {
        let topology = Arc::clone(&self.topology.borrow_and_update());
        let Some(topic) = topology
            .topic(&self.topic.name)
            .filter(|now| now.id == self.topic.id)
        else {
            return Err(topic_not_found(&self.topic.name));
        };
        if !self.follows_all || topic.partitions.len() <= self.topic.partitions.len() {
            return Ok(());
        }
        let added: Vec<PartitionId> = topic.partitions[self.topic.partitions.len()..]
            .iter()
            .map(|spec| spec.partition)
            .collect();
        let partitions = Arc::clone(self.state.partitions());
        let start = Start::At(StartPosition::Earliest);
        let places = resolve_start(&*partitions, topic, Some(&added), start).await?;
        self.followers
            .extend(follow::open(&*partitions, topic, places).await?);
        self.topic = Arc::clone(topic);
        Ok(())
    }

    fn gone(&self) -> Problem {
        follow::gone(&self.state.topology(), &self.topic)
    }

    async fn lost(&self, problem: Problem) -> Problem {
        follow::lost(
            &**self.state.partitions(),
            &self.topic,
            &self.followers,
            problem,
        )
        .await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        metrics::events_ended();
    }
}

fn event(id: Option<&str>, name: &str, data: &impl serde::Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    // Plain structs of strings and numbers; nothing in them can fail to serialize.
    let data = serde_json::to_vec(data).unwrap_or_else(|_| b"{}".to_vec());
    write_event(&mut text, id, name, &data);
    text
}
