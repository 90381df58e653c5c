//! Pages of sealed segments: parts of a partition that never change, under URLs that never mean anything
//! else, for caches between the server and those who catch up.
//!
//! A page is named by the topic's id and its offsets, and cut where [`boundary`] says. It is served when
//! all of it is committed, synced and in closed segments; such records stay as they are until retention
//! takes them, and the offsets are never given to others. Topics that are compacted have none.
//! Invariant: two answers for the same URL and media type are the same bytes.

mod boundary;
mod walk;

use std::ops::ControlFlow;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use tidegate_kit::auth::{Op, require};
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_proto::api::records::{
    MEDIA_TYPE_BATCH, MEDIA_TYPE_NDJSON, SealedPage, SealedPages, SealedRecords,
};
use tidegate_proto::batch::Batch;
use tidegate_proto::control::{Cleanup, TopicSpec};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::{INTEGER_MAX, READ_BYTES_DEFAULT};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::share::Share;
use crate::caller::{Caller, authorization};
use crate::encode::json::{write_number, write_record, write_record_line};
use crate::encode::walk::walk_records;
use crate::events::overloaded;
use crate::limits::{SEALED_PAGES_DEFAULT, SEALED_PAGES_MAX};
use crate::metrics::{self, ReadBy};
use crate::negotiate::{AnswerFormat, MEDIA_TYPE_JSON, answer_format};
use crate::query::Query;
use crate::state::DataPlane;
use crate::topics::{find_topic, of_partition, parse_name, parse_partition};
use boundary::{PAGE_BYTES_MAX, PageName, begins_page};
use walk::Walk;

/// A year, which is what caches take for ever. `no-transform`: an entity tag is for certain bytes.
const FOR_EVER: &str = "max-age=31536000, immutable, no-transform";

