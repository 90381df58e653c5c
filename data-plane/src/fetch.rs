//! Fetch over HTTP: one page of committed records, waiting for them when asked to.
//!
//! A page ends at its bounds of records and bytes, or when nothing more is there; the cursor that
//! comes with it is where the next one starts. Invariant: a page that could not be filled because its
//! place is gone says so; it never starts somewhere else.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tidegate_kit::auth::{Authenticated, Op, Principal, require};
use tidegate_kit::clock::monotonic;
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_proto::api::records::{
    FetchAnswer, HEADER_CURSOR, HEADER_HIGH_WATERMARK, MEDIA_TYPE_BATCH, MEDIA_TYPE_NDJSON,
};
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::Problem;
use tidegate_proto::limits::{READ_BYTES_DEFAULT, READ_BYTES_MAX, WAIT_MS_MAX};
use tidegate_proto::position::StartPosition;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::encode::json::{write_record, write_record_line, write_string};
use crate::encode::walk::walk_records;
use crate::events::{insert, last_event_id, open_events};
use crate::follow::{self, Follower, any_moved};
use crate::limits::{FETCH_RECORDS_DEFAULT, FETCH_RECORDS_MAX};
use crate::metrics::{self, ReadBy};
use crate::negotiate::{AnswerFormat, MEDIA_TYPE_EVENTS, MEDIA_TYPE_JSON, answer_format};
use crate::partitions::Chunk;
use crate::position::resolve_start;
use crate::query::Query;
use crate::select::Selection;
use crate::state::DataPlane;
use crate::topics::{find_topic, parse_name, parse_partition};

const PARAMETERS: [&str; 8] =
    ["from", "cursor", "max_records", "max_bytes", "min_bytes", "wait_ms", "partitions", "ticket"];

/// The fetch routes.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new().routes(routes!(fetch_records)).routes(routes!(fetch_partition))
}

