//! Produce over HTTP: four kinds of body, one way in.
//!
//! Handlers check the right before they look anything up, then read query and headers, then the
//! body. Invariant: nothing is appended of a request whose head or (but for streamed NDJSON) body is
//! wrong.

mod direct;
mod request;
mod stream;

pub use direct::DirectProduce;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use tidegate_kit::auth::Principal;
use tidegate_kit::http::{ApiError, ApiPath};
use tidegate_proto::api::records::{HEADER_DUPLICATE, ProduceAnswer, ProduceBody, ProduceResults};
use tidegate_proto::batch::{BatchBuilder, ClientBatch};
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::BODY_BYTES_MAX;
use tidegate_proto::name::TopicName;
use tidegate_proto::produce::Acks;
use tidegate_proto::record::RecordRef;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::append::{Produced, append_plan, append_to_one, outcome};
use crate::body::{Held, read_on_budget};
use crate::caller::CallerOrTicket;
use crate::decode::batch::{decode_batches, partition_of_keys};
use crate::decode::json::decode_body;
use crate::decode::ndjson::{Lines, read_line};
use crate::decode::raw::read_raw;
use crate::encode::answer::write_answer;
use crate::limits::RESULTS_MAX;
use crate::negotiate::{BodyFormat, MEDIA_TYPE_JSON};
use crate::partitioner::{for_key, partition_count};
use crate::plan::{Plan, keyed_over_several, pack_one, plan};
use crate::state::DataPlane;
use crate::topics::{find_topic, may_produce, parse_name, parse_partition};
use request::ProduceRequest;
use stream::append_stream;

/// The produce routes.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new()
        .routes(routes!(produce_records))
        .routes(routes!(produce_to_partition))
}