/// List the pages of a partition that never change
///
/// Parts of the partition, each of about half a MiB, under URLs that may be cached for ever: all of their
/// records are committed, and in segments that are closed. Read them to catch up, and what lies before the
/// first, between two and behind the last with `fetch_partition`. All servers cut a partition alike.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}/pages",
    operation_id = "list_sealed_pages",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("from" = Option<u64>, Query, description = "Pages that begin at this offset or above; default the log's start"),
        ("limit" = Option<u64>, Query, description = "At most so many, 1 to 64; default 32"),
    ),
    responses(
        (status = 200, description = "Pages in offset order", body = SealedPages, example = json!({
            "topic_id": "01890a5d-ac96-774b-bcce-b302099a8057", "partition": 0,
            "items": [{"base_offset": 812, "end": 1604,
                "url": "/v1/topics/orders/partitions/0/pages/01890a5d-ac96-774b-bcce-b302099a8057.812-1604"}],
            "next": 1604, "sealed_end": 90210})),
        (status = 400, description = "invalid_parameter, invalid_name or unknown_field; also for a topic that is compacted", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "log_truncated: `from` is no longer there", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_sealed_pages(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiPath((topic, partition)): ApiPath<(String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let name = parse_name(&topic)?;
    require(&principal, Op::Consume, Some(&name))?;
    let topic = find_topic(&state, &name)?;
    let partition = parse_partition(&topic, &partition)?;
    let query = Query::parse(request.uri().query(), &["from", "limit"])?;
    let limit = query.number("limit", 1..=SEALED_PAGES_MAX)?;
    let from = query.number("from", 0..=INTEGER_MAX)?.map(Offset::new);
    check_cleanup(&topic)?;
    let walk = Walk {
        state: &state,
        key: topic.key(partition),
        limit: limit.unwrap_or(SEALED_PAGES_DEFAULT) as usize,
    };
    let listed = walk.list(from).await;
    let listed = listed.map_err(|problem| of_partition(problem, &topic, partition))?;
    let items = listed.pages.iter().map(|(base, end)| {
        let name = PageName {
            topic_id: topic.id,
            base: *base,
            end: *end,
        };
        SealedPage {
            base_offset: base.get(),
            end: end.get(),
            url: format!(
                "/v1/topics/{}/partitions/{partition}/pages/{name}",
                topic.name
            ),
        }
    });
    let answer = SealedPages {
        topic_id: topic.id.to_string(),
        partition: partition.0,
        items: items.collect(),
        next: listed.next.map(Offset::get),
        sealed_end: listed.sealed_end.get(),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// Read a page that never changes
///
/// As the list names it. `Cache-Control` allows to keep the answer for ever, by everybody or by the one
/// who asked, as the server is configured; answers to requests without a credential are for everybody.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}/pages/{page}",
    operation_id = "fetch_sealed_page",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("page" = String, Path, description = "`<topic id>.<base offset>-<end>`", example = "01890a5d-ac96-774b-bcce-b302099a8057.812-1604"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of answers at hand"),
    ),
    responses(
        (status = 200, description = "The records", content(
            (SealedRecords = "application/json"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.tidegate.batch"),
        ), headers(
            ("ETag" = String, description = "Strong; one for each media type"),
            ("Cache-Control" = String, description = "`public` or `private`, `max-age=31536000, immutable`"),
            ("Vary" = String, description = "`accept`"),
        )),
        (status = 304, description = "One of `If-None-Match` is it"),
        (status = 400, description = "invalid_parameter: no page's name, or no page begins or ends there", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found (also when the name belongs to a newer topic) or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "not_acceptable", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "log_truncated: retention has taken it", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "offset_out_of_range: not sealed yet, with `sealed_end`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader, overloaded or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn fetch_sealed_page(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiPath((topic, partition, page)): ApiPath<(String, String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let name = parse_name(&topic)?;
    require(&principal, Op::Consume, Some(&name))?;
    let topic = find_topic(&state, &name)?;
    let partition = parse_partition(&topic, &partition)?;
    Query::parse(request.uri().query(), &[])?;
    let page = PageName::parse(&page)?;
    if page.topic_id != topic.id {
        let detail = format!("`{}` is another topic of that name now", topic.name);
        return Err(Problem::new(ErrorCode::TopicNotFound, detail).into());
    }
    let format = match answer_format(request.headers())? {
        AnswerFormat::Events => {
            let detail = "a page is JSON, NDJSON or batches";
            return Err(Problem::new(ErrorCode::NotAcceptable, detail).into());
        }
        format => format,
    };
    check_cleanup(&topic)?;
    let key = topic.key(partition);
    let named = |problem| of_partition(problem, &topic, partition);
    check_sealed(&state, key, page).await.map_err(named)?;
    let tag = entity_tag(page, partition, format);
    let is_open = authorization(request.headers())?.is_none() || state.config().shared_pages;
    let mut response = if is_known(request.headers(), &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut share = Share::new(&state.answer_budget(&principal));
        let batches = read(&state, key, page, &mut share).await;
        let batches = batches.map_err(named)?;
        answer(page, partition, format, &batches, share)?
    };
    let headers = response.headers_mut();
    let scope = if is_open { "public" } else { "private" };
    if let Ok(value) = HeaderValue::try_from(format!("{scope}, {FOR_EVER}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    if let Ok(value) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, value);
    }
    headers.append(VARY, HeaderValue::from(ACCEPT));
    Ok(response)
}

fn check_cleanup(topic: &TopicSpec) -> Result<(), Problem> {
    if topic.config.cleanup == Cleanup::Delete {
        return Ok(());
    }
    let detail = "the topic is compacted: what is in it changes, so there are no pages";
    Err(Problem::new(ErrorCode::InvalidParameter, detail))
}

/// 410 for what is gone, 416 for what is not sealed yet.
async fn check_sealed(state: &DataPlane, key: ReplicaKey, page: PageName) -> Result<(), Problem> {
    let sealed_end = state.partitions().sealed_end(key).await?;
    let status = state.partitions().offsets(key).await?;
    if page.base < status.log_start {
        let detail = format!("offsets below {} are no longer there", status.log_start);
        return Err(Problem::new(ErrorCode::LogTruncated, detail)
            .with("log_start", status.log_start.get())
            .with("end", status.end.get()));
    }
    if page.end > sealed_end {
        let detail = format!("what is at {sealed_end} and above may still be joined by more");
        return Err(Problem::new(ErrorCode::OffsetOutOfRange, detail)
            .with("log_start", status.log_start.get())
            .with("end", status.end.get())
            .with("sealed_end", sealed_end.get()));
    }
    Ok(())
}

/// The batches of a page, which begins and ends where pages do.
async fn read(
    state: &DataPlane,
    key: ReplicaKey,
    page: PageName,
    share: &mut Share,
) -> Result<Vec<Batch>, Problem> {
    let no_page = || {
        let detail = "no page begins and ends at these offsets; the list has the names";
        Problem::new(ErrorCode::InvalidParameter, detail).at("page", "is no page's name")
    };
    let (mut batches, mut bytes) = (Vec::new(), 0);
    let mut next = page.base;
    loop {
        let chunk = state
            .partitions()
            .read(key, next, READ_BYTES_DEFAULT)
            .await?;
        let is_stuck = chunk.next <= next;
        next = chunk.next;
        for batch in chunk.batches {
            if batch.client.is_control() || batch.next_offset() <= page.base {
                continue;
            }
            if batch.client.is_sparse() {
                return Err(no_page());
            }
            let (base, is_first) = (batch.placement.base_offset, batches.is_empty());
            let begins = begins_page(&batch);
            if base >= page.end {
                return if base == page.end && begins {
                    Ok(batches)
                } else {
                    Err(no_page())
                };
            }
            bytes += batch.encoded_len();
            if begins != is_first || (is_first && base != page.base) || bytes > PAGE_BYTES_MAX {
                return Err(no_page());
            }
            // These, and as much again for what they become.
            if !share.grow_to(2 * bytes) {
                return Err(overloaded());
            }
            batches.push(batch);
        }
        if is_stuck {
            // The batch that begins the next page is not there: the page is not a whole one yet.
            return Err(no_page());
        }
    }
}

fn answer(
    page: PageName,
    partition: PartitionId,
    format: AnswerFormat,
    batches: &[Batch],
    mut share: Share,
) -> Result<Response, Problem> {
    let stored: usize = batches.iter().map(Batch::encoded_len).sum();
    let mut out = Vec::with_capacity(stored);
    let media_type = match format {
        AnswerFormat::Batch => {
            batches.iter().for_each(|batch| batch.encode_into(&mut out));
            MEDIA_TYPE_BATCH
        }
        AnswerFormat::Ndjson => {
            walk_records(batches, page.base, |batch, offset, record| {
                write_record_line(&mut out, batch, offset, record);
                out.push(b'\n');
                ControlFlow::Continue(())
            })?;
            MEDIA_TYPE_NDJSON
        }
        AnswerFormat::Json | AnswerFormat::Events => {
            write_json(&mut out, page, partition, batches)?;
            MEDIA_TYPE_JSON
        }
    };
    if !share.grow_to(out.len()) {
        return Err(overloaded());
    }
    let records: u64 = batches
        .iter()
        .map(|batch| u64::from(batch.client.record_count()))
        .sum();
    share.shrink_to(out.len());
    metrics::fetched(ReadBy::Fetch, records, out.len() as u64);
    let mut response = Response::new(Body::from(share.into_bytes(out)));
    let value = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    Ok(response)
}

/// Nothing in it that moves: no high watermark, no cursor.
fn write_json(
    out: &mut Vec<u8>,
    page: PageName,
    partition: PartitionId,
    batches: &[Batch],
) -> Result<(), Problem> {
    out.extend_from_slice(b"{\"topic_id\":\"");
    out.extend_from_slice(page.topic_id.to_string().as_bytes());
    out.extend_from_slice(b"\",\"partition\":");
    write_number(out, u64::from(partition.0));
    out.extend_from_slice(b",\"base_offset\":");
    write_number(out, page.base.get());
    out.extend_from_slice(b",\"end\":");
    write_number(out, page.end.get());
    let mut lead: &[u8] = b",\"records\":[";
    walk_records(batches, page.base, |batch, offset, record| {
        out.extend_from_slice(lead);
        write_record(out, batch, offset, record);
        lead = b",";
        ControlFlow::Continue(())
    })?;
    out.extend_from_slice(b"]}");
    Ok(())
}

/// The content is a function of the page and the media type, and of the way we write it, which has a
/// number: raise it when an encoder changes what it writes.
fn entity_tag(page: PageName, partition: PartitionId, format: AnswerFormat) -> String {
    let form = match format {
        AnswerFormat::Batch => "b1",
        AnswerFormat::Ndjson => "n1",
        AnswerFormat::Json | AnswerFormat::Events => "j1",
    };
    format!(
        "\"{}.{partition}.{}-{}.{form}\"",
        page.topic_id, page.base, page.end
    )
}

/// Whether `If-None-Match` names the tag, strongly or weakly, or is a star.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
