//! Server-sent events: a stream of records that resumes where it broke off.
//!
//! The id of every event is a cursor over all followed partitions, so the last id is all that a
//! client needs to go on. How a stream goes on once it is open is in [`session`].

mod absences;
mod session;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_kit::auth::{Op, Principal, require};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_proto::api::records::HEADER_CURSOR;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::STREAM_TIMEOUT_MS_MAX;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::StartPosition;
use tokio::time::MissedTickBehavior;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::CallerOrTicket;
use crate::encode::events::StreamEvent;
use crate::encode::headers::{insert, insert_away, insert_high_watermark};
use crate::follow::{self, Follower};
use crate::metrics;
use crate::negotiate::MEDIA_TYPE_EVENTS;
use crate::opening::{self, away};
use crate::position::parse_cursors;
use crate::query::Query;
use crate::select::Selection;
use crate::state::DataPlane;
use crate::topics::{find_topic, parse_name};
use absences::Absences;
use session::Session;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
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
/// Events: `records` (`{"partition","records"}`, id = cursor), `caught_up` when all that there
/// was has been sent, once and once more after each `back`, `away` with partitions that cannot be reached and `back` when they can again (the
/// stream goes on with the others; ids keep their places), `ping` every 15 s with the high watermarks, `drain` before the server stops,
/// `error` (a problem object; ends the stream). `from` defaults to `latest`. `Last-Event-ID` counts
/// more than what the URL says.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/events",
    operation_id = "stream_events",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("from" = Option<String>, Query, description = "earliest, latest, -n, @<epoch ms>, or an offset (one partition); default latest"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("last_event_id" = Option<String>, Query, description = "As the header Last-Event-ID"),
        ("partitions" = Option<String>, Query, description = "Numbers with commas; default all, those added later too"),
        ("ticket" = Option<String>, Query, description = "Single-use ticket in place of a token"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, maximum = 86400000, description = "For how many milliseconds; then `drain` ends the stream. Absent: until one of both sides has enough"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen"),
    ),
    responses(
        (status = 200, description = "The events; what the `data` of each holds goes by its name: `records`, `caught_up`, `away`, `back`, `ping`, `drain`, or `error`, which ends them", body = StreamEvent, content_type = "text/event-stream", headers(
            ("Tidegate-Cursor" = String, description = "Where the stream starts"),
            ("Tidegate-High-Watermark" = String, description = "As the stream starts: a number, or an object of numbers by partition; left out where that is longer than 4096 bytes"),
            ("Tidegate-Away" = String, description = "Partitions that cannot be reached as the stream starts, with commas, or `*` where that is longer than 2048 bytes. Left out when there are none"),
        )),
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
    let opened = opening::open(partitions, &topic, chosen, &selection.start).await?;
    let followers: Vec<_> = opened.present.into_iter().map(Follower::from).collect();
    let cursor = follow::cursor(&topic, &followers, &opened.absent)?;
    let high_watermark = follow::high_watermark_text(&followers, &opened.absent);
    let missing = away(&opened.absent);
    let mut ping = tokio::time::interval(state.config().ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    metrics::events_started();
    let mut session = Session {
        state: state.clone(),
        answers: state.answer_budget(principal),
        tasks: state.tasks().clone(),
        topology: state.topology_watch(),
        topic,
        follows_all: selection.partitions.is_none(),
        followers,
        absences: Absences::default(),
        turn: 0,
        has_caught_up: false,
        has_ended: false,
        ends_at: ends_at.map_or(state.next_end(), |asked| asked.min(state.next_end())),
        ping,
    };
    session.leave_for_later(opened.absent);
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
    if let Some(away) = &missing {
        insert_away(headers, away);
    }
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