/// Read records
///
/// A page of committed records of all or some partitions, each partition in offset order. With
/// `Accept: application/x-ndjson` one record per line, `application/vnd.tidegate.batch` stored batches
/// (the first may begin before the asked offset), `text/event-stream` as `stream_events` but from the
/// earliest record.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/records",
    operation_id = "fetch_records",
    tag = "records",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("from" = Option<String>, Query, description = "earliest (default), latest, -n, @<epoch ms>, or an offset (one partition)"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("partitions" = Option<String>, Query, description = "Numbers with commas; default all"),
        ("max_records" = Option<u64>, Query, description = "At most so many records, 1 to 100000; default 10000"),
        ("max_bytes" = Option<u64>, Query, description = "Stop after so many bytes of answer, 1 to 8388608; default 1048576"),
        ("min_bytes" = Option<u64>, Query, description = "With wait_ms: wait for so many bytes; default 1"),
        ("wait_ms" = Option<u64>, Query, description = "Wait so long for records, 0 to 60000; default 0"),
    ),
    responses(
        (status = 200, description = "Records; `Tidegate-Cursor` is where the next page starts", content(
            (FetchAnswer = "application/json"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.tidegate.batch"),
            (String = "text/event-stream"),
        ), headers(
            ("Tidegate-Cursor" = String, description = "Where the next page starts"),
            ("Tidegate-High-Watermark" = String, description = "A number, or an object of numbers by partition"),
        )),
        (status = 204, description = "Nothing to read; the same headers"),
        (status = 400, description = "invalid_parameter, invalid_name, unknown_field or cursor_too_large", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "not_acceptable", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired or log_truncated, with `next_cursor`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range, with `log_start` and `end`", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fetch_records(
    State(state): State<DataPlane>,
    Authenticated(principal): Authenticated,
    ApiPath(topic): ApiPath<String>,
    request: Request,
) -> ApiResult<Response> {
    let (head, _) = request.into_parts();
    Ok(fetch(&state, &principal, &topic, None, &head).await?)
}

/// Read records of one partition
///
/// As `fetch_records`.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}/records",
    operation_id = "fetch_partition",
    tag = "records",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("from" = Option<String>, Query, description = "earliest (default), latest, an offset, -n or @<epoch ms>"),
        ("cursor" = Option<Vec<String>>, Query, description = "Where an earlier read ended; several are merged"),
        ("max_records" = Option<u64>, Query, description = "At most so many records, 1 to 100000; default 10000"),
        ("max_bytes" = Option<u64>, Query, description = "Stop after so many bytes of answer, 1 to 8388608; default 1048576"),
        ("min_bytes" = Option<u64>, Query, description = "With wait_ms: wait for so many bytes; default 1"),
        ("wait_ms" = Option<u64>, Query, description = "Wait so long for records, 0 to 60000; default 0"),
    ),
    responses(
        (status = 200, description = "Records; `Tidegate-Cursor` is where the next page starts", content(
            (FetchAnswer = "application/json"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.tidegate.batch"),
            (String = "text/event-stream"),
        ), headers(
            ("Tidegate-Cursor" = String, description = "Where the next page starts"),
            ("Tidegate-High-Watermark" = u64, description = "One past the last committed record"),
        )),
        (status = 204, description = "Nothing to read; the same headers"),
        (status = 400, description = "invalid_parameter, invalid_name or unknown_field", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "not_acceptable", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "cursor_expired or log_truncated, with `next_cursor`", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range, with `log_start` and `end`", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "not_supported", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fetch_partition(
    State(state): State<DataPlane>,
    Authenticated(principal): Authenticated,
    ApiPath((topic, partition)): ApiPath<(String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let (head, _) = request.into_parts();
    Ok(fetch(&state, &principal, &topic, Some(&partition), &head).await?)
}

async fn fetch(
    state: &DataPlane,
    principal: &Principal,
    topic: &str,
    partition: Option<&str>,
    head: &Parts,
) -> Result<Response, Problem> {
    let name = parse_name(topic)?;
    require(principal, Op::Consume, Some(&name))?;
    let topic = find_topic(state, &name)?;
    let partition = partition.map(|text| parse_partition(&topic, text)).transpose()?;
    // Tickets are for event streams, and only the topic's path takes a list of partitions.
    let known = if partition.is_some() { &PARAMETERS[..6] } else { &PARAMETERS[..7] };
    let query = Query::parse(head.uri.query(), known)?;
    let format = answer_format(&head.headers)?;
    let resume = match format {
        AnswerFormat::Events => last_event_id(&head.headers)?,
        AnswerFormat::Json | AnswerFormat::Ndjson | AnswerFormat::Batch => None,
    };
    let bounds = Bounds::read(&query)?;
    let selection = Selection::read(&topic, partition, &query, resume, StartPosition::Earliest)?;
    if format == AnswerFormat::Events {
        return open_events(state, topic, selection).await;
    }
    let partitions = &**state.partitions();
    let chosen = selection.partitions.as_deref();
    let places = resolve_start(partitions, &topic, chosen, selection.start).await?;
    let mut followers = follow::open(partitions, &topic, places).await?;
    // A cursor that cannot be written is refused before anybody waits for records.
    follow::cursor(&topic, &followers)?;
    let mut page = Page { format, bounds, out: Vec::new(), records: 0 };
    collect(state, &topic, &mut followers, &mut page).await?;
    page.into_response(&topic, &followers)
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    records_max: usize,
    bytes_max: usize,
    bytes_min: usize,
    wait: Duration,
}

impl Bounds {
    fn read(query: &Query<'_>) -> Result<Self, Problem> {
        let records_max = query.number("max_records", 1..=FETCH_RECORDS_MAX as u64)?;
        let bytes_max = query.number("max_bytes", 1..=READ_BYTES_MAX as u64)?;
        let bytes_min = query.number("min_bytes", 0..=READ_BYTES_MAX as u64)?;
        let wait_ms = query.number("wait_ms", 0..=WAIT_MS_MAX)?.unwrap_or(0);
        let size = |number: Option<u64>, default| number.map_or(default, |number| number as usize);
        Ok(Self {
            records_max: size(records_max, FETCH_RECORDS_DEFAULT),
            bytes_max: size(bytes_max, READ_BYTES_DEFAULT),
            bytes_min: size(bytes_min, 1),
            wait: Duration::from_millis(wait_ms),
        })
    }
}

async fn collect(
    state: &DataPlane,
    topic: &TopicSpec,
    followers: &mut [Follower],
    page: &mut Page,
) -> Result<(), Problem> {
    let deadline = monotonic() + page.bounds.wait;
    // Pages do not all begin with the same partition, or a busy one would starve those behind it.
    let first = state.next_turn() % followers.len().max(1);
    loop {
        for step in 0..followers.len() {
            let index = (first + step) % followers.len();
            while page.has_room() && followers[index].is_behind() {
                match followers[index].read(&**state.partitions(), page.room()).await {
                    Ok(chunk) => page.add(&mut followers[index], &chunk)?,
                    // What was read before is good; the next page will tell.
                    Err(_) if page.records > 0 => return Ok(()),
                    Err(problem) => {
                        let partitions = &**state.partitions();
                        return Err(follow::lost(partitions, topic, followers, problem).await);
                    }
                }
            }
        }
        if page.is_enough() || page.bounds.wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = state.tasks().cancelled() => return Ok(()),
            moved = any_moved(followers) => {
                if moved.is_err() {
                    return Err(follow::gone(&state.topology(), topic));
                }
            }
            () = tokio::time::sleep_until(deadline.into()) => return Ok(()),
        }
    }
}

/// The answer as it grows.
struct Page {
    format: AnswerFormat,
    bounds: Bounds,
    out: Vec<u8>,
    records: usize,
}

impl Page {
    fn has_room(&self) -> bool {
        self.records < self.bounds.records_max && self.out.len() < self.bounds.bytes_max
    }

    fn room(&self) -> usize {
        self.bounds.bytes_max.saturating_sub(self.out.len()).clamp(1, READ_BYTES_DEFAULT)
    }

    fn is_enough(&self) -> bool {
        !self.has_room() || (self.records > 0 && self.out.len() >= self.bounds.bytes_min)
    }

    fn add(&mut self, follower: &mut Follower, chunk: &Chunk) -> Result<(), Problem> {
        let before = follower.next;
        match self.format {
            AnswerFormat::Batch => self.add_batches(follower, chunk),
            AnswerFormat::Json | AnswerFormat::Ndjson | AnswerFormat::Events => {
                self.add_records(follower, chunk)?;
            }
        }
        if follower.next == before {
            let detail = "a read behind the high watermark brought nothing";
            return Err(Problem::new(tidegate_proto::error::ErrorCode::Internal, detail));
        }
        Ok(())
    }

    fn add_batches(&mut self, follower: &mut Follower, chunk: &Chunk) {
        for batch in &chunk.batches {
            let next = batch.next_offset();
            if next <= follower.next || batch.client.is_control() {
                continue;
            }
            if !self.has_room() {
                return;
            }
            self.out.reserve(batch.encoded_len());
            batch.encode_into(&mut self.out);
            self.records += next.distance_from(follower.next) as usize;
            follower.next = next;
        }
        follower.next = follower.next.max(chunk.next);
    }

    fn add_records(&mut self, follower: &mut Follower, chunk: &Chunk) -> Result<(), Problem> {
        let is_json = self.format == AnswerFormat::Json;
        let mut is_full = false;
        let next = walk_records(&chunk.batches, follower.next, |batch, offset, record| {
            if is_json {
                let lead: &[u8] = if self.records == 0 { b"{\"records\":[" } else { b"," };
                self.out.extend_from_slice(lead);
                write_record(&mut self.out, batch, offset, record);
            } else {
                write_record_line(&mut self.out, batch, offset, record);
                self.out.push(b'\n');
            }
            self.records += 1;
            is_full = !self.has_room();
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        follower.next = if is_full { next } else { next.max(chunk.next) };
        Ok(())
    }

    fn into_response(
        mut self,
        topic: &TopicSpec,
        followers: &[Follower],
    ) -> Result<Response, Problem> {
        let cursor = follow::cursor(topic, followers)?;
        let high_watermark = follow::high_watermark_text(followers);
        let media_type = match self.format {
            AnswerFormat::Json => MEDIA_TYPE_JSON,
            AnswerFormat::Ndjson => MEDIA_TYPE_NDJSON,
            AnswerFormat::Batch => MEDIA_TYPE_BATCH,
            AnswerFormat::Events => MEDIA_TYPE_EVENTS,
        };
        metrics::fetch_finished(self.records == 0);
        let mut response = if self.records == 0 {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            if self.format == AnswerFormat::Json {
                self.out.extend_from_slice(b"],\"cursor\":");
                write_string(&mut self.out, &cursor);
                self.out.extend_from_slice(b",\"high_watermark\":");
                self.out.extend_from_slice(high_watermark.as_bytes());
                self.out.push(b'}');
            }
            metrics::fetched(ReadBy::Fetch, self.records as u64, self.out.len() as u64);
            let mut response = Response::new(Body::from(self.out));
            let value = HeaderValue::from_static(media_type);
            response.headers_mut().insert(CONTENT_TYPE, value);
            response
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        insert(headers, HEADER_CURSOR, cursor);
        insert(headers, HEADER_HIGH_WATERMARK, high_watermark);
        Ok(response)
    }
}