/// Append records
///
/// The partition of a record is the one it names, else that of its key (murmur2 as in Kafka's
/// clients), else round robin, one partition per request. Records of one partition are appended all
/// or none; where partitions differ in their fate, 207 tells each record's. Bodies: JSON
/// `{"records":[..]}` (at most 10,000 records, 32 MiB), NDJSON (one value per line, any length,
/// streamed), binary batches (32 MiB), or anything else as the value of one record.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/records",
    operation_id = "produce_records",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("acks" = Option<Acks>, Query, description = "What the answer waits for; default the topic's"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, maximum = 60000, description = "Deadline, 1 to 60000; default 10000"),
        ("key" = Option<String>, Query, pattern = "^(/([^/~]|~[01])*)*$", description = "NDJSON: JSON pointer to the key inside each line"),
        ("ticket" = Option<String>, Query, description = "Single-use ticket in place of a token"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "A repeated request with this key is answered as the first"),
        ("Tidegate-Key" = Option<String>, Header, description = "Raw body: the key, as text"),
        ("Tidegate-Key-Base64" = Option<String>, Header, description = "Raw body: the key, any bytes"),
        ("Tidegate-Timestamp" = Option<String>, Header, description = "Raw body: RFC 3339 or epoch milliseconds"),
    ),
    request_body(description = "The records", content(
        (ProduceBody = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/vnd.tidegate.batch"),
        (String = "text/plain"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "All records are appended", body = ProduceAnswer),
        (status = 202, description = "acks=none: all records are taken in", body = ProduceAnswer),
        (status = 207, description = "Some records were appended: one result each, in request order", body = ProduceResults),
        (status = 400, description = "malformed_json, invalid_parameter, invalid_name, unknown_field or corrupt_batch", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "idempotency_key_reused", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "too_large: body, record, line or list", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_media_type", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "throttled", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader, not_enough_replicas, overloaded or unavailable", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "outcome_unknown: the records may or may not be appended", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "disk_full", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn produce_records(
    State(state): State<DataPlane>,
    CallerOrTicket(principal): CallerOrTicket,
    ApiPath(topic): ApiPath<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let result = produce(&state, &principal, &topic, None, &head, body).await;
    finish(&state, result)
}

/// Append records to one partition
///
/// As `produce_records`, and here alone: exactly-once append with `Producer-Id`, `Producer-Epoch` and
/// `Producer-Seq` (the number of the first record; the next request goes on at seq + count, modulo
/// 2^32), and conditional append with `If-Match: "<end>"`, judged after the producer check.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/partitions/{partition}/records",
    operation_id = "produce_to_partition",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("acks" = Option<Acks>, Query, description = "What the answer waits for; default the topic's"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, maximum = 60000, description = "Deadline, 1 to 60000; default 10000"),
        ("key" = Option<String>, Query, pattern = "^(/([^/~]|~[01])*)*$", description = "NDJSON: JSON pointer to the key inside each line"),
        ("ticket" = Option<String>, Query, description = "Single-use ticket in place of a token"),
        ("Producer-Id" = Option<u64>, Header, description = "With Producer-Epoch and Producer-Seq"),
        ("Producer-Epoch" = Option<u16>, Header, description = "The producer's epoch"),
        ("Producer-Seq" = Option<u32>, Header, description = "Sequence number of the first record"),
        ("If-Match" = Option<String>, Header, description = "The end of the partition, in quotes"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "A repeated request with this key is answered as the first"),
    ),
    request_body(description = "The records", content(
        (ProduceBody = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/vnd.tidegate.batch"),
        (String = "text/plain"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "All records are appended; `Tidegate-Duplicate: true` when by an earlier request", body = ProduceAnswer,
            headers(("Tidegate-Duplicate" = String, description = "`true` for a repeated request"))),
        (status = 202, description = "acks=none: all records are taken in", body = ProduceAnswer),
        (status = 400, description = "malformed_json, invalid_parameter, invalid_name, unknown_field or corrupt_batch", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "producer_fenced, out_of_order, unknown_producer or idempotency_key_reused", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "precondition_failed, with the actual `end`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "too_large: body, record, line or list", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "unsupported_media_type", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "throttled", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader, not_enough_replicas, overloaded or unavailable", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "outcome_unknown: the records may or may not be appended", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "disk_full", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn produce_to_partition(
    State(state): State<DataPlane>,
    CallerOrTicket(principal): CallerOrTicket,
    ApiPath((topic, partition)): ApiPath<(String, String)>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let result = produce(&state, &principal, &topic, Some(&partition), &head, body).await;
    finish(&state, result)
}

async fn produce(
    state: &DataPlane,
    principal: &Principal,
    topic: &str,
    partition: Option<&str>,
    head: &Parts,
    body: Body,
) -> Result<Produced, Problem> {
    let name = parse_name(topic)?;
    may_produce(principal, &name)?;
    let topic = find_topic(state, &name)?;
    let partition = partition
        .map(|text| parse_partition(&topic, text))
        .transpose()?;
    let asked = ProduceRequest::read(
        &topic,
        partition,
        principal,
        head.uri.query(),
        &head.headers,
    )?;
    // Batches may share the body's bytes, so its share of the budget is kept until they are durable.
    let held: Held;
    let plan = match asked.format {
        BodyFormat::Ndjson if !asked.is_atomic() => {
            return append_stream(state, principal, &topic, &asked, body).await;
        }
        BodyFormat::Raw { is_text } => {
            let limit = topic.config.max_record_bytes as usize;
            held = read_on_budget(|| state.body_budget(principal), body, limit).await?;
            let fields = asked.has_record_fields.then_some(&head.headers);
            let content_type = head.headers.get(CONTENT_TYPE);
            let record = read_raw(fields, content_type, &held.bytes, is_text)?;
            let (partition, batches) = pack_one(state, &topic, &asked.options, &record)?;
            return append_to_one(state, &topic, &asked.options, partition, batches).await;
        }
        format => {
            held = read_on_budget(|| state.body_budget(principal), body, BODY_BYTES_MAX).await?;
            plan_body(state, &topic, &asked, format, held.bytes.clone())?
        }
    };
    append_plan(state, &topic, &asked.options, plan).await
}

fn plan_body(
    state: &DataPlane,
    topic: &TopicSpec,
    asked: &ProduceRequest,
    format: BodyFormat,
    body: Bytes,
) -> Result<Plan, Problem> {
    match format {
        BodyFormat::Batch => plan_batches(state, topic, asked, body),
        BodyFormat::Ndjson => {
            let lines = split_lines(topic, body)?;
            let mut records = Vec::with_capacity(lines.len());
            for (number, line) in &lines {
                let record = read_line(line, asked.key.as_ref());
                records.push(record.map_err(|problem| problem.with("line", *number))?);
            }
            plan(state, topic, &asked.options, &records)
        }
        BodyFormat::Json | BodyFormat::Raw { .. } => {
            let text = std::str::from_utf8(&body).map_err(|error| {
                Problem::new(
                    ErrorCode::MalformedJson,
                    format!("the body is not JSON: {error}"),
                )
            })?;
            plan(state, topic, &asked.options, &decode_body(text)?)
        }
    }
}

fn split_lines(topic: &TopicSpec, body: Bytes) -> Result<Vec<(u64, Bytes)>, Problem> {
    let mut lines = Lines::new(topic.config.max_record_bytes as usize);
    let mut found = Vec::new();
    lines.push(body);
    while let Some(line) = lines.next_line()? {
        found.push((lines.number(), line));
    }
    if let Some(line) = lines.finish()? {
        found.push((lines.number(), line));
    }
    if found.is_empty() {
        return Err(Problem::new(
            ErrorCode::InvalidParameter,
            "the body holds no records",
        ));
    }
    Ok(found)
}

fn plan_batches(
    state: &DataPlane,
    topic: &TopicSpec,
    asked: &ProduceRequest,
    body: Bytes,
) -> Result<Plan, Problem> {
    let mut batches = decode_batches(body, topic.config.max_record_bytes as usize)?;
    if let Some(key) = asked.options.stamp.request_key {
        let keyed = batches.iter().map(|batch| with_request_key(batch, key));
        batches = keyed.collect::<Result<_, _>>()?;
    }
    if let Some(partition) = asked.options.partition {
        let mut plan = Plan::default();
        batches
            .into_iter()
            .for_each(|batch| plan.add(partition, batch));
        return Ok(plan);
    }
    let mut keyless = None;
    let mut plan = Plan::default();
    for batch in batches {
        if batch.producer().is_some() {
            let detail = "batches with a producer go to \
                          /v1/topics/{topic}/partitions/{partition}/records";
            return Err(Problem::new(ErrorCode::InvalidParameter, detail));
        }
        let partition = match (partition_of_keys(topic, &batch)?, batch.request_key()) {
            (Some(partition), _) => partition,
            (None, Some(key)) => for_key(topic, &key),
            (None, None) if partition_count(topic) == 1 => PartitionId(0),
            (None, None) => *keyless.get_or_insert_with(|| state.next_partition(topic)),
        };
        plan.add(partition, batch);
    }
    if asked.options.stamp.request_key.is_some() && plan.partition_count() > 1 {
        return Err(keyed_over_several());
    }
    // Should their fates differ, every record gets a line in the answer.
    if plan.partition_count() > 1 && plan.record_count() > RESULTS_MAX {
        let detail = "so many records for several partitions: send one request for each partition";
        return Err(Problem::new(ErrorCode::TooLarge, detail).with("limit", RESULTS_MAX));
    }
    Ok(plan)
}

/// The same records in a batch that carries a request key. The only time that a client's batch is
/// written anew: the key is the server's to give.
fn with_request_key(batch: &ClientBatch, key: [u8; 16]) -> Result<ClientBatch, Problem> {
    if batch.producer().is_some() {
        let detail = "Idempotency-Key beside a producer in the batch; use one";
        return Err(Problem::new(ErrorCode::InvalidParameter, detail));
    }
    let mut builder = BatchBuilder::new(batch.codec()).request_key(key);
    for record in batch.records()?.iter() {
        let record = record?;
        let headers: Vec<_> = record.headers.iter().collect();
        builder.push(&RecordRef {
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: &headers,
        })?;
    }
    Ok(builder.finish()?)
}

fn finish(state: &DataPlane, result: Result<Produced, Problem>) -> Response {
    state.produce_counters().finished(outcome(&result));
    match result {
        Err(problem) => ApiError(problem).into_response(),
        Ok(Produced::Answer { answer, duplicate }) => {
            let is_silent = answer.partitions.is_empty();
            let status = if is_silent {
                StatusCode::ACCEPTED
            } else {
                StatusCode::OK
            };
            let mut response = json_response(status, write_answer(&answer));
            if duplicate {
                let value = HeaderValue::from_static("true");
                response.headers_mut().insert(HEADER_DUPLICATE, value);
            }
            response
        }
        Ok(Produced::Results(results)) => match serde_json::to_vec(&results) {
            Ok(text) => json_response(StatusCode::MULTI_STATUS, text),
            Err(error) => ApiError::new(ErrorCode::Internal, error.to_string()).into_response(),
        },
    }
}

fn json_response(status: StatusCode, text: Vec<u8>) -> Response {
    // Room to spare would have to be remembered beside the bytes, in memory of its own.
    let text = Bytes::from(text.into_boxed_slice());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let value = HeaderValue::from_static(MEDIA_TYPE_JSON);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
